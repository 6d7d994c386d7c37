"""Reading a slide's features, whole and 512 random rows: layouts of CLAM, TRIDENT and STAMP, ours, and a memory map."""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from asmil.bags import open_features
from asmil.bags.export import LAYOUTS
from asmil.bags.export._tiles import read_slide

Reader = Callable[[np.ndarray | None], object]


def write_source(path: Path, *, tiles: int, dim: int) -> None:
    """A slide as our own extraction writes it."""
    side = int(np.ceil(tiles**0.5))
    xy = np.array([(i // side * 512, i % side * 512) for i in range(tiles)])
    facts = {"format": "asmil", "encoder": "bench", "tile_px": 256, "mpp": 0.5, "slide_mpp": 0.25}
    with h5py.File(path, "w") as file:
        file["features"] = np.random.default_rng(0).standard_normal((tiles, dim), dtype=np.float32).astype(np.float16)
        file["coords"] = xy
        file.attrs.update(facts | {"patch_size_level0": 512})


def readers(folder: Path, *, tiles: int, dim: int) -> dict[str, Reader]:
    """One reader per layout: all of these rows, or the whole slide."""
    write_source(folder / "s.h5", tiles=tiles, dim=dim)
    slide = read_slide(open_features(folder / "s.h5"), "s")
    np.save(folder / "s.npy", slide.features)

    def mapped(rows: np.ndarray | None) -> object:
        array = np.load(folder / "s.npy", mmap_mode="r")
        return np.array(array if rows is None else array[rows])

    found: dict[str, Reader] = {"memory map (npy, float16)": mapped}
    for layout in ("asmil", "stamp", "clam", "trident"):
        path = LAYOUTS[layout](slide, folder / layout)
        found[layout] = _of_store(path)
    return found


def _of_store(path: Path) -> Reader:
    store = open_features(path)
    return lambda rows: store.load("s", rows=rows)


def main() -> None:
    """Print milliseconds (the best of several, all layouts in turn) and the rate against the memory map."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiles", type=int, default=15_000)
    parser.add_argument("--dim", type=int, default=1536)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        layouts = readers(Path(folder), tiles=options.tiles, dim=options.dim)
        rows = np.random.default_rng(1).permutation(options.tiles)[:512]
        best: dict[tuple[str, bool], float] = {}
        for _ in range(options.rounds):
            for name, read in layouts.items():
                for whole in (True, False):
                    start = time.perf_counter()
                    read(None if whole else rows)
                    seconds = time.perf_counter() - start
                    best[name, whole] = min(seconds, best.get((name, whole), seconds))
    print(
        "| layout | read all, ms | of the map's rate | 512 random rows, ms | of the map's rate |\n|---|---|---|---|---|"
    )
    for name in layouts:
        cells = [
            f"{1e3 * best[name, w]:.2f} | {best[next(iter(layouts)), w] / best[name, w]:.2f}" for w in (True, False)
        ]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
