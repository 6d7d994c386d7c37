"""Which bags a joint batch holds, and what each bag weighs for each of the models that are trained together."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float


@dataclass(frozen=True)
class Step:
    """A joint batch: indexes of its bags, and their weights in each model's mean; a row of zeros is no step."""

    bags: list[int]
    share: Float[np.ndarray, "models bags"]

    @property
    def sizes(self) -> Float[np.ndarray, " models"]:
        """How many bags each model learns from."""
        return (self.share > 0).sum(1)


def own_steps(order: Sequence[int], trains: Bool[np.ndarray, "models bags"], *, batch_size: int) -> list[Step]:
    """Step j holds every model's own j-th batch: exactly what the model would see alone, in the same order of bags.

    Models of one fold have their batches in common. Those of several folds drift apart, and the joint batch is the
    union: up to `batch_size` bags a fold.
    """
    index = np.asarray(order)
    place = np.empty(len(index), dtype=int)
    place[index] = np.arange(len(index))
    owned = [index[row[index]] for row in trains]
    steps = []
    for start in range(0, max(map(len, owned)), batch_size):
        parts = [place[own[start : start + batch_size]] for own in owned]
        union = np.unique(np.concatenate(parts))
        share = np.zeros((len(parts), len(union)), dtype=np.float32)
        for row, part in zip(share, parts, strict=True):
            row[np.searchsorted(union, part)] = 1 / max(len(part), 1)
        steps.append(Step(index[union].tolist(), share))
    return steps


def cohort_steps(order: Sequence[int], trains: Bool[np.ndarray, "models bags"], *, batch_size: int) -> list[Step]:
    """Batches of the whole cohort, as large as gives each model about `batch_size` bags of its own.

    Cheaper than `own_steps` where there are many folds; a model's own batches vary in size with the company.
    """
    size = max(1, round(batch_size / trains.mean()))
    parts = [list(order[start : start + size]) for start in range(0, len(order), size)]
    owned = [trains[:, part].astype(np.float32) for part in parts]
    return [Step(part, own / own.sum(1, keepdims=True).clip(min=1)) for part, own in zip(parts, owned, strict=True)]
