"""Folds x seeds of a small study, the seeds of a fold side by side, against one by one."""

from collections.abc import Iterator
from functools import partial

import numpy as np

from asmil.bags import Bag, make_bags
from asmil.bench.rows import HIGHER, Row, Scale
from asmil.bench.timing import seconds_of
from asmil.study import CellPlan, train_cells
from asmil.training import Recipe, TrainSettings

PART = "folds x seeds"
MODELS = ("abmil", "asmil")
ROUNDS = 2


def measure(scale: Scale) -> Iterator[Row]:
    """Seconds and ratio per model, each with its stabiliser, for as many epochs either way; no files are written."""
    bags, _ = make_bags(scale.cell_bags, tiles=(64, 256), dim=104)
    plans = _plans(len(bags), scale)
    for name in MODELS:
        train = partial(_train, Recipe(name, settings=TrainSettings(epochs=scale.cell_epochs)), bags)
        ways = [[plans], [[plan] for plan in plans]]
        train([plans[:2]])  # to warm up
        # in turns, the best of two: each takes seconds, so that single calls scatter little
        rounds = [[seconds_of(partial(train, way), device=scale.device) for way in ways] for _ in range(ROUNDS)]
        side_by_side, alone = map(min, zip(*rounds, strict=True))
        case = f"{name}, {len(bags)} bags of 64-256 tiles, {scale.folds} x {scale.seeds}"
        yield Row(PART, case, "side by side", side_by_side, "s")
        yield Row(PART, case, "one by one", alone, "s")
        yield Row(PART, case, "times faster", alone / side_by_side, "x", HIGHER, tolerance=0.3)


def _plans(bags: int, scale: Scale) -> list[CellPlan]:
    """Every fold with every seed; a fold's test part is its own, a fifth of the rest validates."""
    order = np.random.default_rng(0).permutation(bags)
    plans = []
    for test in np.array_split(order, max(scale.folds, 2))[: scale.folds]:
        rest = order[~np.isin(order, test)]
        val, train = np.split(rest, [max(1, len(rest) // 5)])
        plans += [CellPlan(tuple(train), tuple(val), tuple(test), seed=seed) for seed in range(scale.seeds)]
    return plans


def _train(recipe: Recipe, bags: list[Bag], groups: list[list[CellPlan]]) -> None:
    for plans in groups:
        train_cells(recipe, bags, plans, n_classes=2)
