#!/usr/bin/env bash
# What: a program declares `case: str` and is given `case=0012`. Hydra and OmegaConf, draccus and Fire read the value as YAML or Python first, and the text is made of the number: draccus and OmegaConf say "10" (octal), and "90" for 1:30; all say 180345 for 18_0345, and Hydra, OmegaConf and Fire infinity for the pseudonym 1e234567. jsonargparse, tyro, simple-parsing, cyclopts and typer keep what was given.
# Versions: hydra-core 1.3.8, omegaconf 2.3.1, draccus 0.11.6, fire 0.7.1, jsonargparse 4.53.0, tyro 1.0.17, simple-parsing 0.1.9, cyclopts 5.5.2, typer 0.29.2. Seen 2026-12-01.
# Why it matters: case numbers have zeros in front and underscores, pseudonyms are hexadecimal: of 10,000 of eight digits Hydra changes 153, 94 of them to the same, infinity. The type that was declared suggests that nothing can happen; it is checked only afterwards.
# Of Hydra it is known and meant so without a type (https://github.com/hydra-ecosystem/hydra/issues/1163) and reported with one (https://github.com/hydra-ecosystem/hydra/issues/2599).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'hydra-core==1.3.8' 'omegaconf==2.3.1' 'draccus==0.11.6' 'fire==0.7.1' 'jsonargparse==4.53.0' 'tyro==1.0.17' 'simple-parsing==0.1.9' 'cyclopts==5.5.2' 'typer==0.29.2'
cd "$folder"
cat > trial.py <<'PYTHON'
import contextlib
import hashlib
import io
from dataclasses import dataclass

import cyclopts
import draccus
import fire
import jsonargparse
import simple_parsing
import typer
import tyro
from hydra import compose, initialize
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf
from typer.testing import CliRunner

CASES = ("0012", "18_0345", "1e234567", "1:30")


@dataclass
class Training:
    case: str = ""


def by_jsonargparse(case):
    parser = jsonargparse.ArgumentParser()
    parser.add_argument("--case", type=str)
    return parser.parse_args([f"--case={case}"]).case


def train(case: str):
    return case


def by_cyclopts(case):
    app = cyclopts.App(result_action="return_value")
    app.default(train)
    return app([f"--case={case}"])


def by_typer(case):
    app, got = typer.Typer(), []

    @app.command()
    def run(case: str = ""):
        got.append(case)

    CliRunner().invoke(app, [f"--case={case}"])
    return got[0]


ConfigStore.instance().store(name="training", node=Training)
tools = {
    "hydra": lambda case: compose("training", overrides=[f"case={case}"]).case,
    "omegaconf": lambda case: OmegaConf.merge(OmegaConf.structured(Training), OmegaConf.from_dotlist([f"case={case}"])).case,
    "draccus": lambda case: draccus.parse(Training, args=[f"--case={case}"]).case,
    "fire": lambda case: str(fire.Fire(train, command=[f"--case={case}"])),
    "jsonargparse": by_jsonargparse,
    "tyro": lambda case: tyro.cli(Training, args=[f"--case={case}"]).case,
    "simple-parsing": lambda case: simple_parsing.parse(Training, args=f"--case={case}").case,
    "cyclopts": by_cyclopts,
    "typer": by_typer,
}
print(f"expected: {CASES}")
seen, wrong = {}, ("hydra", "omegaconf", "draccus", "fire")
pseudonyms = [hashlib.sha256(str(number).encode()).hexdigest()[:8] for number in range(10_000)]
with initialize(version_base=None):
    for name, tool in tools.items():
        with contextlib.redirect_stdout(io.StringIO()):
            seen[name] = tuple(tool(case) for case in CASES)
        print(f"seen:     {name:14s} {seen[name]}")
    doubtful = [name for name in pseudonyms if name.replace("e", "", 1).isdigit()]
    changed = [name for name in doubtful if tools["hydra"](name) != name]
    print(f"seen:     of 10,000 pseudonyms of eight hexadecimal digits hydra changes {len(changed)}, {sum(tools['hydra'](name) == 'inf' for name in changed)} of them to inf")
stated = {
    "hydra": ("0012", "180345", "inf", "1:30"),
    "omegaconf": ("10", "180345", "inf", "90"),
    "draccus": ("10", "180345", "1e234567", "90"),
    "fire": ("0012", "180345", "inf", "1:30"),
}
raise SystemExit(0 if all(seen[name] == stated.get(name, CASES) for name in tools) and 20 < len(changed) < 200 else "no longer as stated")
PYTHON
venv/bin/python trial.py 2> said || { cat said >&2; exit 1; }
