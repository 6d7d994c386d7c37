"""The accounts of cells in training: every epoch's predictions, and statistics of the attention."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import log_softmax
from scipy.stats import rankdata

from asmil.attention import diagnostics
from asmil.bags import Bag
from asmil.errors import AsmilError


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
    `seconds` is the wall time, shared equally by cells that were trained together.
    """

    history: list[dict[str, float]]
    best_epoch: int
    probabilities: Float[np.ndarray, "epochs bags classes"]
    attention: list[Float[np.ndarray, " tiles"]]
    together: bool
    seconds: float


class Ledger:
    """Collects the epochs of cells over the same bags; C cells at once."""

    def __init__(self, bags: Sequence[Bag], plans: Sequence[CellPlan], *, has_scores: bool):
        self.labels = np.array([bag.label for bag in bags])
        self.offsets = np.cumsum([0, *map(len, bags)])
        self.plans, self.has_scores = plans, has_scores
        self.validates = np.zeros((len(plans), len(bags)), dtype=bool)
        for row, plan in zip(self.validates, plans, strict=True):
            row[list(plan.val)] = True
        self.rows: list[dict[str, np.ndarray]] = []
        self.probabilities: list[np.ndarray] = []
        self.best = np.full(len(plans), np.inf)
        self.best_epoch = np.zeros(len(plans), dtype=int)
        self.last: np.ndarray | None = None
        self.best_attention: np.ndarray | None = None

    def add(
        self,
        row: dict[str, Float[np.ndarray, " cells"]],
        logits: Float[np.ndarray, "cells bags classes"],
        attention: Float[np.ndarray, "cells tiles"],
    ) -> None:
        """Take in the state after an epoch.

        Raises:
            AsmilError: the loss is not finite.
        """
        if not np.isfinite(row["train_loss"]).all():
            raise AsmilError("training diverged: the loss is not finite", fix="lower the learning rate")
        log_probabilities = log_softmax(logits.astype(np.float64), axis=2)
        losses = -np.take_along_axis(log_probabilities, self.labels[None, :, None], axis=2)[..., 0]
        probabilities = np.exp(log_probabilities).astype(np.float32)
        row = row | {
            "val_loss": _mean_where(losses, self.validates),
            "val_auroc": np.array(
                [auroc_of_classes(self.labels[v], p[v]) for v, p in zip(self.validates, probabilities, strict=True)]
            ),
        }
        better = row["val_loss"] < self.best
        self.best = np.where(better, row["val_loss"], self.best)
        self.best_epoch = np.where(better, len(self.rows), self.best_epoch)
        if self.has_scores:
            row |= self._attention(attention)
            if self.best_attention is None:
                self.best_attention = attention.copy()
            self.best_attention[better] = attention[better]
            self.last = attention
        self.rows.append(row)
        self.probabilities.append(probabilities)

    def records(self, *, together: bool, seconds: float) -> list[CellRecord]:
        """What each cell did, in the order of the plans."""
        records = []
        for cell in range(len(self.plans)):
            history = [{name: float(value[cell]) for name, value in row.items()} for row in self.rows]
            maps = [] if self.best_attention is None else np.split(self.best_attention[cell], self.offsets[1:-1])
            probabilities = np.stack([p[cell] for p in self.probabilities])
            best = int(self.best_epoch[cell])
            records.append(CellRecord(history, best, probabilities, maps, together, seconds))
        return records

    def _attention(self, attention: Float[np.ndarray, "cells tiles"]) -> dict[str, Float[np.ndarray, " cells"]]:
        """Means over each cell's validation bags."""
        maps, offsets = attention.T, self.offsets
        of_bags = {
            "entropy": diagnostics.normalized_entropy(maps, offsets=offsets),
            "effective_tiles": diagnostics.effective_tiles(maps, offsets=offsets),
            "top1_mass": diagnostics.top_mass(maps, share=0.01, offsets=offsets),
        }
        if self.last is not None:
            of_bags["jsd"] = diagnostics.jsd(maps, self.last.T, offsets=offsets)
        return {name: _mean_where(values.T, self.validates) for name, values in of_bags.items()}


def _mean_where(values: Float[np.ndarray, "cells bags"], chosen: np.ndarray) -> Float[np.ndarray, " cells"]:
    return np.where(chosen, values, 0).sum(1) / chosen.sum(1)


def auroc_of_classes(labels: np.ndarray, probabilities: Float[np.ndarray, "bags classes"]) -> float:
    """Mean one-versus-rest AUROC of the classes that occur, ties a half; nan where only one does."""
    present = np.unique(labels)
    if len(present) < 2:
        return float("nan")
    return float(np.mean([rank_auroc(labels == c, probabilities[:, c]) for c in present]))


def rank_auroc(positive: np.ndarray, scores: Float[np.ndarray, "*several bags"]) -> Float[np.ndarray, " *several"]:
    """AUROC of `positive` (bags,) by ranks, ties a half; nan where a kind is missing."""
    n, others = positive.sum(), (~positive).sum()
    if not (n and others):
        return np.full(scores.shape[:-1], np.nan)
    return (rankdata(scores, axis=-1)[..., positive].sum(-1) - n * (n + 1) / 2) / (n * others)
