"""Kills: crossval and study killed at random, commands told to stop, disks that fill: each ends in the same result."""

import argparse
import csv
import json
import os
import random
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

from asmil.slides import make_slides

MAIN = "import sys; from asmil.cli import main; sys.argv[0] = 'asmil'; main()"
EVERY_EPOCH = """
from dataclasses import replace
import asmil.runs.pipeline as pipeline
ours = pipeline.recipe_of
def recipe_of(settings):
    recipe = ours(settings)
    return replace(recipe, settings=replace(recipe.settings, checkpoint_seconds=0))
pipeline.recipe_of = recipe_of
"""
"""A checkpoint after every epoch instead of every ten seconds: a short training is caught in the middle."""
LEFT_SECONDS = 20.0
"""How long a process may outlive the one that started it."""
TIMELY = {"config.yaml", "environment.json", "seconds.json"}
"""Files that say when, where and with how many workers."""
STUDY = """
datasets: [{name: digits, bags: 40}]
models: [abmil, mean]
stabilizers: {none: null, anchor: {}}
folds: 2
seeds: 3
settings: {epochs: 30, checkpoint_seconds: 0}
"""


@dataclass
class Ended:
    """How a command ended: its code, what it said, and the processes that it left behind."""

    code: int
    said: str
    left: list[int] = field(default_factory=list)


def start(command: Sequence[object], log: Path, *, before: str = "") -> subprocess.Popen:
    """Start `asmil` as the head of a session of its own; what it says goes to `log`."""
    with log.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-c", f"{before}\n{MAIN}", *map(str, command)],
            stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": ""},
        )  # fmt: skip


def members(session: int) -> list[int]:
    """The processes of a session that live."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, _, own = path.read_text().rpartition(")")[2].split()[:4]
            if int(own) == session and state not in "ZX":
                found.append(int(path.parent.name))
    return found


def end(process: subprocess.Popen, log: Path, *, seconds: float = 600) -> Ended:
    """Wait for a command and for the processes it started."""
    code, deadline = process.wait(timeout=seconds), time.monotonic() + LEFT_SECONDS
    while (left := members(process.pid)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return Ended(code, log.read_text(errors="replace"), left)


def run(command: Sequence[object], log: Path) -> Ended:
    """Do a command to its end."""
    return end(start(command, log), log)


# What is compared.


def differences(one: Path, other: Path) -> list[str]:
    """In what two folders differ, but for what tells the time; nothing where the result is the same."""
    files = [{str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} for folder in (one, other)]
    found = [f"only in one of the two: {name}" for name in sorted(files[0] ^ files[1])]
    for name in sorted(files[0] & files[1]):
        if Path(name).name not in TIMELY and _content(one / name) != _content(other / name):
            found.append(f"differs: {name}")
    return found


def _content(path: Path) -> object:
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            return [{k: v for k, v in row.items() if k not in ("seconds", "when")} for row in csv.DictReader(file)]
    if path.name == "metrics.json":
        return json.loads(path.read_text()) | {"seconds": None}
    if path.name == "sealed.json":  # digests of files that tell the time
        return set(json.loads(path.read_text())["files"])
    return _arrays(path) if path.suffix == ".h5" else path.read_bytes()


def _arrays(path: Path) -> dict[str, object]:
    """The arrays of a file: HDF5 keeps times of its own."""
    found: dict[str, object] = {}

    def read(name: str, part: h5py.Dataset | h5py.Group) -> None:
        if isinstance(part, h5py.Dataset):  # the bytes of an array of strings are addresses
            found[name] = part[()].tolist() if part.dtype == object else part[()].tobytes()

    with h5py.File(path) as file:
        file.visititems(read)
    return found


# What is made.


def draw(folder: Path) -> None:
    """Slides with labels, features of more slides with labels, and a study."""
    make_slides(folder / "cohort", patients=10, slides_per_patient=(1, 1), size_px=(800, 640), seed=3)
    for path in (folder / "cohort" / "slides").glob("awkward*"):
        path.unlink()
    rng, rows = np.random.default_rng(0), ["slide_id,case_id,label"]
    (folder / "features").mkdir()
    for number in range(32):
        with h5py.File(folder / "features" / f"s{number:02}.h5", "w") as file:
            values = rng.standard_normal((40, 16))
            values[: 6 * (number % 2), :4] += 1.5
            file["features"] = values.astype(np.float32)
            file["coords"] = np.array([(x * 256, y * 256) for x in range(8) for y in range(5)])
        rows.append(f"s{number:02},p{number // 2 * 2 + number % 2:02},{('normal', 'tumour')[number % 2]}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    (folder / "study.yaml").write_text(STUDY)


def commands(folder: Path) -> dict[str, Callable[[Path, int], list[object]]]:
    """By name, the command that makes an output folder with so many workers."""
    training = ["--folds", 3, "--seeds", 2, "--epochs", 40, "--patience", 40]
    cohort, few = folder / "cohort", ["--tile-px", 64, "--bootstrap", 20]
    slides = ["--slides", cohort / "slides", "--labels", cohort / "labels.csv"]
    features = ["--features", folder / "features", "--labels", folder / "labels.csv"]
    return {
        "crossval": lambda out, workers: ["crossval", *features, *training, "--workers", workers, "--out", out],
        "study": lambda out, workers: ["study", folder / "study.yaml", "--workers", workers, "--out", out],
        "embed": lambda out, workers: ["embed", *slides[:2], "--tile-px", 64, "--slide-workers", workers, "--out", out],
        "run": lambda out, workers: ["run", *slides, *few, *training, "--workers", workers, "--out", out],
    }


# Killed.


@dataclass
class Count:
    """How often what was done, and what went wrong."""

    kills: int = 0
    runs: int = 0
    wrong: list[str] = field(default_factory=list)


def kill_again_and_again(folder: Path, *, kills: int, seed: int) -> Count:
    """Kill crossval and study, of one worker and of two, until so many kills are done, and go on each time."""
    rng, count, made = random.Random(seed), Count(), commands(folder)
    modes = [(name, workers) for name in ("crossval", "study") for workers in (1, 2)]
    whole, seconds = {}, {}
    for name, _ in modes[::2]:
        whole[name], started = folder / f"{name}-whole", time.monotonic()
        ended = run(made[name](whole[name], 1), folder / "log")
        seconds[name] = time.monotonic() - started
        if ended.code:
            raise SystemExit(f"{name} does not even run:\n{ended.said}")
    for mode, (name, workers) in enumerate(modes):
        due = kills * (mode + 1) // len(modes)
        while count.kills < due:
            out = folder / f"{name}-{workers}-{count.runs}"
            _until_whole(made[name](out, workers), folder / "log", rng=rng, seconds=seconds[name], due=due, count=count)
            found = differences(whole[name], out)
            count.wrong += [f"{name} of {workers} workers, {out.name}: {one}" for one in found[:5]]
            count.runs += 1
        print(f"{name} --workers {workers}: {count.kills} of {kills} kills, {len(count.wrong)} wrong", flush=True)
    return count


def _until_whole(
    command: list[object], log: Path, *, rng: random.Random, seconds: float, due: int, count: Count
) -> None:
    """Start a command until it ends by itself, and kill it, one of its workers, or all, while kills are due."""
    for _ in range(30):
        process, victims = start(command, log, before=EVERY_EPOCH), "nobody"
        if count.kills < due:
            victims = rng.choice(("the first", "a worker", "all"))
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=rng.uniform(0.2, 1.0) * seconds)
            count.kills += _kill(process, victims, rng)
        ended = end(process, log)
        if ended.left:
            count.wrong.append(f"{shlex.join(map(str, command))}: left behind after the death of {victims}")
        if ended.code == 0:
            return
        if ended.code != -signal.SIGKILL and "run the same command again" not in ended.said:
            count.wrong.append(f"exit code {ended.code}: {ended.said[-2000:]}")
    count.wrong.append(f"{shlex.join(map(str, command))} never ends")


def _kill(process: subprocess.Popen, victims: str, rng: random.Random) -> int:
    """Kill with SIGKILL; 1 where there was somebody to kill."""
    if process.poll() is not None:
        return 0
    workers = [one for one in members(process.pid) if one != process.pid]
    chosen = {"the first": [process.pid], "a worker": workers and [rng.choice(workers)]}.get(victims, [])
    for one in chosen or [process.pid, *workers]:
        with suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)
    return 1


def main() -> int:
    """Draw, do all parts that are asked for, and tell; 1 where anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="Where to work; else a temporary folder.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        draw(folder)
        started = time.monotonic()
        count = kill_again_and_again(folder, kills=given.kills, seed=given.seed)
        print(f"{count.kills} kills, {count.runs} runs: {time.monotonic() - started:.0f} s")
    print("\n".join(count.wrong[:20]) or "every result is the same")
    return int(bool(count.wrong))


if __name__ == "__main__":
    sys.exit(main())
