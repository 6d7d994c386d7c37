"""Soak: workers on one folder, killed and started again at random, end with what one unbroken run makes."""

import argparse
import csv
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

from asmil.slides import draw_slide, draw_stain, write_slide

SIZE_PX = (1024, 768)
DRAWN = 20
COMMAND = "import sys; from asmil.cli import main; sys.argv[0] = 'asmil'; main()"


def draw(folder: Path, *, good: int, bad: int) -> tuple[set[str], set[str]]:
    """Write slides of different content, and bad files of every kind in turn; their names."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    drawn = [
        draw_slide(rng, tumour=i % 2 > 0, size_px=SIZE_PX, stain=draw_stain(rng, rng)).pixels for i in range(DRAWN)
    ]
    for i in range(good):
        pixels = np.roll(drawn[i % DRAWN], 37 * (i // DRAWN), axis=1)
        write_slide(folder / f"slide_{i:04}.tif", pixels, mpp=0.5)
    whole = (folder / "slide_0000.tif").read_bytes()
    kinds = (_empty, _cut, _png, _text, _blank, _no_mpp, _small, _wrong_scale, _deep, _noise)
    for i in range(bad):
        kind = kinds[i % len(kinds)]
        kind(folder / f"bad_{i:02}{kind.__name__}.svs", whole, drawn[0])
    names = [path.stem for path in folder.iterdir()]
    return {name for name in names if name.startswith("slide")}, {name for name in names if name.startswith("bad")}


def _empty(path: Path, whole: bytes, pixels: np.ndarray) -> None:
    path.write_bytes(b"")


def _cut(path: Path, whole: bytes, pixels: np.ndarray) -> None:
    path.write_bytes(whole[: len(whole) // 3])


def _png(path: Path, whole: bytes, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(path, format="PNG")  # which is read as what it is, and has no scale


def _text(path: Path, whole: bytes, pixels: np.ndarray) -> None:
    path.write_text("this is no slide\n")


def _noise(path: Path, whole: bytes, pixels: np.ndarray) -> None:
    path.write_bytes(whole[:8] + random.Random(0).randbytes(5000))


def _blank(path: Path, whole: bytes, pixels: np.ndarray) -> None:
    write_slide(path, np.full_like(pixels, 245), mpp=0.5)


def _no_mpp(path: Path, whole: bytes, pixels: np.ndarray) -> None:
    write_slide(path, pixels, mpp=None)


def _small(path: Path, whole: bytes, pixels: np.ndarray) -> None:
    write_slide(path, pixels[300:330, 300:340], mpp=0.5)


def _wrong_scale(path: Path, whole: bytes, pixels: np.ndarray) -> None:
    write_slide(path, pixels, mpp=0.001)


def _deep(path: Path, whole: bytes, pixels: np.ndarray) -> None:
    Image.fromarray(pixels[..., 0].astype(np.uint16) * 256).save(path, format="TIFF")


def start(slides: Path, out: Path, log: Path) -> subprocess.Popen:
    """Start `asmil embed` in a process of its own."""
    options = ["embed", "--slides", slides, "--out", out, "--tile-px", 128, "--mpp", 1, "--device", "cpu"]
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-c", COMMAND, *map(str, options)],
            stdout=file,
            stderr=file,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )


def soak(slides: Path, out: Path, *, number: int, kills: int, workers: int) -> list[int]:
    """Keep so many workers at work and kill one at random moments; the exit codes of those that ended by themselves."""
    rng, log = random.Random(1), out.parent / "workers.log"
    moments = sorted(rng.uniform(0, 0.95) * number for _ in range(kills))
    alive, codes, killed = [start(slides, out, log) for _ in range(workers)], [], 0
    while alive:
        time.sleep(rng.uniform(0.05, 0.3))
        done = len(list(out.glob(".state/*/[!.]*.json")))
        if killed < kills and done >= moments[killed]:
            rng.shuffle(alive)
            victim = alive.pop()
            victim.send_signal(signal.SIGKILL)
            if victim.wait() == -signal.SIGKILL:
                killed += 1
                print(f"killed {killed} of {kills} at {done} of {number} slides", flush=True)
            alive.append(start(slides, out, log))
        for worker in [worker for worker in alive if worker.poll() is not None]:
            alive.remove(worker)
            codes.append(worker.returncode)
            print(f"a worker ended by itself at {done} of {number} slides, exit code {worker.returncode}", flush=True)
    return codes


def check(out: Path, single: Path, *, good: set[str], bad: set[str]) -> list[str]:
    """What is wrong with the folder, in words; nothing if all is as it should be."""
    wrong = []
    files, wanted = _features(out), _features(single)
    if files.keys() != good:
        wrong.append(f"files: {sorted(files.keys() ^ good)[:5]} missing or too many")
    wrong += [f"{name} is not what one run makes" for name in files if files[name] != wanted.get(name)]
    wrong += [f"left over: {path}" for path in (*out.glob(".claims/*"), *out.rglob("*.partial*"))]
    with (out / "state.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    if sorted(row["slide"] for row in rows) != sorted(good | bad):
        wrong.append(f"state.csv has {len(rows)} rows for {len(good | bad)} slides")
    for row in rows:
        done = row["result"] in ("ok", "kept")  # kept: killed between its file and its record
        if done != (row["slide"] in good) or (row["slide"] in bad and not row["reason"]):
            wrong.append(f"state.csv: {row['slide']} {row['result']} {row['reason']}")
    return wrong


def _features(out: Path) -> dict[str, tuple]:
    found: dict[str, tuple] = {}
    for path in out.glob("features/*/*.h5"):
        with h5py.File(path) as file:
            content = {name: file[name][()].tobytes() for name in file if isinstance(file[name], h5py.Dataset)}
            if path.stem in found:
                raise SystemExit(f"{path.stem} is there twice")
            found[path.stem] = (content, {name: str(value) for name, value in file.attrs.items()})
    return found


def main() -> int:
    """Draw, soak, make the unbroken run, compare; 1 where anything differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in (("slides", 500), ("kills", 20), ("bad", 10), ("workers", 3)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--folder", type=Path, help="Where to work; else a temporary folder.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        good, bad = draw(folder / "slides", good=given.slides - given.bad, bad=given.bad)
        started = time.monotonic()
        codes = soak(folder / "slides", folder / "out", number=given.slides, kills=given.kills, workers=given.workers)
        soaked = time.monotonic() - started
        single = start(folder / "slides", folder / "single", folder / "single.log").wait()
        unbroken = time.monotonic() - started - soaked
        wrong = check(folder / "out", folder / "single", good=good, bad=bad)
        if set(codes) | {single} != {1}:  # 1: the bad files
            wrong.append(f"exit codes {codes} and {single}")
        print(f"{given.slides} slides ({len(bad)} bad), {given.workers} workers, {given.kills} kills: {soaked:.0f} s")
        print(f"one unbroken process: {unbroken:.0f} s")
        print("\n".join(wrong[:20]) or "nothing lost, nothing twice, nothing left over, all features bit-equal")
        for line in (folder / "workers.log").read_text(errors="replace").splitlines()[-60:] if wrong else []:
            print("   ", line)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
