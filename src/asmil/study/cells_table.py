"""Trained cells to table rows, and the tables of a study on disk."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from asmil.evaluation import METRICS, tile_scores
from asmil.files import write_text
from asmil.study.arms import Arm, Cell
from asmil.study.config import StudyConfig
from asmil.study.data import StudyData
from asmil.study.parts import stabilizer_defaults
from asmil.tasks import auroc

if TYPE_CHECKING:
    from asmil.study.cells import CellRecord

TEST_METRICS = ("auroc", "accuracy", "balanced_accuracy", "macro_f1", "log_loss", "brier")
AT_BEST = ("entropy", "effective_tiles", "top1_mass", "kl", "gradient_ratio")
TABLES = ("history", "predictions", "cells")
"""The tables of an arm; a cell counts as finished with its row in the last one, which is written last."""

Rows = dict[str, list[dict[str, Any]]]
"""The rows of some cells, by table."""


def rows_of(record: "CellRecord", data: StudyData, *, arm: Arm, cell: Cell) -> Rows:
    """The rows of a trained cell: one of `cells`, one per epoch of `history`, one per test bag of `predictions`.

    `test_*` are at the epoch that the validation part selected. `optimistic_*` are the best over all epochs on the
    test part itself, which is no honest estimate and is here to be compared with one. `jsd` is the mean of the last
    10 epochs, `jsd_early` of the first 10 (the first epoch has none).
    """
    fold, seed = cell
    train, val, test = data.parts(fold, seed)
    y = np.array([data.bags[index].label for index in test])
    best = record.best_epoch
    at_best, probabilities = record.history[best], record.probabilities[:, list(test)].astype(np.float64)
    jsd = [row.get("jsd", np.nan) for row in record.history]
    accuracies = (probabilities.argmax(2) == y).mean(1)
    key = {"fold": fold, "seed": seed}
    row = {
        **{"dataset": arm.dataset.label, "model": arm.model.label, "stabilizer": arm.stabilizer},
        **key,
        **{"n_train": len(train), "n_val": len(val), "n_test": len(test)},
        **settings_of(arm, data.config),
        **{"best_epoch": best, "epochs": len(record.history)},
        "seconds": record.seconds,
        **{name: at_best.get(name) for name in ("val_loss", "val_auroc")},
        **{f"test_{name}": METRICS[name](y, probabilities[best]) for name in TEST_METRICS},
        **{"optimistic_auroc": auroc_by_epoch(y, probabilities).max(), "optimistic_accuracy": accuracies.max()},
        "last_accuracy": accuracies[-1],
        **_tile_row(record, data, test),
        **{"jsd": _mean(jsd[-10:]), "jsd_early": _mean(jsd[:10])},
        **{name: at_best.get(name) for name in AT_BEST},
    }
    predictions = [
        key
        | {"slide": data.bags[index].slide, "label": data.classes[label]}
        | {f"prob_{name}": float(p) for name, p in zip(data.classes, record.probabilities[best, index], strict=True)}
        for index, label in zip(test, y, strict=True)
    ]
    history = [key | {"epoch": epoch} | row for epoch, row in enumerate(record.history)]
    return {"history": history, "predictions": predictions, "cells": [row]}


def auroc_by_epoch(y: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """The metric `auroc` of every epoch at once (epochs,); probabilities are (epochs, bags, classes)."""
    n_classes = probabilities.shape[2]
    scored = [1] if n_classes == 2 else range(n_classes)
    return np.mean([auroc(y == c, probabilities[:, :, c]) for c in scored], axis=0)


def settings_of(arm: Arm, config: StudyConfig) -> dict[str, Any]:
    """Every setting of an arm, defaults included: model.*, stabilizer.*, train.*."""
    from asmil.models import model_options

    model = {"name": arm.model.name} | model_options(arm.model.name) | arm.model.options
    stabilizer = {} if arm.options is None else stabilizer_defaults() | arm.options
    train = asdict(config.settings) | {"standardize": config.standardize}
    groups = {"model": model, "stabilizer": stabilizer, "train": train}
    return {f"{group}.{name}": _plain(v) for group, values in groups.items() for name, v in values.items()}


def finished_cells(folder: Path) -> set[Cell]:
    """Fold and seed of the cells whose rows are written in an arm's folder."""
    return {(int(fold), int(seed)) for fold, seed in zip(*_cells(_read(folder / "cells.csv")), strict=True)}


def add_rows(folder: Path, rows: Rows) -> None:
    """Add cells to an arm's tables; each table is written atomically, and a cell is there once all of them are."""
    before = {name: _read(folder / f"{name}.csv") for name in TABLES}
    whole = set(zip(*_cells(before["cells"]), strict=True))
    for name in TABLES:
        kept = before[name]
        # rows of cells that were stopped between two tables are dropped: these cells are trained again
        kept = kept[[cell in whole for cell in zip(*_cells(kept), strict=True)]]
        table = pd.concat([kept, _text(pd.DataFrame(rows[name]))]).fillna("")
        order = table[["seed", "fold"]].astype(int).assign(row=range(len(table)))
        table = table.iloc[order.sort_values(["seed", "fold", "row"])["row"].to_numpy()]
        write_text(folder / f"{name}.csv", table.to_csv(index=False))


def write_results(out: Path, arms: Iterable[str]) -> int:
    """Write results.csv: the cells of all arms under `out`, those of `arms` first; return how many there are."""
    found = {path.parent.name: path for path in sorted((out / "arms").glob("*/cells.csv"))}
    ordered = [name for name in dict.fromkeys(arms) if name in found]
    ordered += [name for name in found if name not in ordered]
    tables = [_read(found[name]) for name in ordered]
    if not tables:
        return 0
    table = pd.concat(tables)[_merged([list(table.columns) for table in tables])].fillna("")
    write_text(out / "results.csv", table.to_csv(index=False))
    return len(table)


def _merged(several: list[list[str]]) -> list[str]:
    """All columns, each group of settings together: a new one comes after the one before it in its own table."""
    columns: list[str] = []
    for one in several:
        for before, name in zip(["", *one], one, strict=False):
            if name not in columns:
                columns.insert(columns.index(before) + 1 if before else 0, name)
    return columns


def _tile_row(record: "CellRecord", data: StudyData, test: Iterable[int]) -> dict[str, float]:
    """Tile AP, AUROC and prevalence: means over the test slides that have tiles of both kinds."""
    scores = []
    for index in test if record.attention else ():
        truth = data.truth.get(data.bags[index].slide)
        if truth is not None and {0, 1} <= set(truth.tolist()):
            known = truth >= 0
            scores.append(tile_scores(record.attention[index][known], truth[known] == 1))
    names = {"tile_ap": "average_precision", "tile_auroc": "auroc", "tile_prevalence": "prevalence"}
    return {column: _mean([score[name] for score in scores]) for column, name in names.items()}


def _read(path: Path) -> pd.DataFrame:
    """A table as text, so that what is written again is the same to the last digit."""
    if not path.exists():
        return pd.DataFrame(columns=["fold", "seed"])
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def _text(table: pd.DataFrame) -> pd.DataFrame:
    return table.astype(object).where(table.notna(), "").map(str)


def _cells(table: pd.DataFrame) -> tuple[list[str], list[str]]:
    return table["fold"].tolist(), table["seed"].tolist()


def _plain(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | tuple | dict) else value


def _mean(values: Iterable[float | None]) -> float:
    known = [value for value in values if value is not None and np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")
