"""Every code block of the documentation: run on small generated data where it can be, else read by the real parsers.

Each page is one session in a folder of its own, its blocks in their order. A block with a title is a file and is
written; bash blocks hold `asmil` commands only; python blocks share one namespace. A block that cannot run here says
why in a comment before it, `<!-- not run: reason -->`: its `asmil` lines are parsed all the same, its Python compiled.
"""

import importlib
import io
import json
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from typer.testing import CliRunner

from asmil.cli import app

sys.path.insert(0, str(Path(__file__).parents[1]))
import doc_pages as doc

SMALL = {
    "folds": 2, "seeds": 1, "epochs": 2, "patience": 2, "bootstrap": 20, "heatmaps": 1, "workers": 1, "device": "cpu",
    "min-coverage": 0.05, "fold": 0,
}  # fmt: skip
"""Given to every command that takes it, where the page does not give it: the same line, for eight small slides."""

FIRST = shlex.split("run --slides slides/ --labels labels.csv --mpp 0.5 --tile-px 224 --out runs/first")
"""The line that makes runs/first in `world`: run once for all pages that have it."""

TRIDENT = "trident_out/20x_256px_0px_overlap/features_uni_v1"

FOLDERS = ("slides.readers", "encoders.own", "tasks", "bags.formats", "bags.datasets", "models", "bench.parts")
"""Packages of asmil to which a page adds a part by writing a file below `src/asmil`."""

FUNCTIONS = ("attention.NORMALIZERS", "evaluation.METRICS", "tiles.TISSUE_METHODS", "tiles.QUALITY_FLAGS")
"""Registries to which a page adds a part by calling `register`."""

NAMED = re.compile(r"^Missing|requires an argument")
"""What a parser says of a command or a flag that a sentence only names."""

ALL = [*doc.PAGES, *doc.FRONT]
GUIDES = [page for page in ALL if not doc.is_record(page)]
SESSIONS = [page for page in GUIDES if any(b.language in ("bash", "python") and not b.reason for b in doc.blocks(page))]


@pytest.mark.parametrize("page", ALL, ids=doc.name)
def test_commands_are_understood_and_python_compiles(page):
    for block in doc.blocks(page):
        if block.language in ("", "bash", "console") and not block.title:
            for arguments in doc.asmil_commands(block.text) if "asmil" in block.text else ():
                _understood(block.place, arguments)
        if block.language == "python":
            compile(block.text, block.place, "exec")
    if page in GUIDES:
        for line in doc.in_prose(page):
            if not any(gap in line for gap in ("...", "…", "[", "<")):
                said = doc.refused(doc.commands(line)[0][1:])
                assert not said or NAMED.search(said), f"{doc.name(page)}: {line}: {said}"


def _understood(place: str, arguments: list[str]) -> None:
    said = doc.refused(arguments)
    assert not said, f"{place}: asmil {' '.join(arguments)}: {said}"


@pytest.mark.parametrize("page", GUIDES, ids=doc.name)
def test_a_shell_block_runs_asmil_only_or_says_why_not(page):
    for block in doc.blocks(page):
        if block.language == "bash" and not block.reason and not block.title:
            others = [words[0] for words in doc.commands(block.text) if words[0] != "asmil"]
            assert not others, f"{block.place}: {others[0]} is not run here: mark the block with the reason"


@pytest.mark.parametrize("page", SESSIONS, ids=doc.name)
def test_blocks_run(page, world, tmp_path, monkeypatch):
    folder = Path(shutil.copytree(world, tmp_path / "session"))
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    namespace = {"__name__": "__main__"}
    with _own_parts(folder):
        for block in doc.blocks(page):
            if block.title:
                place = folder / block.title
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(block.text, encoding="utf-8")
                _look_again()
            elif block.language == "bash" and not block.reason:
                for words in doc.commands(block.text):
                    if words[1:] != FIRST:
                        asmil(block.place, words[1:])
            elif block.language == "python" and not block.reason:
                with _undrawn():
                    exec(compile(block.text, block.place, "exec"), namespace)


@pytest.fixture(autouse=True, scope="module")
def _one_process() -> Iterator[None]:
    """Where a page names no number of workers, as on a machine of one core: each further process imports torch."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("asmil.settings.inputs.cores", lambda: 1)
        yield


@contextmanager
def _undrawn() -> Iterator[None]:
    """Pictures are blank: drawing takes half of the time, and has its own tests."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("matplotlib.figure.Figure.savefig", _blank)
        yield


def _own_method(names: dict, said: str) -> None:
    assert "to add: " in said
    assert "asmil.wrap(TheClass, scores=...)" in said
    aurocs, places = zip(*names["scores"].values(), strict=True)
    assert min(aurocs) > 0.7
    assert max(places) > 0.5, "by chance it is about .05"


def _features_to_report(names: dict, said: str) -> None:
    run = names["run"]
    assert run.scores.set_index("metric").value["auroc"] > 0.9
    assert run.report_file.is_file()
    assert len(names["figure"].axes) == 2 * 3, "two maps of attention and one of evidence, each with its colours"


def _new_slides(names: dict, said: str) -> None:
    assert sorted(names["found"].table.slide) == [f"new_P{number:02}_1" for number in range(1, 5)]
    assert "times an even share" in said
    assert len(names["figure"].axes) == 2 * 4


NOTEBOOKS = {"own_method": _own_method, "features_to_report": _features_to_report, "new_slides": _new_slides}


@pytest.mark.parametrize("name", [path.stem for path in sorted((doc.ROOT / "examples").glob("*.ipynb"))])
def test_a_notebook_runs_from_top_to_bottom(name, capsys, tmp_path, monkeypatch):
    cells = json.loads((doc.ROOT / "examples" / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    namespace: dict = {"__name__": "__main__"}
    monkeypatch.chdir(tmp_path)
    for cell in cells:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), cell["id"], "exec"), namespace)
    NOTEBOOKS[name](namespace, capsys.readouterr().out)


@contextmanager
def _own_parts(folder: Path) -> Iterator[None]:
    """Parts that a page makes are found as if they were of the package, and are gone afterwards."""
    before = set(sys.modules)
    paths = [importlib.import_module(f"asmil.{name}").__path__ for name in FOLDERS]
    for name, path in zip(FOLDERS, paths, strict=True):
        path.append(str(folder.joinpath("src", "asmil", *name.split("."))))
    homes = [name.split(".") for name in FUNCTIONS]
    registries = [getattr(importlib.import_module(f"asmil.{room}"), name) for room, name in homes]
    known = [dict(registry._functions) for registry in registries]
    try:
        yield
    finally:
        for registry, functions in zip(registries, known, strict=True):
            registry._functions = functions
        for path in paths:
            path.pop()
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", "")).startswith(str(folder)):
                del sys.modules[name]
        _look_again()


def _look_again() -> None:
    """Folders are listed once: say that there are other files now."""
    importlib.invalidate_caches()


def asmil(place: str, arguments: list[str]) -> None:
    """Run a command of a page in this process, cheaply."""
    takes = {flag for p in doc.command_of(arguments).params if not getattr(p, "is_flag", False) for flag in p.opts}
    cheap = {f"--{name}": str(value) for name, value in SMALL.items() if f"--{name}" in takes - set(arguments)}
    with pytest.MonkeyPatch.context() as patched, nullcontext() if arguments[0] == "figure" else _undrawn():
        if arguments[0] == "view":
            patched.setattr("asmil.viewer.serving.serve", _answer_once)
        if arguments[0] == "run" and arguments != FIRST:  # `asmil report` stands on pages of its own
            patched.setattr("asmil.runs.pipeline._report_into", lambda run, *_, **__: run.folder / "report.html")
        done = CliRunner().invoke(app, [*arguments, *(text for pair in cheap.items() for text in pair)])
    assert done.exit_code == 0, f"{place}: asmil {' '.join(arguments)}: exit {done.exit_code}\n{done.output}"


def _blank(_figure, file, **_options) -> None:
    text = '<svg viewBox="0 0 1 1"></svg>'
    if isinstance(file, str | Path):
        Path(file).write_text(text)
    else:
        file.write(text if isinstance(file, io.TextIOBase) else text.encode())


def _answer_once(made, bound, *, started) -> None:
    """Instead of serving until it is stopped: the page, once."""
    from starlette.testclient import TestClient

    with bound, TestClient(made, base_url=f"http://127.0.0.1:{bound.getsockname()[1]}") as client:
        assert client.get("/").status_code == 200


@pytest.fixture(scope="session")
def world(tmp_path_factory, write_published) -> Path:
    """What every page may take for granted.

    slides/ labels.csv annotations/ (class tumour), runs/first (a run of them), features/ (its features), new/ (two more
    slides), trident_out/ clam_out/ stamp_out/ (its features in these layouts), clini.xlsx and slide.csv (labels as
    STAMP has them), weights.pt (a model of the authors' script for these features, random).
    """
    import pandas as pd

    from asmil.encoders import card
    from asmil.slides import make_slides

    folder = tmp_path_factory.mktemp("world")
    write_published(folder / "weights.pt", in_dim=card("colour-texture").dim)
    kind = {"slides_per_patient": (1, 1), "size_px": (700, 620), "awkward": False}
    make_slides(folder, patients=8, seed=3, **kind)
    make_slides(folder / "other", patients=2, seed=5, **kind)
    (folder / "other" / "slides").rename(folder / "new")
    for path in (folder / "new").iterdir():
        path.rename(path.with_name(f"new_{path.name}"))
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        asmil("world", FIRST)
        shutil.copytree("runs/first/features", "features")
        for tool in ("trident", "clam", "stamp"):
            asmil("world", f"convert features/ --to {tool} --out {tool}_out".split())
        Path("trident_out/20x_224px_0px_overlap").rename("trident_out/20x_256px_0px_overlap")
        Path("trident_out/20x_256px_0px_overlap/features_colour-texture").rename(TRIDENT)
        Path("stamp_out/colour-texture").rename("stamp_out/virchow2")
        table = pd.read_csv("labels.csv", dtype=str)
        clini = table.rename(columns={"case_id": "PATIENT", "label": "isMSIH"})[["PATIENT", "isMSIH"]]
        clini.to_excel("clini.xlsx", index=False)
        names = {"PATIENT": table.case_id, "FILENAME": table.slide_id + ".h5"}
        pd.DataFrame(names).to_csv("slide.csv", index=False)
    return folder
