"""Regression: one number per bag, by the squared error in standard deviations of the training targets."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from jaxtyping import Float
from torch import Tensor

from asmil.errors import CohortError
from asmil.tasks.parts.scores import r2
from asmil.tasks.parts.task import (
    OfColumns,
    Targets,
    find,
    in_full,
    only_column,
    quantile_bins,
    read_numbers,
    require_readable,
    require_rows,
)

STRATA = 4


@dataclass(frozen=True)
class Regression(OfColumns):
    """One number; `mean` and `scale` (standard deviation) are of the training targets."""

    mean: float = 0.0
    scale: float = 1.0

    name = "regression"
    smallest_batch = 1
    outputs = 1
    value_names = ("value",)

    def read(self, table: pd.DataFrame) -> Targets:
        """Numbers; strata are quarters of them."""
        column = find(table, only_column(self.columns, self.name))
        numbers, problems = read_numbers(table[column])
        require_rows(problems, "a number")
        require_readable(table, {column: problems})
        strata = np.full(len(table), "", dtype=object)
        known = np.isfinite(numbers)
        strata[known] = quantile_bins(numbers[known], most=STRATA)
        return Targets(numbers[:, None], strata.tolist(), problems, replace(self, columns=(column,)))

    def fit_targets(self, values: Float[np.ndarray, "rows 1"]) -> "Regression":
        """Mean and standard deviation.

        Raises:
            CohortError: all values are equal.
        """
        scale = float(np.std(values))
        if not scale > 0:
            raise CohortError(
                f"all values of {', '.join(self.columns)} in a training part are equal", found=len(values)
            )
        return replace(self, mean=float(np.mean(values)), scale=scale)

    def loss(self, logits: Float[Tensor, "bags 1"], targets: Float[Tensor, "bags 1"]) -> Float[Tensor, " bags"]:
        """The squared error of the standardised target."""
        return (in_full(logits) - (targets - self.mean) / self.scale).square()[:, 0]

    def values(self, logits: Float[np.ndarray, "bags 1"]) -> Float[np.ndarray, "bags 1"]:
        """Numbers in the unit of the table."""
        return np.asarray(logits, np.float64) * self.scale + self.mean

    def select_metric(self, values: Float[np.ndarray, "bags 1"], targets: Float[np.ndarray, "bags 1"]) -> float:
        """R2."""
        return r2(targets, values)


TASK = Regression
