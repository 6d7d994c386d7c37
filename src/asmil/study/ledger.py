"""The accounts of a cell in training: every epoch's predictions, and statistics of the attention."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from asmil.attention import effective_tiles, jsd, normalized_entropy, top_mass
from asmil.bags import Bag
from asmil.training import Prediction

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
