"""Folds and seeds of a run together against one by one, on small, middle and large bags."""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from asmil.bags import Bag, load_dataset, make_splits, read_cohort
from asmil.training import Recipe, Run, TrainSettings
from asmil.training._cell import Job
from asmil.training._group import Group, train_group
from asmil.training._grouping import grouped, load_of
from asmil.training.runs import Cell

SIZES = {"middle": (100, (64, 500), 104), "large": (40, (1500, 2500), 1024)}


def bags_of(size: str) -> list[Bag]:
    """100 bags of 16 real digits, 100 as those of colon and IDC, or 40 of 2 000 tiles x 1024; fp16."""
    if size == "small":
        return list(load_dataset("digits").bags)
    count, tiles, dim = SIZES[size]
    draw = np.random.default_rng(0)
    features = [draw.standard_normal((int(draw.integers(*tiles)), dim)).astype(np.float16) for _ in range(count)]
    return [Bag(torch.from_numpy(x), slide=f"s{i}", case=f"s{i}", label=i % 2) for i, x in enumerate(features)]


class Bench:
    """A cross-validation of 5 folds x 5 seeds whose groups can be timed one at a time."""

    def __init__(self, model: str, size: str, folder: Path, *, epochs: int):
        bags = bags_of(size)
        self.bags = {bag.slide: bag for bag in bags}
        table = [{"slide": b.slide, "case": b.case, "label": str(b.label)} for b in bags]
        pd.DataFrame(table).to_csv(folder / "labels.csv", index=False)
        cohort = read_cohort(folder / "labels.csv")
        splits = make_splits(cohort, folds=5)
        settings = TrainSettings(epochs=epochs, patience=epochs)
        self.job = Job(folder, cohort, splits, Recipe(model, settings=settings, refit=False))
        self.run = Run.create(folder / f"{model}_{size}", identity={})
        self.cells = [self.run.cell(fold, seed) for fold in splits.folds for seed in range(5)]
        self.shape = {"tiles": {b.slide: len(b) for b in bags}, "dim": bags[0].features.shape[1]}
        self.load = load_of(self.job, **self.shape)

    def per_model(self, cells: list[Cell]) -> float:
        """CPU seconds of an epoch, validation included, per model: the best epoch but for the first."""
        ends: dict[int, float] = {}
        group = Group.of(self.run, cells)
        train_group(group, self.job, self.bags, progress=lambda _, done, __: ends.setdefault(done, time.process_time()))
        for cell in cells:
            (cell.folder / "predictions.csv").unlink()
        stamps = [ends[epoch] for epoch in sorted(ends)]
        return min(np.diff(stamps)) / len(cells)

    def plan(self, workers: int) -> list[list[Cell]]:
        """The groups that `crossval` would make."""
        return grouped(self.cells, self.job, workers=workers, **self.shape)


def main() -> None:
    """A line per model and size: what a model's epoch costs alone, and how many times less in company."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--sizes", nargs="*", default=["small", "middle", "large"])
    parser.add_argument("models", nargs="*", default=["abmil", "asmil"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| bags | model | work / overhead | alone, CPU ms | 5 seeds | 5 folds | all 25 | 1 process | 2 processes |")
    print("|---|---|---|---|---|---|---|---|---|")
    for size in arguments.sizes:
        for model in arguments.models:
            with tempfile.TemporaryDirectory() as folder:
                bench = Bench(model, size, Path(folder), epochs=arguments.epochs)
                cells = bench.cells
                ways = [cells[:1], cells[:5], cells[::5]] + ([] if size == "large" else [cells])
                alone, *rest = (bench.per_model(way) for way in ways)
                again = bench.per_model(cells[-1:])
                ratios = [f"{min(alone, again) / seconds:.1f}x" for seconds in rest] + ["-"] * (3 - len(rest))
                plans = ["+".join(str(len(group)) for group in bench.plan(workers)) for workers in (1, 2)]
                plans = ["one by one" if set(plan) == {"1", "+"} else plan for plan in plans]
                share = f"{bench.load.work / bench.load.overhead:.2f}"
                row = [size, model, share, f"{1e3 * min(alone, again):.0f}", *ratios, *plans]
                print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
