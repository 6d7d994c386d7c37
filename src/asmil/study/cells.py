"""Cells of a study in memory: every epoch's predictions, and statistics of the attention."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from asmil.attention import effective_tiles, jsd, normalized_entropy, top_mass
from asmil.bags import Bag
from asmil.draws import stream
from asmil.errors import CohortError
from asmil.training import Member, Prediction, Recipe, has_scores, train_members

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
    `seconds` is the wall time, shared equally by cells that were trained side by side.
    """

    history: list[dict[str, float]]
    best_epoch: int
    probabilities: Float[np.ndarray, "epochs bags classes"]
    attention: list[Float[np.ndarray, " tiles"]]
    seconds: float


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
            kept |= self._statistics(np.concatenate([predictions[i].attention for i in self.val]))
            if better:
                self.attention = [p.attention for p in predictions]
        self.history.append(kept)
        self.probabilities.append(np.stack([p.probabilities for p in predictions]).astype(np.float32))

    def record(self, *, seconds: float) -> CellRecord:
        """What the cell did."""
        return CellRecord(self.history, self.best_epoch, np.stack(self.probabilities), self.attention, seconds)

    def _statistics(self, maps: Float[np.ndarray, " tiles"]) -> dict[str, float]:
        """Means over the validation bags."""
        of_bags = {
            "entropy": normalized_entropy(maps, offsets=self.offsets),
            "effective_tiles": effective_tiles(maps, offsets=self.offsets),
            "top1_mass": top_mass(maps, share=0.01, offsets=self.offsets),
        }
        if self._last is not None:
            of_bags["jsd"] = jsd(maps, self._last, offsets=self.offsets)
        self._last = maps
        return {name: float(np.mean(values)) for name, values in of_bags.items()}


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
    settings = replace(recipe.settings, patience=recipe.settings.epochs)
    members, ledgers = [], []
    for plan in plans:
        model = recipe.build(in_dim=bags[0].features.shape[1], n_classes=n_classes, train=train, seed=plan.seed)
        ledgers.append(Ledger(bags, plan, has_scores=has_scores(model, bags[0])))
        stabilizer = recipe.stabilize(model, bags[0], seed=plan.seed)
        key = ("parts", stream(*plan.train), "seed", plan.seed)
        members.append(Member(model, settings, stabilizer, key=key, listeners=[_Accounts(ledgers[-1])]))
    for _ in train_members(members, train, val, also=bags, one_pass=True):
        pass
    for member in members:
        if member.error:
            raise member.error
    seconds = (time.monotonic() - started) / len(plans)
    return [ledger.record(seconds=seconds) for ledger in ledgers]


class _Accounts:
    """The listener that enters every epoch into a ledger."""

    def __init__(self, ledger: Ledger):
        self.ledger = ledger

    def __call__(self, event: str, **values: Any) -> None:
        if event == "epoch":
            predictions: list[Prediction] = values["also"]
            self.ledger.add(values["row"], predictions)
