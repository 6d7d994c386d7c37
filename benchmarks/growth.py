"""Growth: time and memory of check, crossval, evaluate, report and the viewer's start by the number of slides."""

import argparse
import csv
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import h5py
import matplotlib.pyplot as plt
import numpy as np

SIZES = (10, 100, 1_000, 10_000)
TILES, WIDTH = 8, 16
STEEP = 1.3
"""From here on the power of the last tenfold is called steeper than straight."""
MAIN = "import sys; from asmil.cli import main; sys.argv[0] = 'asmil'; main()"


def draw(folder: Path, slides: int) -> None:
    """A cohort of features without pixels: a value of the first dimension tells the classes, not without error."""
    random = np.random.default_rng(slides)
    (folder / "features").mkdir(parents=True)
    with (folder / "labels.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["slide", "patient", "label"])
        for i in range(slides):
            table.writerow([f"s{i}", f"p{i}", ("negative", "positive")[i % 2]])
            features = random.normal(size=(TILES, WIDTH)).astype(np.float32)
            features[:, 0] += i % 2
            with h5py.File(folder / f"features/s{i}.h5", "w") as store:
                store["features"] = features
                store["coords"] = np.array([(256 * j, 256 * i % 4096) for j in range(TILES)])
                store["coords"].attrs.update(patch_size_level0=256, level0_width=4096, level0_height=4096)


def start(command: Sequence[object]) -> subprocess.Popen:
    """Start `asmil` on one thread; it says nothing unless it fails."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": ""}
    return subprocess.Popen(
        [sys.executable, "-c", MAIN, *map(str, command)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
    )  # fmt: skip


def measured(process: subprocess.Popen, *, expected: int = 0) -> tuple[float, float]:
    """Processor seconds and peak memory (MB) of a process to its end, and of those that it waited for."""
    said = process.stdout.read() if process.stdout else ""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != expected:
        raise SystemExit(f"exit code {process.returncode}\n{said[-3000:]}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def fetched(address: str) -> bytes:
    """What a server answers."""
    with urllib.request.urlopen(address, timeout=120) as answer:
        return answer.read()


def opened(run: Path) -> tuple[float, float]:
    """Processor seconds and memory of the viewer until its page and its list of slides are there."""
    process = start(["view", run, "--no-browser", "--port", 0])
    line = process.stdout.readline() if process.stdout else ""
    address = line.split()[1]
    listed = json.loads(fetched(address + "api/runs"))
    fetched(address), fetched(f"{address}api/{listed['runs'][0]['id']}/slides")
    process.send_signal(signal.SIGINT)
    return measured(process)


def grown(folder: Path, slides: int) -> dict[str, tuple[float, float]]:
    """Every command on a cohort of so many slides: processor seconds, peak memory in MB."""
    draw(folder, slides)
    given = ["--features", folder / "features", "--labels", folder / "labels.csv"]
    run = folder / "run"
    short = ["--folds", 2, "--seeds", 1, "--epochs", 2, "--workers", 1, "--no-refit", "--out", run]
    return {
        "check": measured(start(["check", *given, "--folds", 2])),
        "crossval": measured(start(["crossval", *given, *short])),
        "evaluate": measured(start(["evaluate", run])),
        "report": measured(start(["report", run])),
        "view": opened(run),
    }


def power(times: Sequence[float], sizes: Sequence[int]) -> float:
    """The power of growth over the last step, of what is beyond start-up; a twentieth of that is the least told."""
    least = min(times)
    beyond = [max(time - least, least / 20) for time in times]
    return float(np.log(beyond[-1] / beyond[-2]) / np.log(sizes[-1] / sizes[-2]))


def picture(path: Path, sizes: Sequence[int], found: dict[str, list[tuple[float, float]]]) -> None:
    """Seconds and megabytes by the number of slides, both axes logarithmic; straight growth is the grey line."""
    figure, panels = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
    for panel, column, name in zip(panels, (0, 1), ("processor seconds", "peak memory, MB"), strict=True):
        for command, values in found.items():
            panel.loglog(sizes, [value[column] for value in values], marker="o", label=command)
        low = panel.get_ylim()[0]
        panel.plot(sizes, [low * size / sizes[0] for size in sizes], color="0.8", zorder=0, label="in proportion")
        panel.set_ylim(low, max(v[column] for values in found.values() for v in values) * 1.5)
        panel.set(xlabel="slides", ylabel=name)
        panel.grid(color="0.9", linewidth=0.6)
    panels[0].legend(frameon=False)
    figure.savefig(path, dpi=110)


def main() -> int:
    """Print the table, draw the picture; 1 where a command grows faster than the cohort."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--picture", type=Path, default=Path("growth.png"))
    given = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = {}
    measured(start(["list", "models"]))  # files come from the disk once
    for size in given.sizes:
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            for command, values in grown(Path(folder), size).items():
                found.setdefault(command, []).append(values)
        print(f"{size} slides: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    print(f"load {os.getloadavg()[0]:.1f}\n\n| | " + " | ".join(f"{size:,}" for size in given.sizes) + " | power |")
    print("|---|" + "---|" * (len(given.sizes) + 1))
    steep = False
    for command, values in found.items():
        last = power([seconds for seconds, _ in values], given.sizes)
        steep |= last > STEEP
        cells = " | ".join(f"{seconds:.1f} s, {memory:.0f} MB" for seconds, memory in values)
        print(f"| {command} | {cells} | {last:.2f} |")
    with suppress(OSError):
        given.picture.unlink()
    picture(given.picture, given.sizes, found)
    return int(steep)


if __name__ == "__main__":
    sys.exit(main())
