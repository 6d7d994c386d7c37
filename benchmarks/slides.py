"""Tiles per second from slides: OpenSlide tile by tile, ours, and the bare decoder; memory against slide size."""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openslide
from PIL import Image

from asmil.machine import cores, each
from asmil.slides import open_slide, write_slide, write_sparse_slide
from asmil.slides.readers.tiff import TiffReader
from asmil.tiles import TileGrid, find_tissue, tile

REAL = Path(__file__).parents[1] / "tests" / "data" / "CMU-1-Small-Region.svs"
BATCH, BUFFERS = 256, 4
"""Tiles read at once, and how many places for so many are used in turn, as extraction does."""
Case = Callable[[], int]
"""Reads a number of tiles and returns it."""


def whole_grid(path: Path, *, scale: float, tile_px: int, offset: int = 0) -> TileGrid:
    """Every tile of `tile_px` at `scale` times the slide's mpp, from (offset, offset) on."""
    with open_slide(path, objective=20) as slide:
        side = tile_px * scale
        columns, rows = (int((length - offset) // side) for length in slide.size)
        xy = [[offset + round(c * side), offset + round(r * side)] for r in range(rows) for c in range(columns)]
        ones = np.ones(len(xy), np.float32)
        return TileGrid(np.array(xy), tile_px, slide.mpp * scale, slide.mpp, slide.size, ones, 0)


def natives_of(grid: TileGrid, native_px: int) -> int:
    """How many tiles of the file the tiles of a grid of level 0 touch."""
    first, last = grid.level0_xy // native_px, (grid.level0_xy + grid.tile_px - 1) // native_px
    return len({(x, y) for a, b in zip(first, last, strict=True) for x in {a[0], b[0]} for y in {a[1], b[1]}})


def by_asmil(path: Path, grid: TileGrid, buffer: np.ndarray) -> Case:
    """`read_tiles` in batches into `buffer` (BUFFERS * BATCH tiles)."""

    def case() -> int:
        with open_slide(path, objective=20) as slide:
            for start in range(0, len(grid), BATCH):
                batch = np.arange(start, min(start + BATCH, len(grid)))
                place = start % len(buffer)
                slide.read_tiles(grid, batch, out=buffer[place : place + len(batch)])
        return len(grid)

    return case


def by_openslide(path: Path, grid: TileGrid, *, threads: bool = False) -> Case:
    """`read_region` tile by tile, resized where the scale differs; `threads`: on all cores."""
    corners = grid.level0_xy[:: max(1, len(grid) // 200)].tolist() if not threads else grid.level0_xy[:400].tolist()
    scale = grid.mpp / grid.slide_mpp

    def case() -> int:
        with openslide.OpenSlide(path) as slide:
            level = slide.get_best_level_for_downsample(scale * 1.01)
            side = round(grid.tile_px * scale / slide.level_downsamples[level])

            def read(corner: list[int]) -> None:
                region = slide.read_region((corner[0], corner[1]), level, (side, side)).convert("RGB")
                if side != grid.tile_px:
                    region = region.resize((grid.tile_px, grid.tile_px), Image.Resampling.BICUBIC)
                np.asarray(region)

            if threads:
                each(read, corners)
            else:
                for corner in corners:
                    read(corner)
        return len(corners)

    return case


def by_decoder(path: Path, buffer: np.ndarray) -> Case:
    """The JPEG decoder alone on the bytes of level 0, on all cores: the limit."""

    def case() -> int:
        reader = TiffReader(path)
        columns, rows = (-(-a // b) for a, b in zip(reader.level_sizes[0], reader.tile_sizes[0], strict=True))
        each(lambda i: reader.decode(0, i // columns, i % columns, out=buffer[i % len(buffer)]), range(rows * columns))
        reader.close()
        return rows * columns

    return case


def best_times(cases: dict[str, Case], *, rounds: int) -> dict[str, tuple[float, float]]:
    """Milliseconds per tile of each case, by the clock and of all cores' work; the best of several rounds in turn."""
    times = dict.fromkeys(cases, (np.inf, np.inf))
    for _ in range(rounds):
        for name, case in cases.items():
            clock, work = time.perf_counter(), time.process_time()
            tiles = case()
            found = (time.perf_counter() - clock) * 1e3 / tiles, (time.process_time() - work) * 1e3 / tiles
            times[name] = min(times[name][0], found[0]), min(times[name][1], found[1])
    return times


def tile_table(path: Path, *, native_px: int, rounds: int) -> None:
    """One table for a slide whose native tiles are `native_px` wide."""
    native = whole_grid(path, scale=1, tile_px=native_px)
    moved = whole_grid(path, scale=1, tile_px=native_px, offset=100)
    double = whole_grid(path, scale=2, tile_px=native_px)
    odd = whole_grid(path, scale=1.2, tile_px=224)
    buffer, small = (np.ones((BUFFERS * BATCH, side, side, 3), np.uint8) for side in (native_px, 224))
    cases = {
        "OpenSlide": by_openslide(path, native),
        "OpenSlide, all cores": by_openslide(path, native, threads=True),
        "ours, aligned": by_asmil(path, native, buffer),
        "ours, moved by 100 px": by_asmil(path, moved, buffer),
        "decoder alone": by_decoder(path, buffer),
        "OpenSlide at 2x": by_openslide(path, double),
        "ours at 2x": by_asmil(path, double, buffer),
        "OpenSlide at 1.2x, 224 px": by_openslide(path, odd),
        "ours at 1.2x, 224 px": by_asmil(path, odd, small),
    }
    times = best_times(cases, rounds=rounds)
    print(f"\n{path.name}: {native.slide_size[0]} x {native.slide_size[1]} px, native tiles of {native_px} px\n")
    print("| tiles | per second | CPU ms per tile | OpenSlide / this | of the decoder | of its CPU | ", end="")
    print("of the decoder on the same native tiles | of its CPU |\n" + "|---" * 8 + "|")
    decoder = times["decoder alone"]
    for name, (clock, work) in times.items():
        ours, grid = name.startswith("ours"), moved if "moved" in name else native
        rival = times[name.replace("ours", "OpenSlide") if " at " in name else "OpenSlide"][0]
        shares = (decoder[0] / clock, decoder[1] / work) if ours and " at " not in name else ()
        more = natives_of(grid, native_px) / len(grid)
        shown = " | ".join(f"{factor * share:.2f}" for factor in (1, more) for share in shares) or " |" * 3
        print(f"| {name} | {1e3 / clock:.0f} | {work:.2f} | {rival / clock:.1f} | {shown} |")


def peak_mib() -> float:
    """Most memory this process has held, MiB, since it began (what `getrusage` says includes its parent's)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def memory_row(path: Path) -> None:
    """Open, look, find the tissue and read its tiles; seconds and the peak of memory of this process."""
    before = peak_mib()
    seconds: list[float] = []

    def timed(step: Callable[[], object]) -> object:
        start = time.perf_counter()
        result = step()
        seconds.append(time.perf_counter() - start)
        return result

    slide = open_slide(path)
    timed(slide.thumbnail)
    timed(lambda: slide.thumbnail_at(8.0))
    seen = peak_mib() - before
    tissue = timed(lambda: find_tissue(slide))
    grid = tile(slide, tissue, mpp=slide.mpp * 2, tile_px=256)  # type: ignore[arg-type]
    buffer = np.ones((64, 256, 256, 3), np.uint8)
    for start in range(0, len(grid), 64):
        batch = np.arange(start, min(start + 64, len(grid)))
        slide.read_tiles(grid, batch, out=buffer[: len(batch)])
    peak = peak_mib() - before
    shown = [f"{slide.size[0]}", *(f"{s:.2f}" for s in seconds), f"{len(grid)}", f"{seen:.0f}", f"{peak:.0f}"]
    print(f"| {' | '.join(shown)} |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", type=Path, help="one row of the table of memory, for this slide")
    options = parser.parse_args()
    if options.memory:
        memory_row(options.memory)
        return
    print(f"{cores()} cores")
    with tempfile.TemporaryDirectory() as folder:
        with open_slide(REAL) as slide:
            region = slide.read((0, 0), (2048, 2816), mpp=slide.mpp)
        path = write_slide(Path(folder) / "pyramid.tif", np.tile(region, (3, 4, 1)), mpp=0.5)
        tile_table(path, native_px=256, rounds=options.rounds)
        tile_table(REAL, native_px=240, rounds=options.rounds)
        print("\n| side, px | 1024 px, s | 8 um/px, s | tissue, s | tiles | peak MiB before tissue | peak MiB |")
        print("|---|---|---|---|---|---|---|")
        for side in (35_000, 100_000, 200_000):
            huge = write_sparse_slide(Path(folder) / "huge.tif", side_px=side)
            subprocess.run([sys.executable, "-m", "benchmarks.slides", "--memory", str(huge)], check=True)


if __name__ == "__main__":
    main()
