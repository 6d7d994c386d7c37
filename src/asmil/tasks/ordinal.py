"""Ordered classes (grades): cumulative probabilities that cannot cross, each a binary question "above level k?".

The loss is the sum of binary cross-entropies over the questions, as in CORAL (Cao, Mirjalili & Raschka 2020, Pattern
Recognition Letters 140); the model is one of cumulative logits (McCullagh 1980, JRSS B 42). CORAL keeps the questions
in order by sharing one weight vector; here the gaps between thresholds are softplus of logits, so that any model's
last layer will do, and P(above k) falls with k in every bag by construction.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from asmil.errors import CohortError, ConfigError
from asmil.tasks.parts.scores import quadratic_kappa
from asmil.tasks.parts.task import (
    OfColumns,
    Targets,
    find,
    in_full,
    is_said,
    only_column,
    problems_of,
    require_readable,
    require_rows,
)


@dataclass(frozen=True)
class Ordinal(OfColumns):
    """One of `levels`, lowest first; left empty they are the distinct values of the column, if these are numbers."""

    levels: tuple[str, ...] = ()

    name = "ordinal"
    smallest_batch = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "levels", tuple(map(str, self.levels)))
        if self.levels and (len(self.levels) < 2 or len(set(self.levels)) < len(self.levels)):
            raise ConfigError("levels are two or more different names, lowest first", found=", ".join(self.levels))

    @property
    def outputs(self) -> int:
        """One logit per threshold."""
        return max(len(self.levels) - 1, 1)

    @property
    def value_names(self) -> tuple[str, ...]:
        """A probability per level."""
        return tuple(f"level_{level}" for level in self.levels)

    def read(self, table: pd.DataFrame) -> Targets:
        """The index of each row's level; the stratum is the level."""
        column = find(table, only_column(self.columns, self.name))
        cells = table[column].map(_whole)
        levels = self.levels or _numeric_levels(cells)
        written = {_whole(level): i for i, level in enumerate(levels)}
        any_case = {level.casefold(): i for level, i in written.items()}
        index = written if len(any_case) < len(written) else any_case
        known = [index.get(cell if index is written else cell.casefold()) for cell in cells]
        named = ", ".join(levels)
        problems = problems_of(table[column], np.array([i is None for i in known]), f"one of {named}")
        require_rows(problems, f"a level ({named})")
        require_readable(table, {column: problems})
        values = np.array([[np.nan if i is None else float(i)] for i in known])
        strata = ["" if i is None else levels[i] for i in known]
        return Targets(values, strata, problems, replace(self, columns=(column,), levels=levels))

    def fit_targets(self, values: Float[np.ndarray, "rows 1"]) -> "Ordinal":
        """Nothing is learned from the targets.

        Raises:
            CohortError: all are of one level.
        """
        if len(np.unique(values)) < 2:
            raise CohortError(f"a training part has one level of {', '.join(self.columns)} only", found=len(values))
        return self

    def loss(self, logits: Float[Tensor, "bags outputs"], targets: Float[Tensor, "bags 1"]) -> Float[Tensor, " bags"]:
        """The sum over thresholds of the cross-entropy of "above it"."""
        logits = in_full(logits)
        above = targets > torch.arange(self.outputs, device=targets.device)
        ordered = torch.cat([logits[:, :1], logits[:, :1] - F.softplus(logits[:, 1:]).cumsum(1)], dim=1)
        return F.binary_cross_entropy_with_logits(ordered, above.to(logits.dtype), reduction="none").sum(1)

    def values(self, logits: Float[np.ndarray, "bags outputs"]) -> Float[np.ndarray, "bags levels"]:
        """Probabilities of the levels: differences of the cumulative ones."""
        first, gaps = np.asarray(logits, np.float64)[:, :1], np.logaddexp(0, np.asarray(logits, np.float64)[:, 1:])
        ordered = np.concatenate([first, first - gaps.cumsum(1)], axis=1)
        above = np.exp(-np.logaddexp(0, -ordered))
        edges = np.ones((len(above), 1))
        return -np.diff(np.concatenate([edges, above, 0 * edges], axis=1), axis=1)

    def select_metric(self, values: Float[np.ndarray, "bags levels"], targets: Float[np.ndarray, "bags 1"]) -> float:
        """Quadratic weighted kappa of the median level."""
        return quadratic_kappa(targets, values)


def _whole(cell: str) -> str:
    """ "3.0", as spreadsheets write whole numbers, as "3"."""
    return cell[:-2] if cell.endswith(".0") and cell[:-2].isdigit() else cell


def _numeric_levels(cells: pd.Series) -> tuple[str, ...]:
    distinct = [cell for cell in cells.unique() if is_said(cell)]
    if pd.to_numeric(pd.Series(distinct, dtype=object), errors="coerce").isna().any() or len(distinct) < 2:
        raise CohortError(
            f"the order of the levels of {cells.name} is not known",
            found=", ".join(sorted(distinct)[:12]) or "an empty column",
            fix="name the levels, lowest first: --levels LOW,MIDDLE,HIGH (of these)",
        )
    return tuple(sorted(distinct, key=float))


TASK = Ordinal
