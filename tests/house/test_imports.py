"""Importing does nothing heavy: no torch before it is needed, and no side effects."""

import importlib.util
import os
import subprocess
import sys

import h5py
import numpy as np
import pytest

from asmil.cli import command_summaries
from asmil.cli.doctor import built_for

HEAVY = ("torch", "matplotlib", "sklearn", "timm")
COMPILERS = ("torch._dynamo", "sympy")
"""What torch imports of itself where it thinks of compiling: more than all else of it together."""
LIGHT_MODULES = (
    "asmil",
    "asmil.progress",
    "asmil.settings",
    "asmil.runs",
    "asmil.slides",
    "asmil.tiles",
    "asmil.encoders",
    "asmil.tasks",
    "asmil.extraction",
    "asmil.cli",
    "asmil.slides.synthetic",
)


def _run(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("module", LIGHT_MODULES)
def test_importing_is_light(module):
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not built yet")
    done = _run(f"import {module}, sys; print(*(m for m in {HEAVY} if m in sys.modules))")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_listing_encoders_and_reading_a_card_needs_no_torch():
    if importlib.util.find_spec("asmil.encoders") is None:
        pytest.skip("asmil.encoders is not built yet")
    done = _run(
        "import sys; from asmil.encoders import card, list_encoders\n"
        "cards = [card(name) for name in list_encoders()]\n"
        "assert cards; print('torch' in sys.modules)"
    )
    assert done.stdout.strip() == "False", done.stderr


COMMANDS = {
    "check --features features --labels labels.csv": ("torch", "sklearn", "scipy", "skimage", "matplotlib"),
    "list": ("torch", "sklearn", "scipy", "skimage", "pandas", "matplotlib"),
    "doctor": ("sklearn", "scipy", "skimage", "pandas", "matplotlib", *(() if built_for() else ("torch",))),
}
"""What a command has no use for; `doctor` asks a torch that can use one which GPUs there are."""


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_looks_imports_what_it_needs(command, tmp_path):
    (tmp_path / "features").mkdir()
    rows = ["slide_id,case_id,label"]
    for number in range(10):
        with h5py.File(tmp_path / f"features/s{number}.h5", "w") as file:
            file["features"] = np.random.default_rng(number).normal(0, 1, (20, 4)).astype(np.float16)
            file["coords"] = np.array([(i % 5 * 256, i // 5 * 256) for i in range(20)])
        rows.append(f"s{number},P{number},{'ab'[number % 2]}")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    code = (
        f"import sys; from asmil.cli import main; sys.argv = ['asmil', *{command.split()!r}]\n"
        "try: main()\n"
        "except SystemExit as end: code = end.code\n"
        f"print('HEAVY', *(m for m in {COMMANDS[command]} if m in sys.modules)); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.rstrip().endswith("HEAVY")


PAGES = ("asmil.report.report", "asmil.evaluation.run_metrics", "asmil.viewer.app", "asmil.viewer.views")
"""What pages are made of: models are opened where a map of evidence is asked for, and not before."""


@pytest.mark.parametrize("module", PAGES)
def test_pages_need_no_torch_before_a_model_is_asked(module):
    maps = "import numpy as np; p = np.array([0.2, 0.3, 0.5]); q = p[::-1]; both = np.stack([p, q])"
    asked = (
        "from asmil.attention import effective_tiles, is_even, jsd, jsd_between_epochs, normalized_entropy, top_mass\n"
        "jsd(p, q), normalized_entropy(p), effective_tiles(p), top_mass(p), is_even(p), jsd_between_epochs(both)"
    )
    done = _run(f"import {module}, sys; {maps}; {asked}\nprint(*(m for m in {HEAVY[:1]} if m in sys.modules))")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_models_are_made_trained_and_scored_without_compilers_and_statistics():
    done = _run(
        "import sys, numpy as np, asmil.evaluation.run_metrics, asmil.report.report\n"
        "from asmil.bags import make_bags; from asmil.draws import shapes_only\n"
        "from asmil.evaluation import METRICS, fit_temperature\n"
        "from asmil.models import create_model, list_models; from asmil.training import TrainSettings, fit\n"
        "with shapes_only(): models = [create_model(name, in_dim=8, n_classes=2) for name in list_models()]\n"
        "assert all(p.is_meta for model in models for p in model.parameters())\n"
        "bags = make_bags(8, dim=8)[0]; model = create_model('abmil', in_dim=8, n_classes=2)\n"
        "fit(model, bags[:4], bags[4:], settings=TrainSettings(epochs=1, min_steps=0))\n"
        "y, prob = np.array([0, 1, 1]), np.array([[0.6, 0.4], [0.6, 0.4], [0.1, 0.9]])\n"
        "[METRICS[name](y, prob) for name in METRICS.names()]; fit_temperature(y, prob)\n"
        f"print(*(m for m in {(*COMPILERS, 'sklearn', 'scipy.stats', 'scipy.optimize')} if m in sys.modules))"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_importing_writes_nothing_and_changes_no_environment(tmp_path):
    code = (
        "import os; before = dict(os.environ), os.getcwd()\n"
        "import asmil, asmil.slides, asmil.tiles, asmil.encoders, asmil.extraction, asmil.cli\n"
        "assert (dict(os.environ), os.getcwd()) == before"
    )
    environment = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=environment,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_help_works_and_imports_no_torch():
    """Of every command, one after the other in one process: the first that imports something heavy is named."""
    commands = [[], *([name] for name in command_summaries())]
    done = _run(
        "import contextlib, io, sys; from asmil.cli import main\n"
        f"for command in {commands}:\n"
        "    sys.argv, code = ['asmil', *command, '--help'], None\n"
        "    with contextlib.redirect_stdout(io.StringIO()) as said:\n"
        "        try: main()\n"
        "        except SystemExit as end: code = end.code\n"
        f"    heavy = [module for module in {HEAVY} if module in sys.modules]\n"
        "    print('asmil', *command, code, 'Usage:' in said.getvalue(), *heavy)\n"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [" ".join(["asmil", *command, "0", "True"]) for command in commands]


@pytest.mark.parametrize("name", command_summaries())
def test_every_command_has_a_line_of_help(name):
    summary = command_summaries()[name]
    assert summary.endswith(".")
    assert len(summary) <= 110
