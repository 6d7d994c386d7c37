"""Formats x readers: what opens with the right size, scale, levels and pixels, and tiles per second as ratios.

`python -m benchmarks.readers` makes the files, puts the peers that asmil does not depend on into a folder of its own
(pinned), and prints both tables. Real slides are added where `ASMIL_DATA` names them.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from asmil.errors import AsmilError
from asmil.slides import open_slide, write_slide
from asmil.tiles import TileGrid
from benchmarks._slide_files import Example, examples

PEERS = ("tiffslide==3.0.1", "fsspec==2026.6.0", "microtome-wsi==0.1.0", "fastslide==0.8.1")
"""Readers that asmil does not depend on; what else they need is in the development environment."""
CORNER, SIDE = (20, 10), 100
"""Where in a file pixels are compared with those that were written."""
ALLOWED = {"lossless": 1, "jpeg": 2}
"""Grey values that pixels may be off at most (rounding of alpha; decoders of JPEG differ)."""


@dataclass(frozen=True)
class Seen:
    """What a reader makes of a file: `mpp` None where it says none; `pixels` uint8 (SIDE, SIDE, 3) from CORNER on."""

    size: tuple[int, int]
    mpp: float | None
    levels: int
    pixels: np.ndarray


def by_asmil(path: Path) -> Seen:
    """Ours, without a scale of our own."""
    with open_slide(path) as slide:
        return Seen(slide.size, slide.mpp, len(slide.levels), slide.read(CORNER, SIDE, mpp=slide.mpp))


def by_openslide(path: Path) -> Seen:
    """openslide-python."""
    import openslide

    with openslide.OpenSlide(path) as slide:
        mpp = slide.properties.get("openslide.mpp-x")
        pixels = _on_white(np.asarray(slide.read_region(CORNER, 0, (SIDE, SIDE))))
        return Seen(slide.dimensions, None if mpp is None else float(mpp), slide.level_count, pixels)


def by_tiffslide(path: Path) -> Seen:
    """tiffslide."""
    import tiffslide

    with tiffslide.TiffSlide(path) as slide:
        mpp = slide.properties.get("tiffslide.mpp-x")
        pixels = np.asarray(slide.read_region(CORNER, 0, (SIDE, SIDE), as_array=True))
        return Seen(slide.dimensions, None if mpp is None else float(mpp), slide.level_count, _on_white(pixels))


def by_wsidicom(path: Path) -> Seen:
    """wsidicom, which opens folders."""
    from wsidicom import WsiDicom

    with WsiDicom.open(path if path.is_dir() else path.parent) as slide:
        base = slide.pyramids[0].base_level
        pixels = np.asarray(slide.read_region(CORNER, 0, (SIDE, SIDE)).convert("RGB"))
        mpp = None if base.mpp is None else float(base.mpp.width)
        return Seen((base.size.width, base.size.height), mpp, len(slide.pyramids[0]), pixels)


READERS: dict[str, Callable[[Path], Seen]] = {
    "asmil": by_asmil,
    "OpenSlide": by_openslide,
    "tiffslide": by_tiffslide,
    "wsidicom": by_wsidicom,
}


def _on_white(pixels: np.ndarray) -> np.ndarray:
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        return np.repeat(pixels.reshape(*pixels.shape[:2], 1), 3, axis=-1)
    if pixels.shape[2] == 3:
        return pixels
    alpha = pixels[..., 3:].astype(float) / 255
    return np.rint(pixels[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)


def verdict(read: Callable[[Path], Seen], example: Example) -> str:
    """What is right, as one cell: "all", what is wrong, "refused", or "half truth" where nothing should open."""
    if read is by_wsidicom and "DICOM" not in example.name:
        return "-"
    try:
        seen = read(example.path)
    except AsmilError:
        return "refused: right" if example.refuse else "refused"
    except Exception:  # noqa: BLE001  every reader raises its own kinds
        return "refused: right" if example.refuse else "refused"
    if example.refuse:
        return "**half truth**"
    wrong = []
    if tuple(seen.size) != example.size:
        wrong.append(f"size {seen.size[0]} x {seen.size[1]}")
    if seen.mpp is None or abs(seen.mpp / example.mpp - 1) > 0.01:
        wrong.append("no mpp" if seen.mpp is None else f"mpp {seen.mpp:.3g}")
    if seen.levels != example.levels:
        wrong.append(f"{seen.levels} of {example.levels} levels")
    (x, y), written = CORNER, example.pixels
    expected = written[y : y + SIDE, x : x + SIDE].astype(int)
    if seen.pixels.shape[:2] != expected.shape[:2] or np.abs(seen.pixels - expected).max() > ALLOWED[example.kind]:
        wrong.append("pixels")
    return ", ".join(wrong) or "all"


def format_table(found: list[Example]) -> None:
    """Print the table; a reader that is not installed is said so once."""
    print("| format | " + " | ".join(READERS) + " |\n|---" + "|---" * len(READERS) + "|")
    right = dict.fromkeys(READERS, 0)
    for example in found:
        cells = {name: verdict(read, example) for name, read in READERS.items()}
        for name, cell in cells.items():
            right[name] += cell in ("all", "refused: right")
        print(f"| {example.name} | " + " | ".join(cells.values()) + " |", flush=True)
    print(f"| right, of {len(found)} | " + " | ".join(map(str, right.values())) + " |")


def whole_grid(path: Path, tile_px: int) -> TileGrid:
    """All whole tiles of level 0."""
    with open_slide(path, objective=40) as slide:
        columns, rows = (side // tile_px for side in slide.size)
        xy = np.array([[x * tile_px, y * tile_px] for y in range(rows) for x in range(columns)])
        return TileGrid(xy, tile_px, slide.mpp, slide.mpp, slide.size, np.ones(len(xy), np.float32), 0)


@cache
def _buffer(tiles: int, tile_px: int) -> np.ndarray:
    return np.ones((tiles, tile_px, tile_px, 3), np.uint8)


def tiles_by_asmil(path: Path, grid: TileGrid) -> None:
    """Batches of 64 into one buffer, which is used again as extraction does."""
    buffer = _buffer(64, grid.tile_px)
    with open_slide(path, mpp=grid.slide_mpp) as slide:
        for start in range(0, len(grid), 64):
            indices = np.arange(start, min(start + 64, len(grid)))
            slide.read_tiles(grid, indices, out=buffer[: len(indices)])


def tiles_by_openslide(path: Path, grid: TileGrid) -> None:
    """Tile by tile, as RGB."""
    import openslide

    file = sorted(path.glob("*.dcm"))[0] if path.is_dir() else path
    with openslide.OpenSlide(file) as slide:
        for x, y in grid.level0_xy.tolist():
            np.asarray(slide.read_region((x, y), 0, (grid.tile_px, grid.tile_px)).convert("RGB"))


def tiles_by_tiffslide(path: Path, grid: TileGrid) -> None:
    """Tile by tile."""
    import tiffslide

    with tiffslide.TiffSlide(path) as slide:
        for x, y in grid.level0_xy.tolist():
            slide.read_region((x, y), 0, (grid.tile_px, grid.tile_px), as_array=True)


def tiles_by_microtome(path: Path, grid: TileGrid) -> None:
    """Stored tiles in batches: those of the grid, where they are the file's own."""
    import microtome

    slide = microtome.open(str(path))
    stored = -(-grid.slide_size[0] // grid.tile_px)
    numbers = [y // grid.tile_px * stored + x // grid.tile_px for x, y in grid.level0_xy.tolist()]
    for start in range(0, len(numbers), 64):
        batch = slide.read_batch(0, numbers[start : start + 64])
        if batch.shape[1:] != (grid.tile_px, grid.tile_px, 3):
            raise ValueError("the tiles of the grid are not the file's")


def tiles_by_fastslide(path: Path, grid: TileGrid) -> None:
    """Tile by tile."""
    import fastslide

    slide = fastslide.FastSlide.from_file_path(str(path))
    for x, y in grid.level0_xy.tolist():
        slide.read_region((x, y), 0, (grid.tile_px, grid.tile_px)).numpy()


SPEED: dict[str, Callable[[Path, TileGrid], None]] = {
    "asmil": tiles_by_asmil,
    "OpenSlide": tiles_by_openslide,
    "tiffslide": tiles_by_tiffslide,
    "microtome-wsi": tiles_by_microtome,
    "fastslide": tiles_by_fastslide,
}


def speed_table(files: dict[Path, int], *, rounds: int) -> None:
    """Print tiles per second of processor time against asmil's, medians over rounds in which all take turns."""
    print("| file | " + " | ".join(SPEED) + " |\n|---" + "|---" * len(SPEED) + "|")
    for path, tile_px in files.items():
        grid, seconds = whole_grid(path, tile_px), {}
        for _ in range(rounds):
            for name, read in SPEED.items():
                start = time.process_time()
                try:
                    read(path, grid)
                except Exception:  # noqa: BLE001  not a format of this reader, or it is not installed
                    continue
                seconds.setdefault(name, []).append(time.process_time() - start)
        own = float(np.median(seconds["asmil"]))
        cells = [f"1 ({len(grid) / own:.0f}/s)"]
        cells += [f"{own / np.median(seconds[name]):.2f}" if name in seconds else "-" for name in list(SPEED)[1:]]
        print(f"| {path.name}, {len(grid)} tiles of {tile_px} px | " + " | ".join(cells) + " |", flush=True)


def install_peers(folder: Path) -> None:
    """Put the pinned peers into a folder that this process finds last; one that cannot be had is left out, and said."""
    for peer in PEERS:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), peer]
        if subprocess.run(command, check=False).returncode:
            print(f"{peer} cannot be installed here; its cells say refused, or -")
    sys.path.append(str(folder))


def main() -> None:
    """Make the files, install the peers, print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=Path, help="folder to keep the peers in; without it they are installed anew")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        install_peers(options.peers or folder / "peers")
        real = Path(os.environ["ASMIL_DATA"]) / "slides" if "ASMIL_DATA" in os.environ else None
        format_table(examples(folder, real=real))
        print()
        sample = Path(__file__).parents[1] / "tests" / "data" / "CMU-1-Small-Region.svs"
        with open_slide(sample) as slide:
            region = slide.read((0, 0), (2048, 2816), mpp=slide.mpp)
        files = {write_slide(folder / "pyramid.tif", np.tile(region, (2, 2, 1)), mpp=0.5): 256, sample: 240}
        files |= {folder / "dicom_jpeg": 240} | ({real / "test3-DAPI-2-387.ndpi": 256} if real else {})
        speed_table(files, rounds=options.rounds)


if __name__ == "__main__":
    main()
