"""Survival by Cox regression: one log risk per bag, compared within the batch.

The partial likelihood of a batch knows nothing of the bags outside of it: with small batches, or few events in them,
the loss is noisy, and a batch without events teaches nothing. Take 16 bags or more, or the task `survival`.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from asmil.errors import CohortError, ConfigError
from asmil.tasks.parts.survival_times import SurvivalTask
from asmil.tasks.parts.task import in_full


@dataclass(frozen=True)
class Cox(SurvivalTask):
    """`columns` are time and event, recognised if empty; `ties` "efron" or "breslow".

    `censored_is_one` None goes by the name of the event column.
    """

    ties: str = "efron"
    censored_is_one: bool | None = None

    name = "survival_cox"
    smallest_batch = 2
    outputs = 1
    value_names = ("risk",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ties not in ("efron", "breslow"):
            raise ConfigError("unknown treatment of tied times", found=self.ties, fix="use efron or breslow")

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


TASK = Cox
