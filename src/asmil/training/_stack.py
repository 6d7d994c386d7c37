"""The weights of many models of one shape as rows of one matrix, with AdamW, clipping and anchors row by row."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from asmil.training.optim import TrainSettings, decayed_names

_BETA1, _BETA2, _EPS = 0.9, 0.999, 1e-8  # those of torch.optim.AdamW

Named = dict[str, Tensor]


@dataclass(frozen=True)
class Rates:
    """What a step is for each model, (models, 1) each: 1 or 0 for a step or none, and AdamW's factors."""

    active: Tensor
    rate: Tensor
    first_correction: Tensor
    second_correction: Tensor


class Stack:
    """`weights` (models, weights); `parameters` and `buffers` are views by name with a leading axis of models.

    A step is AdamW's (Loshchilov & Hutter 2019, arXiv 1711.05101) with a learning rate and a number of steps for each
    model. A model without a step keeps its weights, moments and anchor bit for bit.
    """

    def __init__(self, models: Sequence[nn.Module], *, settings: TrainSettings):
        first, self.clip_norm = models[0], settings.clip_norm
        self.shapes = {name: p.shape for name, p in first.named_parameters()}
        self.weights = rows_of(models)
        decayed = decayed_names(first)
        self.decay = [settings.weight_decay if name in decayed else 0.0 for name in self.shapes]
        self.moments = [torch.zeros_like(self.weights) for _ in range(2)]
        self.steps = np.zeros(len(models))
        several = [dict(model.named_buffers()) for model in models]
        self.buffers: Named = {name: torch.stack([one[name] for one in several]) for name in several[0]}
        self.parameters = self.named(self.weights, trained=True)

    def __len__(self) -> int:
        return len(self.weights)

    def named(self, rows: Float[Tensor, "models weights"], *, trained: bool = False) -> Named:
        """Views of the rows by the names of parameters; `trained`: leaves that collect gradients."""
        parts = rows.detach().split([shape.numel() for shape in self.shapes.values()], dim=1)
        pairs = zip(self.shapes.items(), parts, strict=True)
        return {name: part.view(-1, *shape).requires_grad_(trained) for (name, shape), part in pairs}

    def rates(
        self, learning_rates: Float[np.ndarray, "steps models"], active: Float[np.ndarray, "steps models"]
    ) -> list[Rates]:
        """The factors of the coming steps, made on the host in one go: a step asks the device for nothing."""
        counts = np.maximum(self.steps + np.cumsum(active, 0), 1)
        self.steps = self.steps + active.sum(0)
        corrections = [1 - _BETA1**counts, np.sqrt(1 - _BETA2**counts)]
        factors = np.stack([active, learning_rates * active, *corrections], 1)[..., None]
        return [Rates(*step) for step in torch.from_numpy(factors).to(self.weights.device, torch.float32)]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor | None], rates: Rates) -> None:
        """Clip every model's own gradient, (models, ...) per parameter in order, and step.

        A parameter without a gradient is not decayed.
        """
        pairs = list(zip(gradients, self.parameters.values(), strict=True))
        gradient = torch.cat([(torch.zeros_like(p) if g is None else g).flatten(1) for g, p in pairs], 1)
        norm = gradient.norm(dim=1, keepdim=True)
        gradient.mul_((self.clip_norm / (norm + 1e-6)).clamp(max=1))
        first, second = self.moments
        first.lerp_(gradient, (1 - _BETA1) * rates.active)
        second.lerp_(gradient.square_(), (1 - _BETA2) * rates.active)
        for decay, (found, weights) in zip(self.decay, pairs, strict=True):
            if decay and found is not None:
                weights.mul_((1 - decay * rates.rate).view(-1, *[1] * (weights.dim() - 1)))
        divisor = (second.sqrt() / rates.second_correction).add_(_EPS)
        self.weights.sub_((first / divisor).mul_(rates.rate / rates.first_correction))

    @torch.no_grad()
    def follow(self, anchors: Float[Tensor, "models weights"], *, momentum: float, rates: Rates) -> None:
        """Move the anchors of the models that stepped."""
        anchors.lerp_(self.weights, (1 - momentum) * rates.active)

    def keep(self, rows: list[int]) -> None:
        """Go on with these models only."""
        self.weights, self.moments = self.weights[rows], [moment[rows] for moment in self.moments]
        self.steps = self.steps[rows]
        self.buffers = {name: buffer[rows] for name, buffer in self.buffers.items()}
        self.parameters = self.named(self.weights, trained=True)

    def state_dict(self) -> dict[str, object]:
        """All that a resumed training needs but the buffers, which no training changes."""
        return {"weights": self.weights, "moments": self.moments, "steps": torch.from_numpy(self.steps)}

    @torch.no_grad()
    def load_state_dict(self, state: dict) -> None:
        """Put back what `state_dict` returned, of as many models."""
        self.weights.copy_(state["weights"])
        for mine, theirs in zip(self.moments, state["moments"], strict=True):
            mine.copy_(theirs)
        self.steps = state["steps"].numpy()


@torch.no_grad()
def rows_of(models: Sequence[nn.Module]) -> Float[Tensor, "models weights"]:
    """The models' parameters, a row each."""
    return torch.stack([parameters_to_vector(model.parameters()) for model in models])


@torch.no_grad()
def load_row(model: nn.Module, row: Float[Tensor, " weights"]) -> None:
    """Give a model the weights of a row."""
    vector_to_parameters(row.clone(), model.parameters())
