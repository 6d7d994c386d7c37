"""Models of bags as one function of plain tensors, the form in which they leave asmil."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from asmil.attention import Packed
from asmil.bags import BagBatch
from asmil.training import Standardized

INPUT = "features"
OUTPUTS = ("probabilities", "attention", "logits")


class Deployed(nn.Module):
    """The mean of models on one slide, for models that do not ask where the tiles are.

    Features (tiles, dim) become probabilities (classes,), attention (tiles,), both means over the models, and the
    logits of each (models, classes).
    """

    def __init__(self, models: Sequence[nn.Module]):
        super().__init__()
        self.models = nn.ModuleList(models)

    def forward(self, features: Float[Tensor, "tiles dim"]) -> tuple[Tensor, Tensor, Tensor]:
        batch = BagBatch(features, Packed([features.shape[0]]), tile_level0_px=(None,))
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
