"""Every model on one bag: bags a second, and time and memory of a step against those of a plain projection."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from asmil.bags import Bag, BagBatch
from asmil.bench.rows import HIGHER, Row, Scale
from asmil.bench.timing import Step, best_seconds, first_call
from asmil.errors import AsmilError
from asmil.models import create_model, list_models

PART = "models"
IN_DIM, DIM, TILE_PX = 1024, 512, 256


@dataclass(frozen=True)
class Speed:
    """What a model takes on a bag: its parameters, seconds of a forward and of a step, peak memory in bytes of a step.

    `projection_seconds` and `projection_bytes` are those of a step of what hardly any model does without: a linear
    layer with ReLU over all tiles, and their mean.
    """

    parameters: int
    forward_seconds: float
    step_seconds: float
    step_bytes: int
    projection_seconds: float
    projection_bytes: int


def measure(scale: Scale) -> Iterator[Row]:
    """Five rows per model; a model that fails is a row that says why."""
    batch = grid_batch(scale.model_tiles, device=scale.device)
    for name in scale.models or list_models():
        case = f"{name}, {scale.model_tiles} tiles"
        try:
            speed = model_speed(name, batch, seconds=scale.seconds / 4)
        except (AsmilError, RuntimeError) as error:  # a model too large for this machine costs its own rows only
            yield Row(PART, case, "step", None, note=f"failed: {str(error).splitlines()[0]}")
            continue
        yield Row(PART, case, "parameters", speed.parameters / 1e6, "M")
        yield Row(PART, case, "forward", 1 / speed.forward_seconds, "bags/s", HIGHER)
        yield Row(PART, case, "step", 1 / speed.step_seconds, "bags/s", HIGHER)
        yield Row(PART, case, "time / projection", speed.step_seconds / speed.projection_seconds, "x", tolerance=0.35)
        yield Row(PART, case, "memory / projection", speed.step_bytes / speed.projection_bytes, "x", tolerance=0.1)


def model_speed(name: str, batch: BagBatch, *, seconds: float) -> Speed:
    """Measure a registered model on a labelled batch, for about `seconds` each."""
    torch.manual_seed(0)
    labels = cast(Tensor, batch.labels)
    device = str(batch.features.device)
    model = create_model(name, in_dim=batch.features.shape[1], n_classes=2).to(device)
    plain = _Projection(batch.features.shape[1]).to(device)

    def step() -> None:
        model.zero_grad()
        output = model(batch)
        extra = sum(loss.mean() for loss in output.losses.values())
        (cross_entropy(output.logits, labels) + extra).backward()

    def projection() -> None:
        plain.zero_grad()
        cross_entropy(plain(batch.features), labels).backward()

    plain_first, plain_bytes = first_call(projection, device=device)
    step_first, step_bytes = first_call(step, device=device)
    first = [step_first, plain_first]
    step_s, plain_s = best_seconds([step, projection], seconds=seconds, device=device, first=first)
    (forward_s,) = best_seconds([_forward(model, batch)], seconds=seconds, device=device)
    return Speed(sum(p.numel() for p in model.parameters()), forward_s, step_s, step_bytes, plain_s, plain_bytes)


def grid_batch(tiles: int, *, device: str = "cpu") -> BagBatch:
    """One labelled bag of random features, (tiles, 1024), whose tiles fill a square grid row by row."""
    side = int(tiles**0.5 + 0.999)
    corners = TILE_PX * torch.cartesian_prod(torch.arange(side), torch.arange(side))[:tiles]
    features = torch.randn(tiles, IN_DIM, generator=torch.Generator().manual_seed(0))
    bag = Bag(features, level0_xy=corners, label=0, tile_level0_px=float(TILE_PX))
    return BagBatch.from_bags(bag).to(device)


def _forward(model: nn.Module, batch: BagBatch) -> Step:
    model.eval()

    @torch.no_grad()
    def forward() -> None:
        model(batch)

    return forward


class _Projection(nn.Module):
    """(tiles, in_dim) to logits (1, 2) by the mean of projected tiles."""

    def __init__(self, in_dim: int):
        super().__init__()
        self.projection, self.classifier = nn.Linear(in_dim, DIM), nn.Linear(DIM, 2)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.classifier(torch.relu(self.projection(features)).mean(0, keepdim=True))
