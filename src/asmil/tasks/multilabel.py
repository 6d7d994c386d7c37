"""Several labels per bag that do not exclude each other; a label that is unknown in a bag teaches nothing there."""

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from asmil.errors import CohortError
from asmil.tasks.parts.scores import macro_auroc
from asmil.tasks.parts.task import (
    ROWS_PER_STRATUM,
    OfColumns,
    Targets,
    find,
    in_full,
    is_said,
    read_flags,
    require_readable,
    require_rows,
)


@dataclass(frozen=True)
class MultiLabel(OfColumns):
    """One column per label: 0, 1, or blank for unknown."""

    name = "multilabel"
    smallest_batch = 1

    @property
    def outputs(self) -> int:
        """One logit per label."""
        return len(self.columns)

    @property
    def value_names(self) -> tuple[str, ...]:
        """A probability per label."""
        return tuple(f"prob_{column}" for column in self.columns)

    def read(self, table: pd.DataFrame) -> Targets:
        """0, 1 or nan; the stratum names the labels that are 1, rare combinations together."""
        if not self.columns:
            raise CohortError("the task multilabel reads one column per label", found="none", fix="name the targets")
        columns = tuple(find(table, column) for column in self.columns)
        read = {column: read_flags(table[column], meant="0, 1 or blank (unknown)") for column in columns}
        require_readable(table, {column: said for column, (_, said) in read.items()})
        values = np.stack([flags for flags, _ in read.values()], axis=1)
        problems: list[str | None] = []
        for row in range(len(table)):
            wrong = [said[row] for column, (_, said) in read.items() if said[row] and is_said(table[column].iloc[row])]
            blank = f"has none of {', '.join(columns)}" if np.isnan(values[row]).all() else None
            problems.append(wrong[0] if wrong else blank)
        require_rows(problems, "a label")
        values[[problem is not None for problem in problems]] = np.nan
        combinations = [_combination(row, columns) for row in values]
        count = Counter(text for text in combinations if text)
        strata = [text if not text or count[text] >= ROWS_PER_STRATUM else "rare combination" for text in combinations]
        return Targets(values, strata, problems, replace(self, columns=columns))

    def fit_targets(self, values: Float[np.ndarray, "rows labels"]) -> "MultiLabel":
        """Nothing is learned from the targets.

        Raises:
            CohortError: a label is never, or always, present.
        """
        for column, of_column in zip(self.columns, values.T, strict=True):
            known = of_column[np.isfinite(of_column)]
            if len(np.unique(known)) < 2:
                raise CohortError(
                    f"label {column!r} is the same in all bags of a training part",
                    found=f"{len(known)} bags in which it is known",
                    fix="leave the label out, or take fewer folds",
                )
        return self

    def loss(
        self, logits: Float[Tensor, "bags labels"], targets: Float[Tensor, "bags labels"]
    ) -> Float[Tensor, " bags"]:
        """The mean binary cross-entropy of the known labels."""
        logits, known = in_full(logits), ~torch.isnan(targets)
        labels = torch.where(known, targets, 0).to(logits.dtype)
        each = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
        return torch.where(known, each, 0).sum(1) / known.sum(1).clamp(min=1)

    def values(self, logits: Float[np.ndarray, "bags labels"]) -> Float[np.ndarray, "bags labels"]:
        """Probabilities."""
        return np.exp(-np.logaddexp(0, -np.asarray(logits, np.float64)))

    def select_metric(
        self, values: Float[np.ndarray, "bags labels"], targets: Float[np.ndarray, "bags labels"]
    ) -> float:
        """Mean AUROC of the labels."""
        return macro_auroc(targets, values)


def _combination(values: np.ndarray, columns: tuple[str, ...]) -> str:
    present = [column for column, value in zip(columns, values, strict=True) if value == 1]
    return "" if np.isnan(values).all() else " + ".join(present) or "none"


TASK = MultiLabel
