"""Mean pooling: the baseline in which every tile counts the same."""

import torch
from torch import nn

from asmil.attention import softmax
from asmil.bags import BagBatch
from asmil.models.parts.layers import MILOutput, Projection, classifier, default_dim, pool

PAPER = "Revisiting multiple instance neural networks, Pattern Recognition 2018, arXiv 1610.02501"
ALIGNED = ""


class MeanPooling(nn.Module):
    """Embed, average over the tiles of a bag, classify. Attention is 1/M; there are no scores.

    The mean of the tiles' logits is the same function (a linear classifier commutes with the mean), so there
    is no instance-level option. `dropout` acts on the embedded tiles.

    Raises:
        ConfigError: an option out of its range.
    """

    def __init__(self, in_dim: int, n_classes: int, *, dim: int | None = None, dropout: float = 0.25):
        super().__init__()
        dim = default_dim(in_dim) if dim is None else dim
        self.projection = Projection(in_dim, dim, bias=True, dropout=dropout)
        self.classifier = classifier(dim, n_classes)

    def forward(self, batch: BagBatch) -> MILOutput:
        tiles = self.projection(batch.features)
        attention = softmax(torch.zeros_like(tiles[:, 0]), batch.layout)  # of equal scores: 1/M each
        embedding = pool(attention.unsqueeze(1), tiles, batch.layout).squeeze(1)
        return MILOutput(self.classifier(embedding), attention, embedding)


MODEL = MeanPooling
