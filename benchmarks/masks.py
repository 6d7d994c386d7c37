"""What a generated mask of 100 000 x 100 000 px costs, with and without a pyramid, and the interval of a FROC."""

import resource
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile

from asmil.annotations import MaskLabels, read_annotations
from asmil.evaluation.froc import Findings, froc_curve

SIDE, TILE = 100_000, 512
DISCS = ((30_000, 40_000, 3000), (70_000, 20_000, 900), (50_000, 80_000, 6000))
"""Row, column and radius, level-0 pixels."""


def tiles(down: int) -> Iterator[bytes]:
    """The compressed tiles of a level."""
    blank = zlib.compress(bytes(TILE * TILE), 1)
    rows, columns = np.mgrid[:TILE, :TILE] * down
    for top in range(0, SIDE, TILE * down):
        for left in range(0, SIDE, TILE * down):
            near = [d for d in DISCS if np.hypot(top - d[0], left - d[1]) < d[2] + 2 * TILE * down]
            if not near:
                yield blank
                continue
            inside = [np.hypot(rows + top - y, columns + left - x) < r for y, x, r in near]
            yield zlib.compress(np.where(np.any(inside, axis=0), 255, 0).astype(np.uint8).tobytes(), 1)


def write(path: Path, downs: tuple[int, ...]) -> None:
    """A mask with these levels."""
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for down in downs:
            size = -(-SIDE // down)
            file.write(
                tiles(down),
                shape=(size, size),
                dtype=np.uint8,
                tile=(TILE, TILE),
                compression="zlib",
                photometric="minisblack",
                subfiletype=int(down > 1),
            )


def read(path: str) -> None:
    """Print what reading a mask costs in this process."""
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    drawn = read_annotations(path, slide_size=(SIDE, SIDE), labels=MaskLabels({255: "tumor"}))
    seconds, more = time.process_time() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    true = np.pi * sum(radius**2 for *_, radius in DISCS)
    error = drawn.area_of(["tumor"]).area / true - 1
    print(
        f"{Path(path).stem:<8} {seconds:6.2f} s CPU, {more / 1024:4.0f} MiB more, area wrong by {error:.1e}", flush=True
    )


def main() -> None:
    """Write both masks, read each in a process of its own, and time the interval of a cohort's FROC."""
    with tempfile.TemporaryDirectory() as folder:
        for name, downs in (("pyramid", (1, 2, 4, 8, 16, 32)), ("flat", (1,))):
            write(Path(folder) / f"{name}.tif", downs)
            code = f"from benchmarks.masks import read; read({str(Path(folder) / f'{name}.tif')!r})"
            subprocess.run([sys.executable, "-c", code], check=True)
    rng = np.random.default_rng(0)
    slides = [Findings(rng.random(1000), rng.random(rng.integers(0, 4))) for _ in range(129)]
    started = time.process_time()
    froc_curve(slides, n_boot=1000)
    print(f"FROC of 129 slides with 1000 detections each, 1000 resamples: {time.process_time() - started:.1f} s CPU")


if __name__ == "__main__":
    main()
