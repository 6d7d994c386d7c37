"""An epoch's loading of a generated cohort that is streamed: layouts, sampled tiles, and how long a training waits."""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from asmil.bags import LAYOUTS, Bag, StreamedBag, load_bags, open_features, read_cohort, read_slide
from asmil.bench.parts.loading import write_slide
from asmil.models import create_model
from asmil.training import Standardized, TrainSettings, fit
from asmil.training.batches import bag_batches

SAMPLED = 512


def write_cohort(folder: Path, *, slides: int, tiles: int, dim: int) -> dict[str, Path]:
    """Folders of the same slides by layout; float32 in those of CLAM and TRIDENT, as they write it."""
    source = folder / "s.h5"
    features = np.random.default_rng(0).standard_normal((tiles, dim), dtype=np.float32).astype(np.float16)
    write_slide(source, features)
    slide = read_slide(open_features(source), "s")
    written = {name: LAYOUTS[name](slide, folder / name) for name in ("asmil", "clam", "trident")}
    written["npy"] = folder / "npy" / "s.npy"
    written["npy"].parent.mkdir()
    np.save(written["npy"], slide.features)
    for path in written.values():
        for index in range(slides):
            (path.parent / f"s{index}{path.suffix}").write_bytes(path.read_bytes())
        path.unlink()
    return {name: path.parent for name, path in written.items()}


def streamed(folder: Path, *, copies: Path | None = None) -> list[StreamedBag]:
    """The cohort's bags, none of them in memory."""
    store = open_features(folder)
    labels = [index % 2 for index in range(len(store))]
    table = pd.DataFrame({"slide": store.slides, "case": store.slides, "label": labels})
    load_bags(store, read_cohort(table, features=store), budget=0, copies=copies)
    return [store.stream(slide, label=label) for slide, label in zip(store.slides, labels, strict=True)]


def epoch(bags: Sequence[Bag], *, tiles_per_bag: int | None, number: int) -> float:
    """CPU seconds to get all batches of one bag, with nothing done to them."""
    settings = TrainSettings(tile_dropout=0.0, tiles_per_bag=tiles_per_bag)
    steps = [[index] for index in range(len(bags))]
    return _seconds(lambda: [len(b) for b in bag_batches(bags, steps, settings=settings, epoch=number, device="cpu")])


def raw_epoch(folder: Path, *, rows: int | None) -> float:
    """CPU seconds to copy memory-mapped arrays (or random rows of them) into memory that is used again."""
    paths = sorted(folder.glob("*.npy"))
    first = np.load(paths[0], mmap_mode="r")
    into = np.empty_like(first[:rows])
    generator = np.random.default_rng(0)

    def copy() -> None:
        for path in paths:
            array = np.load(path, mmap_mode="r")
            into[:] = array if rows is None else array[np.sort(generator.choice(len(array), rows, replace=False))]

    return _seconds(copy)


def waiting(bags: Sequence[Bag], *, tiles_per_bag: int | None) -> float:
    """The share of an epoch of training ABMIL that went by until batches were there."""
    settings = TrainSettings(epochs=1, select="last", batch_size=1, tile_dropout=0.0, tiles_per_bag=tiles_per_bag)
    torch.manual_seed(0)
    dim = bags[0].features.shape[1]
    model = Standardized(create_model("abmil", in_dim=dim, n_classes=2), dim).fit_statistics(bags)
    result = fit(model, bags, [], settings=settings)
    return result.waiting / result.seconds


def _seconds(work: Callable[[], object]) -> float:
    """CPU time of all threads: the files are in the page cache, and others on the machine disturb it less."""
    started = time.process_time()
    work()
    return time.process_time() - started


def main() -> None:
    """Print a table of epochs by layout (best of several, all layouts in turn), and one of waiting."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slides", type=int, default=12)
    parser.add_argument("--tiles", type=int, default=10_000)
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        folders = write_cohort(folder, slides=options.slides, tiles=options.tiles, dim=options.dim)
        cohorts = {layout: streamed(path) for layout, path in folders.items()}
        name = "trident, copied once"
        copying = _seconds(lambda: cohorts.update({name: streamed(folders["trident"], copies=folder / "copies")}))
        first = {layout: epoch(bags, tiles_per_bag=None, number=0) for layout, bags in cohorts.items()}
        best: dict[tuple[str, int | None], float] = {}
        for number in range(6 * options.rounds):
            for rows in (None, SAMPLED):
                quick = {layout: bags for layout, bags in cohorts.items() if number % 6 == 0 or bags[0].mapped}
                times = {layout: epoch(bags, tiles_per_bag=rows, number=number) for layout, bags in quick.items()}
                for layout, seconds in (times | {"map": raw_epoch(folders["npy"], rows=rows)}).items():
                    best[layout, rows] = min(seconds, best.get((layout, rows), seconds))
        print(f"copying TRIDENT's files took {copying / best['map', None]:.0f} epochs of the memory map\n")
        print("| layout | first epoch | later epochs | 512 tiles of each slide |\n|---|---|---|---|")
        for layout in cohorts:
            cells = [best["map", None] / first[layout], *(best["map", r] / best[layout, r] for r in (None, SAMPLED))]
            print(f"| {layout} | {' | '.join(f'{cell:.2f}' for cell in cells)} |")
        print("\n| training of ABMIL | all tiles | 512 of each slide |\n|---|---|---|")
        memory = [bag.loaded() for bag in cohorts["asmil"]]
        for layout, bags in {"asmil": cohorts["asmil"], "trident": cohorts["trident"], "in memory": memory}.items():
            shares = [waiting(bags, tiles_per_bag=rows) for rows in (None, SAMPLED)]
            print(f"| {layout} | {' | '.join(f'{share:.3f}' for share in shares)} |")


if __name__ == "__main__":
    main()
