"""ABMIL: a small network scores each tile, and their softmax-weighted mean is classified."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from asmil.attention import NORMALIZERS
from asmil.bags import BagBatch
from asmil.models.parts.layers import MILOutput, Projection, classifier, default_dim, pool, require

PAPER = "Attention-based Deep Multiple Instance Learning, ICML 2018, arXiv 1802.04712"
ALIGNED = "The attention over the tiles, one row."


class ABMIL(nn.Module):
    """Attention pooling of Ilse et al. 2018: eq. 8 (`gated=False`) or eq. 9 (`gated=True`, the default).

    `hidden` is the width of the scoring network, `dropout` acts on the embedded tiles. The width `dim`, 128
    hidden units and biases follow the ACMIL lineage; the paper's MNIST network had 500 and one output with a
    sigmoid.

    Raises:
        ConfigError: an option out of its range.
        UnknownPartError: no attention normaliser of that name.
    """

    def __init__(
        self,
        in_dim: int,
        n_classes: int,
        *,
        dim: int | None = None,
        hidden: int = 128,
        gated: bool = True,
        dropout: float = 0.25,
        attention_normalizer: str = "softmax",
    ):
        super().__init__()
        require(hidden > 0, "abmil needs hidden units", found=hidden, fix="128 is usual")
        dim = default_dim(in_dim) if dim is None else dim
        self.normalizer = NORMALIZERS[attention_normalizer]
        self.projection = Projection(in_dim, dim, bias=True, dropout=dropout)
        self.tanh = nn.Linear(dim, hidden)
        self.gate = nn.Linear(dim, hidden) if gated else None
        self.score = nn.Linear(hidden, 1)
        self.classifier = classifier(dim, n_classes)

    def forward(self, batch: BagBatch) -> MILOutput:
        tiles = self.projection(batch.features)
        scores = self._score(tiles)
        weights = self.normalizer(scores, batch.layout)
        embedding = pool(weights, tiles, batch.layout).squeeze(1)
        return MILOutput(self.classifier(embedding), weights.squeeze(1), embedding, scores)

    def attention_scores(self, batch: BagBatch) -> Float[Tensor, "tiles rows"]:
        """The scores alone, without what follows them: all that an anchor has to run."""
        return self._score(self.projection(batch.features))

    def _score(self, tiles: Float[Tensor, "tiles dim"]) -> Float[Tensor, "tiles rows"]:
        hidden = torch.tanh(self.tanh(tiles))
        if self.gate is not None:
            hidden = hidden * torch.sigmoid(self.gate(tiles))
        return self.score(hidden)


MODEL = ABMIL
