"""What a task is: the contract that training, prediction and evaluation rely on."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Targets:
    """What a table says of its rows.

    `values` float64 (rows, width), nan where unknown; `strata` a short text per row, by which splits are
    stratified; `problems` what is wrong with a row, None for nothing. A row with a problem has no values and
    the stratum "". `task` knows in addition what was found in the table: its columns, the levels, times to report.
    """

    values: Float[np.ndarray, "rows width"]
    strata: list[str]
    problems: list[str | None]
    task: "Task"


class Task(Protocol):
    """What is predicted of a bag. Immutable; whatever it knows is in `options()`, plain values.

    The order of calls: `read` once (go on with its `task`), `fit_targets` once per training part (go on with
    what it returns), then `loss`, `values` and `select_metric`.
    """

    name: str
    smallest_batch: int
    """Bags that a batch must have for the loss to say anything: 1, or 2 where bags are compared."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the label table that are read; empty until known, where they are recognised."""
        ...

    @property
    def target_names(self) -> tuple[str, ...]:
        """Names of the columns of the target values (width)."""
        ...

    @property
    def outputs(self) -> int:
        """Logits per bag; after `fit_targets` final."""
        ...

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names of the predicted values: the columns of predictions.csv."""
        ...

    def options(self) -> dict[str, Any]:
        """What `create_task` takes back."""
        ...

    def read(self, table: pd.DataFrame) -> Targets:
        """Targets of a table of text.

        Raises:
            CohortError: a column is missing or ambiguous, or no row can be used.
        """
        ...

    def fit_targets(self, values: Float[np.ndarray, "rows width"]) -> "Task":
        """The task with what it learns from the targets of the training part, and of nothing else.

        Raises:
            CohortError: these targets cannot be learned from.
        """
        ...

    def loss(
        self, logits: Float[Tensor, "bags outputs"], targets: Float[Tensor, "bags width"]
    ) -> Float[Tensor, " bags"]:
        """The share of each bag; the mean over the batch is the loss. Never waits for the device."""
        ...

    def values(self, logits: Float[np.ndarray, "bags outputs"]) -> Float[np.ndarray, "bags values"]:
        """What is predicted, in the units of the table; may be averaged over models."""
        ...

    def select_metric(
        self, values: Float[np.ndarray, "bags values"], targets: Float[np.ndarray, "bags width"]
    ) -> float:
        """The quality of predictions, higher is better; nan where undefined."""
        ...


def in_full(logits: Float[Tensor, "bags outputs"]) -> Float[Tensor, "bags outputs"]:
    """Logits in float32 at least: losses of half precision lose what they are about."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
