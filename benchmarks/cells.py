"""All folds and seeds of a study's arm in one pass against one by one, on bags of real digits."""

import argparse
import time

import numpy as np
import torch

from asmil.bags.datasets import load_dataset
from asmil.training import CellPlan, Recipe, TrainSettings, train_cells


def plans(bags: int, cells: int) -> list[CellPlan]:
    """Random parts of 64, 16 and 20 % of the bags."""
    draw = np.random.default_rng(0)
    cut = [round(0.64 * bags), round(0.8 * bags)]
    return [CellPlan(*(tuple(part) for part in np.split(draw.permutation(bags), cut)), seed=c) for c in range(cells)]


def main() -> None:
    """Print a line per model: seconds for each way and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=25)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("models", nargs="*", default=["abmil", "asmil", "dsmil", "clam_mb", "transmil"])
    arguments = parser.parse_args()
    bags = load_dataset("digits").bags
    settings = TrainSettings(epochs=arguments.epochs, batch_size=8)
    print(f"{torch.get_num_threads()} thread(s), {arguments.cells} cells, {arguments.epochs} epochs, {len(bags)} bags")
    for name in arguments.models:
        recipe, cells = Recipe(name, settings=settings), plans(len(bags), arguments.cells)
        train_cells(recipe, bags, cells[:2], n_classes=2)  # to warm up
        seconds = []
        for groups in ([cells], [[cell] for cell in cells]):
            start = time.perf_counter()
            for group in groups:
                train_cells(recipe, bags, group, n_classes=2)
            seconds.append(time.perf_counter() - start)
        together, alone = seconds
        print(f"{name:12} together {together:6.1f} s   one by one {alone:6.1f} s   ratio {alone / together:5.1f}")


if __name__ == "__main__":
    main()
