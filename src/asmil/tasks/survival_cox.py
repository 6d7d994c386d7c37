"""Survival by Cox regression: one log risk per bag, compared within the batch.

The partial likelihood of a batch knows nothing of the bags outside of it: with small batches, or few events in them,
the loss is noisy, and a batch without events teaches nothing. Take 16 bags or more, or the task `survival`.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from asmil.errors import CohortError, ConfigError
from asmil.tasks.parts.survival_times import one_means_censored, read_survival, risk_concordance, survival_columns
from asmil.tasks.parts.task import Targets, in_full, plain_options


@dataclass(frozen=True)
class Cox:
    """`columns` are time and event, recognised if empty; `ties` "efron" or "breslow".

    `censored_is_one` None goes by the name of the event column.
    """

    columns: tuple[str, ...] = ()
    ties: str = "efron"
    censored_is_one: bool | None = None

    name = "survival_cox"
    smallest_batch = 2
    outputs = 1
    target_names = ("time", "event")
    value_names = ("risk",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", tuple(self.columns))
        if self.ties not in ("efron", "breslow"):
            raise ConfigError("unknown treatment of tied times", found=self.ties, fix="use efron or breslow")

    def options(self) -> dict[str, object]:
        """Plain values."""
        return plain_options(self)

    def read(self, table: pd.DataFrame) -> Targets:
        """Times and events; strata are quarters of the times, of events and censored apart."""
        columns = survival_columns(table, self.columns)
        known = self.censored_is_one
        censored_is_one = one_means_censored(columns[-1]) if known is None else known
        values, strata, problems = read_survival(table, columns, censored_is_one=censored_is_one)
        return Targets(values, strata, problems, replace(self, columns=columns, censored_is_one=censored_is_one))

    def fit_targets(self, values: Float[np.ndarray, "rows 2"]) -> "Cox":
        """Nothing is learned from the targets.

        Raises:
            CohortError: no event.
        """
        if not (values[:, 1] == 1).any():
            raise CohortError("a training part has no event", found=f"{len(values)} bags", fix="take fewer folds")
        return self

    def loss(self, logits: Float[Tensor, "bags 1"], targets: Float[Tensor, "bags 2"]) -> Float[Tensor, " bags"]:
        """Each event's negative log partial likelihood, scaled so that the mean over bags is that over events.

        Efron's (1977) or Breslow's (1974) form where times are tied. Without events all shares are 0.
        """
        risk = in_full(logits)[:, 0]
        time, event = targets[:, 0], targets[:, 1] == 1
        weight = (time >= time[:, None]).to(risk.dtype)  # row: who is at risk when this bag has its event
        if self.ties == "efron":
            tied = event & event[:, None] & (time == time[:, None])
            before = tied.tril(-1).sum(1) / tied.sum(1).clamp(min=1)
            weight = weight - tied * before[:, None]
        share = torch.logsumexp(risk + weight.log(), dim=1) - risk
        return torch.where(event, share, 0) * (len(risk) / event.sum().clamp(min=1))

    def values(self, logits: Float[np.ndarray, "bags 1"]) -> Float[np.ndarray, "bags 1"]:
        """The log risk."""
        return np.asarray(logits, np.float64)

    def select_metric(self, values: Float[np.ndarray, "bags 1"], targets: Float[np.ndarray, "bags 2"]) -> float:
        """C-index."""
        return risk_concordance(values, targets)


TASK = Cox
