"""Reading a slide's features, whole and 512 random tiles: the layouts of several tools against a memory map."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from asmil.bags import LAYOUTS, open_features, read_slide
from asmil.bench.rows import HIGHER, Row, Scale
from asmil.bench.timing import Step, best_seconds

PART = "loading"
DRAWN = 512
FOREIGN = {"clam": "CLAM (rows of 32, fp32)", "trident": "TRIDENT (single rows, fp32)", "stamp": "STAMP"}


def measure(scale: Scale) -> Iterator[Row]:
    """Rates of whole reads and of drawn tiles, all layouts in turns; the files are in the page cache."""
    tiles = 2 * scale.slide_tiles
    drawn = np.random.default_rng(1).permutation(tiles)[:DRAWN]
    with tempfile.TemporaryDirectory(prefix="asmil-bench-") as folder:
        stores = _write_layouts(Path(folder), tiles=tiles, dim=scale.slide_dim)
        for what, rows in (("whole slide", None), (f"{len(drawn)} tiles", drawn)):
            steps = [_map_reader(Path(folder) / "s.npy", rows), *(_reader(path, rows) for path in stores.values())]
            for step in steps:
                step()  # files are recognised once
            mapped, *others = best_seconds(steps, seconds=scale.seconds / 2)
            for layout, seconds in zip(stores, others, strict=True):
                case = f"{what}, {FOREIGN.get(layout, 'ours (contiguous fp16)')}"
                yield Row(PART, case, "time", 1e3 * seconds, "ms")
                # what other layouts cost is no merit or fault of ours
                tolerance = None if layout in FOREIGN else 0.3
                yield Row(PART, case, "of the map's rate", mapped / seconds, "x", HIGHER, tolerance)


def write_slide(path: Path, features: np.ndarray) -> None:
    """Write float16 features (tiles, dim) of a square grid in our own layout."""
    side = int(np.ceil(len(features) ** 0.5))
    with h5py.File(path, "w") as file:
        file["features"] = features
        file["coords"] = np.array([(512 * (i // side), 512 * (i % side)) for i in range(len(features))])
        file.attrs.update({"format": "asmil", "encoder": "bench", "tile_px": 256, "mpp": 0.5, "slide_mpp": 0.25})
        file.attrs["patch_size_level0"] = 512


def _write_layouts(folder: Path, *, tiles: int, dim: int) -> dict[str, Path]:
    """The same slide in each layout and as a bare array."""
    features = np.random.default_rng(0).standard_normal((tiles, dim), dtype=np.float32).astype(np.float16)
    write_slide(folder / "s.h5", features)
    np.save(folder / "s.npy", features)
    slide = read_slide(open_features(folder / "s.h5"), "s")
    return {layout: LAYOUTS[layout](slide, folder / layout) for layout in ("asmil", *FOREIGN)}


def _reader(path: Path, rows: np.ndarray | None) -> Step:
    store = open_features(path)
    return lambda: store.load("s", rows=rows)


def _map_reader(path: Path, rows: np.ndarray | None) -> Step:
    def read() -> np.ndarray:
        array = np.load(path, mmap_mode="r")
        return np.array(array if rows is None else array[rows])

    return read
