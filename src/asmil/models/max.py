"""Max pooling: the baseline in which the strongest tile of each feature, or of each class, decides."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from asmil.bags import BagBatch
from asmil.models.parts.layers import MILOutput, Projection, classifier, default_dim, pool, require

PAPER = "Revisiting multiple instance neural networks, Pattern Recognition 2018, arXiv 1610.02501"
ALIGNED = ""


class MaxPooling(nn.Module):
    """Embed, maximum over the tiles of a bag, classify (MI-Net); or classify tiles, then maximum (mi-Net).

    `level="embedding"` takes the maximum of every embedding feature, `"instance"` that of every class's
    logit; the bag's embedding is then the mean of the winning tiles'. Attention is the share of features
    (classes) that a tile wins, ties sharing alike; there are no scores. `dropout` acts on the embedded tiles.

    Raises:
        ConfigError: an option out of its range.
    """

    def __init__(
        self,
        in_dim: int,
        n_classes: int,
        *,
        dim: int | None = None,
        level: str = "embedding",
        dropout: float = 0.25,
    ):
        super().__init__()
        levels = ("embedding", "instance")
        require(level in levels, "there is no such level of max pooling", found=level, fix=f"use one of {levels}")
        dim = default_dim(in_dim) if dim is None else dim
        self.level = level
        self.projection = Projection(in_dim, dim, bias=True, dropout=dropout)
        self.classifier = classifier(dim, n_classes)

    def forward(self, batch: BagBatch) -> MILOutput:
        tiles = self.projection(batch.features)
        if self.level == "instance":
            logits, attention = _max_and_share(self.classifier(tiles), batch)
            return MILOutput(logits, attention, pool(attention.unsqueeze(1), tiles, batch.layout).squeeze(1))
        embedding, attention = _max_and_share(tiles, batch)
        return MILOutput(self.classifier(embedding), attention, embedding)

    def evidence(self, batch: BagBatch) -> Float[Tensor, "tiles classes"]:
        """Of one bag: what the tiles that win a feature (or a class's logit) add by it, ties sharing alike."""
        tiles, weight = self.projection(batch.features), self.classifier.weight
        if self.level == "instance":
            return _shares(self.classifier(tiles)) * (tiles @ weight.T)
        return (_shares(tiles) * tiles) @ weight.T


def _shares(values: Float[Tensor, "tiles columns"]) -> Float[Tensor, "tiles columns"]:
    """Of one bag: what part of each column's maximum a tile has."""
    won = (values.detach() == values.detach().amax(0)).float()
    return won / won.sum(0)


def _max_and_share(
    values: Float[Tensor, "tiles columns"], batch: BagBatch
) -> tuple[Float[Tensor, "bags columns"], Float[Tensor, " tiles"]]:
    """Column-wise maxima of each bag, and the share of columns each tile wins."""
    maxima, shares = [], []
    for bag in batch.split(values):
        maxima.append(bag.amax(0))
        shares.append(_shares(bag).mean(1))
    return torch.stack(maxima), torch.cat(shares)


MODEL = MaxPooling
