"""Cells of a study: trained in memory with every epoch's predictions, and as rows of its tables on disk."""

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from asmil.bags import Bag
from asmil.draws import stream
from asmil.errors import CohortError
from asmil.evaluation import METRICS, tile_scores
from asmil.files import write_text
from asmil.study.arms import ARMS, RESULTS, TABLES, Arm, Cell, table_file
from asmil.study.config import StudyConfig, stabilizer_defaults
from asmil.study.data import StudyData
from asmil.tasks import auroc
from asmil.training import Member, Prediction, Recipe, has_scores, map_statistics, seed_of, train_starts

# The accounts of a cell in training: every epoch's predictions, and statistics of the attention.

TRAINING = ("train_loss", "val_loss", "val_auroc", "kl", "beta", "gradient_ratio", "lr")
"""What the history takes over from the log of the training."""


@dataclass(frozen=True)
class CellPlan:
    """One fold with one seed; the parts are indexes into the bags."""

    train: tuple[int, ...]
    val: tuple[int, ...]
    test: tuple[int, ...]
    seed: int


@dataclass(frozen=True)
class CellRecord:
    """What one training did.

    `history` has a row per epoch: the losses, and statistics of the attention on the validation bags. `best_epoch`
    (from 0) is chosen on the validation bags only. `probabilities` float32 (epochs, bags, classes) are of every bag
    after every epoch, `attention` float32 (tiles,) of every bag at the best epoch (empty for models without scores).
    `seconds` is the wall time, shared equally by cells that were trained side by side. `start` counts the starts that
    found nothing before.
    """

    history: list[dict[str, float]]
    best_epoch: int
    probabilities: Float[np.ndarray, "epochs bags classes"]
    attention: list[Float[np.ndarray, " tiles"]]
    seconds: float
    start: int = 0


class Ledger:
    """Collects the epochs of a cell."""

    def __init__(self, bags: Sequence[Bag], plan: CellPlan, *, has_scores: bool):
        self.val, self.has_scores = list(plan.val), has_scores
        self.offsets = np.cumsum([0, *(len(bags[i]) for i in self.val)])
        self.history: list[dict[str, float]] = []
        self.probabilities: list[Float[np.ndarray, "bags classes"]] = []
        self.best_epoch, self.best_loss = 0, np.inf
        self.attention: list[Float[np.ndarray, " tiles"]] = []
        self._last: Float[np.ndarray, " tiles"] | None = None

    def add(self, row: dict[str, float], predictions: Sequence[Prediction]) -> None:
        """Take in the state after an epoch: its row of the log, and the predictions of all bags."""
        better = row["val_loss"] < self.best_loss
        if better:
            self.best_epoch, self.best_loss = len(self.history), row["val_loss"]
        kept = {name: row[name] for name in TRAINING if name in row}
        if self.has_scores:
            maps = np.concatenate([predictions[i].attention for i in self.val])
            kept |= map_statistics(maps, self._last, offsets=self.offsets)
            self._last = maps
            if better:
                self.attention = [p.attention for p in predictions]
        self.history.append(kept)
        self.probabilities.append(np.stack([p.probabilities for p in predictions]).astype(np.float32))

    def record(self, *, seconds: float, start: int = 0) -> CellRecord:
        """What the cell did."""
        return CellRecord(self.history, self.best_epoch, np.stack(self.probabilities), self.attention, seconds, start)


def train_cells(recipe: Recipe, bags: Sequence[Bag], plans: Sequence[CellPlan], *, n_classes: int) -> list[CellRecord]:
    """Train a model per plan, for all epochs of the settings; no refit. Plans of the same parts train side by side.

    Patience does not apply: the best of all epochs is kept.

    Raises:
        AsmilError: the loss is not finite.
        CohortError: bags of another task than classification.
    """
    if any(bag.target is not None for bag in bags):
        raise CohortError(
            "studies compare classifiers", found="bags with targets of another task", fix="asmil crossval"
        )
    records: dict[int, CellRecord] = {}
    groups: dict[tuple, list[int]] = {}
    for index, plan in enumerate(plans):
        groups.setdefault((plan.train, plan.val), []).append(index)
    for indexes in groups.values():
        several = _train(recipe, bags, [plans[i] for i in indexes], n_classes=n_classes)
        records |= dict(zip(indexes, several, strict=True))
    return [records[index] for index in range(len(plans))]


def _train(recipe: Recipe, bags: Sequence[Bag], plans: Sequence[CellPlan], *, n_classes: int) -> list[CellRecord]:
    """Plans that differ in their seeds only."""
    started = time.monotonic()
    train, val = ([bags[i] for i in part] for part in (plans[0].train, plans[0].val))
    settings = replace(recipe.settings, patience=recipe.settings.planned(len(train)).most_epochs)
    plan_of, several = {plan.seed: plan for plan in plans}, [plan.seed for plan in plans]

    def begin(seed: int, start: int) -> Member:
        drawn = seed_of(seed, start)
        model = recipe.build(in_dim=bags[0].features.shape[1], n_classes=n_classes, train=train, seed=drawn)
        ledger = Ledger(bags, plan_of[seed], has_scores=has_scores(model, bags[0]))
        stabilizer = recipe.stabilize(model, bags[0], seed=drawn)
        key = ("parts", stream(*plan_of[seed].train), "seed", drawn)
        return Member(model, settings, stabilizer, key=key, listeners=[_Accounts(ledger)], place=seed)

    # Cells of a study have parts, and so no company: a pass would compute for two places that nobody has
    *_, members = train_starts(begin, several, train=train, val=val, also=bags, one_pass=len(several) > 1)
    for member in members.values():
        if member.error:
            raise member.error
    seconds = (time.monotonic() - started) / len(plans)
    return [_ledger(members[seed]).record(seconds=seconds, start=members[seed].start) for seed in several]


def _ledger(member: Member) -> Ledger:
    return next(one.ledger for one in member.listeners if isinstance(one, _Accounts))


class _Accounts:
    """The listener that enters every epoch into a ledger."""

    def __init__(self, ledger: Ledger):
        self.ledger = ledger

    def __call__(self, event: str, **values: Any) -> None:
        if event == "epoch":
            predictions: list[Prediction] = values["also"]
            self.ledger.add(values["row"], predictions)


# Trained cells to table rows, and the tables of a study on disk.

TEST_METRICS = ("auroc", "accuracy", "balanced_accuracy", "macro_f1", "log_loss", "brier")
AT_BEST = ("entropy", "effective_tiles", "top1_mass", "kl", "gradient_ratio")

Rows = dict[str, list[dict[str, object]]]
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
        **{"best_epoch": best, "epochs": len(record.history), "start": record.start},
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


def settings_of(arm: Arm, config: StudyConfig) -> dict[str, object]:
    """Every setting of an arm, defaults included: model.*, stabilizer.*, train.*."""
    from asmil.models import model_options

    model = {"name": arm.model.name} | model_options(arm.model.name) | arm.model.options
    stabilizer = {} if arm.options is None else stabilizer_defaults() | arm.options
    train = asdict(config.settings) | {"standardize": config.standardize}
    groups = {"model": model, "stabilizer": stabilizer, "train": train}
    return {f"{group}.{name}": _plain(v) for group, values in groups.items() for name, v in values.items()}


def finished_cells(folder: Path) -> set[Cell]:
    """Fold and seed of the cells whose rows are written in an arm's folder."""
    return {(int(fold), int(seed)) for fold, seed in zip(*_cells(_read(table_file(folder, "cells"))), strict=True)}


def read_rows(folder: Path) -> Rows:
    """The rows of the finished cells of an arm, numbers as numbers."""
    tables = {name: pd.read_csv(table_file(folder, name)) for name in ("history", "cells")}
    return {name: [{str(k): v for k, v in row.items()} for row in t.to_dict("records")] for name, t in tables.items()}


def add_rows(folder: Path, rows: Rows) -> None:
    """Add cells to an arm's tables; each table is written atomically, and a cell is there once all of them are."""
    before = {name: _read(table_file(folder, name)) for name in TABLES}
    whole = set(zip(*_cells(before["cells"]), strict=True))
    for name in TABLES:
        kept = before[name]
        # rows of cells that were stopped between two tables are dropped: these cells are trained again
        kept = kept[[cell in whole for cell in zip(*_cells(kept), strict=True)]]
        table = pd.concat([kept, _text(pd.DataFrame(rows[name]))]).fillna("")
        order = table[["seed", "fold"]].astype(int).assign(row=range(len(table)))
        table = table.iloc[order.sort_values(["seed", "fold", "row"])["row"].to_numpy()]
        write_text(table_file(folder, name), table.to_csv(index=False))


def write_results(out: Path, arms: Iterable[str]) -> int:
    """Write results.csv: the cells of all arms under `out`, those of `arms` first; return how many there are."""
    paths = (table_file(arm, "cells") for arm in sorted((out / ARMS).glob("*")))
    found = {path.parent.name: path for path in paths if path.is_file()}
    ordered = [name for name in dict.fromkeys(arms) if name in found]
    ordered += [name for name in found if name not in ordered]
    tables = [_read(found[name]) for name in ordered]
    if not tables:
        return 0
    table = pd.concat(tables)[_merged([list(table.columns) for table in tables])].fillna("")
    write_text(out / RESULTS, table.to_csv(index=False))
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


def _plain(value: object) -> object:
    return json.dumps(value) if isinstance(value, list | tuple | dict) else value


def _mean(values: Iterable[float | None]) -> float:
    known = [value for value in values if value is not None and np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")
