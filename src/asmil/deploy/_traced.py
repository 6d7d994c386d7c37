"""Models of bags as one function of plain tensors, the form in which they leave asmil."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from asmil.bags import BagBatch
from asmil.training import Standardized

INPUT = "features"
OUTPUTS = ("probabilities", "attention", "logits")


@dataclass(frozen=True)
class _OneBag(BagBatch):
    """One bag of any number of tiles, where that number is not known yet."""

    @cached_property
    def bag_of_tile(self) -> Int[Tensor, " tiles"]:
        return torch.zeros_like(self.features[:, 0], dtype=torch.int64)


class Deployed(nn.Module):
    """The mean of models on one slide, for models that do not ask where the tiles are.

    Features (tiles, dim) become probabilities (classes,), attention (tiles,), both means over the models, and the
    logits of each (models, classes).
    """

    def __init__(self, models: Sequence[nn.Module]):
        super().__init__()
        self.models = nn.ModuleList(models)

    def forward(self, features: Float[Tensor, "tiles dim"]) -> tuple[Tensor, Tensor, Tensor]:
        tiles = features.shape[0]
        batch = _OneBag(features, offsets=torch.arange(2) * tiles, lengths=(tiles,), tile_level0_px=(None,))
        outputs = [model(batch) for model in self.models]
        logits = torch.cat([output.logits.float() for output in outputs])
        attention = torch.stack([output.attention.float() for output in outputs]).mean(0)
        return logits.softmax(1).mean(0), attention, logits


def example(tiles: int, dim: int, *, like: nn.Module, seed: int = 0) -> Float[Tensor, "tiles dim"]:
    """Features of so many tiles, distributed as those that a standardised model was trained on."""
    features = torch.randn(tiles, dim, generator=torch.Generator().manual_seed(seed))
    if isinstance(like, Standardized):
        features = like.mean.cpu() + features * like.std.cpu().nan_to_num(posinf=0.0)
    return features
