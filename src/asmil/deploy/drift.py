"""How far the features of a slide are from those a model was trained on, and from where on that is worth a warning."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from asmil.training import Standardized

FALSE_ALARMS = 0.01
"""Of each measure, on slides like those of the run, as far as their number allows it."""

FAR = 2.0
"""Unusual is a slide with over twice the most tiles of the run's slides, or under half the fewest."""


@dataclass(frozen=True)
class Distance:
    """Of a slide's features from those of a training part, both 0 where they are the same.

    `shift` is the root mean square over the features of (mean of the slide - mean of training) / standard deviation of
    training; `clamped` the share of values that are beyond the limit at which the model cuts them off.
    """

    shift: float
    clamped: float


@torch.no_grad()
def distance(features: Tensor, models: Sequence[Standardized]) -> Distance:
    """The mean distance of features (tiles, dim) from the training parts of models; equal statistics count once."""
    statistics: list[tuple[Tensor, Tensor, float]] = []
    for model in models:
        if not any(torch.equal(model.mean, mean) and torch.equal(model.std, std) for mean, std, _ in statistics):
            statistics.append((model.mean, model.std, model.limit))
    found = [_distance(features, *one) for one in statistics]
    return Distance(*(float(value) for value in torch.tensor(found, dtype=torch.float64).mean(0)))


def _distance(features: Tensor, mean: Tensor, std: Tensor, limit: float) -> tuple[float, float]:
    varies = torch.isfinite(std)  # a feature that was constant in training passes as zeros
    scaled = ((features.to(mean.device, mean.dtype) - mean) / std)[:, varies]
    if not scaled.shape[1]:
        return 0.0, 0.0
    return float(scaled.mean(0).square().mean().sqrt()), float((scaled.abs() > limit).float().mean())


def threshold(values: Sequence[float]) -> float:
    """The value that a further one of the same kind exceeds with a probability of `FALSE_ALARMS` at most.

    With fewer than 1 / FALSE_ALARMS - 1 values it is the largest, which a further one exceeds with a probability of at
    most 1 / (values + 1).

    Source: split conformal prediction (Vovk et al. 2005; Lei et al. 2018), for exchangeable values.
    """
    place = math.ceil((len(values) + 1) * (1 - FALSE_ALARMS))
    return sorted(values)[min(place, len(values)) - 1]


@dataclass(frozen=True)
class Alarms:
    """From where on a slide is unlike those of the run: largest distance, fewest and most tiles."""

    shift: float
    clamped: float
    tiles: tuple[float, float]

    @classmethod
    def of(cls, held_out: Sequence[Distance], tiles: Sequence[int]) -> "Alarms":
        """From slides that the models did not train on, and the numbers of tiles of the run's slides."""
        return cls(
            shift=threshold([slide.shift for slide in held_out]),
            clamped=threshold([slide.clamped for slide in held_out]),
            tiles=(min(tiles) / FAR, max(tiles) * FAR),
        )

    def warnings(self, found: Distance, tiles: int) -> list[str]:
        """What is unusual about a slide, in words."""
        said = []
        if found.shift > self.shift:
            said.append(f"features drift from training: shift {found.shift:.2f}, usual up to {self.shift:.2f}")
        if found.clamped > self.clamped:
            said.append(f"extreme features: {found.clamped:.2%} of the values, usual up to {self.clamped:.2%}")
        if not self.tiles[0] <= tiles <= self.tiles[1]:
            kind = "little" if tiles < self.tiles[0] else "much"
            usual = f"{self.tiles[0] * FAR:.0f} to {self.tiles[1] / FAR:.0f}"
            said.append(f"{kind} tissue: {tiles} tiles, those of the run had {usual}")
        return said


def false_alarms(held_out: Sequence[Distance], tiles: Sequence[int]) -> float | None:
    """The share of the run's own held-out slides that raise a warning, each judged by the others; None for one slide.

    `tiles` are the numbers of tiles of the same slides.
    """
    if len(held_out) < 2:
        return None
    raised = []
    for i, slide in enumerate(held_out):
        others = Alarms.of([*held_out[:i], *held_out[i + 1 :]], [*tiles[:i], *tiles[i + 1 :]])
        raised.append(bool(others.warnings(slide, tiles[i])))
    return sum(raised) / len(raised)
