"""Kills: crossval and study killed at random, commands told to stop, disks that fill: each ends in the same result."""

import argparse
import csv
import json
import os
import random
import shlex
import shutil
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
import asmil.runs.making as making
ours = making.recipe_of
def recipe_of(settings):
    recipe = ours(settings)
    return replace(recipe, settings=replace(recipe.settings, checkpoint_seconds=0))
making.recipe_of = recipe_of
"""
"""A checkpoint after every epoch instead of every ten seconds: a short training is caught in the middle."""
LEFT_SECONDS = 20.0
"""How long a process may outlive the one that started it."""
TIMELY = {"config.yaml", "environment.json", "seconds.json", "report.html", "tables.md", "correlations.csv"} | {
    ".state",
    "state.csv",
}
"""Files that say when, where, with how many workers, or how long it took."""
STUDY = """
datasets: [{name: digits, bags: 24}]
models: [abmil]
stabilizers: {none: null, anchor: {}}
folds: 2
seeds: 2
settings: {epochs: 10}
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
        if not TIMELY.intersection(Path(name).parts) and _content(one / name) != _content(other / name):
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


Make = Callable[[Path, int], list[object]]
"""The command that makes an output folder, with so many workers."""


def commands(folder: Path) -> dict[str, Make]:
    """By name, what is killed, stopped, and starved. The last are of the run in `run-used`, and begin anew."""
    training = ["--folds", 2, "--seeds", 2, "--epochs", 12, "--patience", 12]
    cohort, few, whole = folder / "cohort", ["--tile-px", 64, "--bootstrap", 20], folder / "run-used"
    slides = ["--slides", cohort / "slides", "--labels", cohort / "labels.csv"]
    features = ["--features", folder / "features", "--labels", folder / "labels.csv"]
    return {
        "crossval": lambda out, workers: ["crossval", *features, *training, "--workers", workers, "--out", out],
        "study": lambda out, workers: ["study", folder / "study.yaml", "--workers", workers, "--out", out],
        "embed": lambda out, workers: ["embed", *slides[:2], "--tile-px", 64, "--slide-workers", workers, "--out", out],
        "run": lambda out, workers: ["run", *slides, *few, *training, "--workers", workers, "--out", out],
        "predict": lambda out, _: ["predict", whole, *slides[:2], "--heatmaps", "--out", out],
        "convert": lambda out, _: ["convert", folder / "features", "--to", "stamp", "--out", out, *STATED],
        "tissue": lambda out, _: ["tissue", *slides[:2], "--out", fresh(out)],
        "evaluate": lambda _, __: ["evaluate", whole, "--bootstrap", 2000],
        "report": lambda _, __: ["report", whole],
        "heatmap": lambda _, __: ["heatmap", whole],
        "export": lambda out, _: ["export", whole, "--out", out / "model.onnx"],
    }


STATED = ("--slide-mpp", 0.5, "--tile-px", 256)
MODES = ("crossval", "study")
"""Commands that are killed."""
IN_PLACE = ("evaluate", "report", "heatmap")
"""Commands that write into the run that they are of."""


def fresh(out: Path) -> Path:
    """A folder whose table, which is not written over, is gone."""
    (out / "slides.csv").unlink(missing_ok=True)
    return out


# Killed.


@dataclass
class Count:
    """How often what was done, and what went wrong."""

    kills: int = 0
    runs: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(self, said: str, *found: str) -> None:
        """Note, and print, what is wrong."""
        self.wrong += [f"{said}: {one}" for one in found[:5]]
        print("".join(f"WRONG: {said}: {one}\n" for one in found[:5]), end="", flush=True)


def kill_again_and_again(folder: Path, *, kills: int, seed: int, seconds: dict[str, float]) -> Count:
    """Kill crossval and study, of one worker and of two, until so many kills are done, and go on each time.

    `seconds` is what each of the two takes undisturbed.
    """
    rng, count, made = random.Random(seed), Count(), commands(folder)
    # the second and the last are had by two kills: what no shorter test kills
    modes = [("crossval", 1), ("crossval", 2), ("study", 2), ("study", 1)]
    for mode, (name, workers) in enumerate(modes):
        due = kills * (mode + 1) // len(modes)
        while count.kills < due:
            out = folder / f"{name}-{workers}-{count.runs}"
            _until_whole(made[name](out, workers), folder / "log", rng=rng, seconds=seconds[name], due=due, count=count)
            found = differences(folder / f"{name}-whole", out)
            count.add(f"{name} of {workers} workers, {out.name}", *found)
            count.runs += 1
        print(f"{name} --workers {workers}: {count.kills} of {kills} kills, {len(count.wrong)} wrong", flush=True)
    return count


def make_whole(folder: Path, names: Sequence[str]) -> dict[str, float]:
    """What each command makes undisturbed, `<name>-whole`, in how many seconds; those that need a run come after it."""
    made, seconds = commands(folder), {}
    for name in names:
        started = time.monotonic()
        ended = run(made[name](folder / f"{name}-whole", 1), folder / "log")
        if ended.code:
            raise SystemExit(f"{name} does not even run:\n{ended.said}")
        seconds[name] = time.monotonic() - started
        if name == "run":
            shutil.copytree(folder / "run-whole", folder / "run-used")
    return seconds


def _until_whole(
    command: list[object], log: Path, *, rng: random.Random, seconds: float, due: int, count: Count
) -> None:
    """Start a command until it ends by itself, and kill it, one of its workers, or all, while kills are due."""
    said = shlex.join(map(str, command))
    for _ in range(30):
        process, victims = start(command, log, before=EVERY_EPOCH), "nobody"
        if count.kills < due:
            victims = rng.choice(("the first", "a worker", "all"))
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=rng.uniform(0.2, 1.0) * seconds)
            count.kills += _kill(process, victims, rng)
        ended = end(process, log)
        if ended.left:
            count.add(said, f"left behind after the death of {victims}")
        if ended.code == 0:
            return
        if ended.code != -signal.SIGKILL and "run the same command again" not in ended.said:
            count.add(said, f"exit code {ended.code}: {ended.said[-1500:]}")
    count.add(said, "never ends")


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


# Told to stop.


def stop_and_go_on(folder: Path, *, seed: int) -> Count:
    """Tell every long command to stop, by ctrl-C and by SIGTERM, and give it again."""
    rng, count, made = random.Random(seed), Count(), commands(folder)
    for name, make in made.items():
        for workers in (1, 2) if name in ("crossval", "study", "embed") else (1,):
            whole, started = folder / f"{name}-whole", time.monotonic()
            ended = run(make(folder / f"{name}-{workers}-timed", workers), folder / "log")
            seconds = time.monotonic() - started
            if name in IN_PLACE:
                shutil.copytree(folder / "run-used", whole, dirs_exist_ok=True)
            for stop in (signal.SIGTERM, signal.SIGINT):
                out = folder / ("run-used" if name in IN_PLACE else f"{name}-{workers}-{stop.name}")
                said = f"{name} of {workers} workers, {stop.name}"
                stopped = _stopped(make(out, workers), folder / "log", stop=stop, seconds=seconds, rng=rng)
                count.kills += stopped.code == 128 + stop
                count.add(said, *_wrongs(stopped, 128 + stop, out))
                again = run(make(out, workers), folder / "log")
                if again.code != ended.code:
                    count.add(said, f"the next start ends with {again.code}: {again.said[-1500:]}")
                count.add(said, *differences(whole, out))
                count.runs += 1
            print(f"{name} of {workers} workers: {count.kills} of {count.runs} stopped in the middle", flush=True)
    return count


def _stopped(command: list[object], log: Path, *, stop: signal.Signals, seconds: float, rng: random.Random) -> Ended:
    """How a command ends that is told to stop somewhere after its start; ctrl-C reaches its workers too."""
    process = start(command, log)
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=rng.uniform(0.3, 0.9) * seconds)
    with suppress(ProcessLookupError):
        (os.killpg if stop == signal.SIGINT else os.kill)(process.pid, stop)
    return end(process, log)


def _wrongs(ended: Ended, code: int, out: Path) -> list[str]:
    """What is wrong with how a stopped command ended."""
    wrong = [f"left behind: {ended.left}"] if ended.left else []
    if ended.code not in (code, 0, 1):
        wrong.append(f"exit code {ended.code}: {ended.said[-1500:]}")
    if ended.code == code and "the same command" not in ended.said:
        wrong.append(f"does not say how to go on: {ended.said[-1500:]}")
    if "Traceback" in ended.said or "fault:" in ended.said:
        wrong.append(f"a traceback: {ended.said[-1500:]}")
    return wrong + [f"half-written: {path}" for path in out.rglob(".*.partial*")]


# Disks that fill.


def starve(folder: Path) -> Count:
    """Give every command a disk that is too small, then one that is not."""
    count, disk = Count(), folder / "disk"
    disk.mkdir()
    if _mount(disk, "size=1m").returncode:
        print("disks that fill: skipped, as this user may not mount one")
        return count
    subprocess.run(["umount", disk], check=True)
    for name, make in commands(folder).items():
        whole, rng = folder / f"{name}-whole", random.Random(0)
        if name in IN_PLACE or not whole.exists():
            continue
        size = sum(path.stat().st_size for path in whole.rglob("*") if path.is_file())
        for workers in (1, 2) if name in ("crossval", "study", "embed") else (1,):
            _mount(disk, f"size={max(8192, int(size * rng.uniform(0.1, 0.9)))}")
            try:
                said = f"{name} of {workers} workers on a full disk"
                ended = run(make(disk / "out", workers), folder / "log")
                count.add(said, *_wrongs(ended, 2, disk))
                if ended.code == 0 or "No space left" not in ended.said:
                    count.add(said, f"exit code {ended.code}, and the reason is not told: {ended.said[-900:]}")
                _mount(disk, f"remount,size={8 * size + 2**24}")
                again = run(make(disk / "out", workers), folder / "log")
                if again.code:
                    count.add(said, f"with room the next start ends with {again.code}: {again.said[-900:]}")
                count.add(said, *differences(whole, disk / "out"))
                count.runs += 1
                count.kills += 1
            finally:
                subprocess.run(["umount", disk], check=True)
        print(f"{name}: {count.kills} disks filled, {len(count.wrong)} wrong", flush=True)
    return count


def _mount(disk: Path, options: str) -> subprocess.CompletedProcess:
    return subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", disk], capture_output=True, check=False)


def main() -> int:
    """Draw, do all parts that are asked for, and tell; 1 where anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--part", action="append", choices=("kills", "stops", "disks"), help="Only this; repeat.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="Where to work; else a temporary folder.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        draw(folder)
        started = time.monotonic()
        parts = {
            "kills": lambda: kill_again_and_again(folder, kills=given.kills, seed=given.seed, seconds=seconds),
            "stops": lambda: stop_and_go_on(folder, seed=given.seed),
            "disks": lambda: starve(folder),
        }
        asked = given.part or list(parts)
        seconds = make_whole(
            folder, MODES if asked == ["kills"] else [name for name in commands(folder) if name != "report"]
        )
        wrong = []
        for name in asked:
            count = parts[name]()
            print(f"{name}: {count.kills}, in {count.runs} folders: {time.monotonic() - started:.0f} s", flush=True)
            wrong += count.wrong
    print("\n".join(wrong[:20]) or "every result is the same, nothing is left over, and what is to be done is said")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
