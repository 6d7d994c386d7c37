"""Survival in discrete time: the hazard of each of a few intervals, cut at quantiles of the training event times.

The loss is the negative log-likelihood of Zadeh & Schmid (2020, IEEE TPAMI 43) as multiple-instance papers use it
(MCAT, Chen et al. 2021): sum of -log(1 - h) over the intervals survived, and -log h of the interval of the event. A
censored bag counts as having survived its own interval. Any batch size will do, unlike with the Cox loss.
"""

from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from asmil.errors import CohortError, ConfigError
from asmil.tasks.parts.survival_times import SurvivalTask
from asmil.tasks.parts.task import Targets, in_full


@dataclass(frozen=True)
class DiscreteTime(SurvivalTask):
    """`columns` are time and event, recognised if empty; `bins` intervals.

    `censored_is_one` None goes by the name of the event column. `times` are those at which survival is reported,
    one grid for all folds: deciles of the event times of the whole table, three digits. `edges` inside and `end` of
    the intervals are of one training part.
    """

    bins: int = 4
    censored_is_one: bool | None = None
    times: tuple[float, ...] = ()
    edges: tuple[float, ...] = ()
    end: float = 0.0

    name = "survival"
    smallest_batch = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bins < 2:
            raise ConfigError("survival needs two intervals or more", found=f"bins {self.bins}", fix="4 are usual")

    @property
    def outputs(self) -> int:
        """One logit of the hazard per interval; fewer than `bins` where event times are tied."""
        return len(self.edges) + 1 if len(self.edges) else self.bins

    @property
    def value_names(self) -> tuple[str, ...]:
        """The risk, and the probability to survive each of `times`."""
        return ("risk", *(f"survival_{time:g}" for time in self.times))

    def read(self, table: pd.DataFrame) -> Targets:
        """Times and events, and the deciles of the event times; strata are those of `SurvivalTask.read`."""
        found = super().read(table)
        values = found.values
        deciles = np.quantile(values[values[:, 1] == 1, 0], np.arange(1, 10) / 10)
        times = self.times or tuple(sorted({float(f"{time:.3g}") for time in deciles if time > 0}))
        return replace(found, task=replace(cast(DiscreteTime, found.task), times=times))

    def fit_targets(self, values: Float[np.ndarray, "rows 2"]) -> "DiscreteTime":
        """The intervals, each closed on the right, with as equally many events as ties allow.

        Raises:
            CohortError: events at fewer than two different times.
        """
        times = values[values[:, 1] == 1, 0]
        shares = np.arange(1, self.bins) / self.bins
        edges = np.unique(np.quantile(times, shares, method="inverted_cdf")) if len(times) else np.empty(0)
        edges = edges[(edges > 0) & (edges < times.max(initial=0))]  # so that each interval has an event
        if not len(edges):
            found = f"{len(times)} events at {len(np.unique(times))} different times"
            raise CohortError("a training part has too few events to cut time into intervals", found=found)
        return replace(self, edges=tuple(map(float, edges)), end=float(values[:, 0].max()))

    def loss(self, logits: Float[Tensor, "bags outputs"], targets: Float[Tensor, "bags 2"]) -> Float[Tensor, " bags"]:
        """The negative log-likelihood of what was observed.

        Raises:
            ConfigError: `fit_targets` was not called.
        """
        if not len(self.edges):
            raise ConfigError("the intervals of survival are not known", fix="call fit_targets with training targets")
        logits = in_full(logits)
        time, event = targets[:, :1], targets[:, 1:] == 1
        own = sum((time > edge).long() for edge in self.edges)  # edges stay numbers: no copy to the device
        interval = torch.arange(self.outputs, device=logits.device)
        died = event & (interval == own)
        survived = (interval <= own) & ~died
        return (torch.where(died, F.softplus(-logits), 0) + torch.where(survived, F.softplus(logits), 0)).sum(1)

    def values(self, logits: Float[np.ndarray, "bags outputs"]) -> Float[np.ndarray, "bags values"]:
        """Risk (minus the sum of survival at the ends of the intervals) and survival at `times`.

        The hazard is even within an interval; after the end of the last nothing is known and survival stays.
        """
        lost = np.logaddexp(0, np.asarray(logits, np.float64))  # -log(1 - hazard)
        edges = np.array([0, *self.edges, self.end])
        passed = np.clip((np.array(self.times)[:, None] - edges[:-1]) / np.diff(edges), 0, 1)
        risk = -np.exp(-lost.cumsum(1)).sum(1, keepdims=True)
        return np.concatenate([risk, np.exp(-lost @ passed.T)], axis=1)


TASK = DiscreteTime
