"""The gated scoring network that several methods share."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from asmil.models._layers import require


class GatedAttention(nn.Module):
    """Scores of tiles, (tiles, dim) -> (tiles, rows): W (tanh(V x) * sigmoid(U x)), all with biases.

    `dropout` acts on both factors. Source: Ilse et al. 2018 (arXiv 1802.04712), eq. 9 before its softmax; the
    dropout is CLAM's.

    Raises:
        ConfigError: no hidden units.
    """

    def __init__(self, dim: int, hidden: int, *, rows: int = 1, dropout: float = 0.0):
        super().__init__()
        require(hidden > 0, "gated attention needs hidden units", found=hidden, fix="128 is usual")
        self.tanh, self.gate = nn.Linear(dim, hidden), nn.Linear(dim, hidden)
        self.score = nn.Linear(hidden, rows)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tiles: Float[Tensor, "tiles dim"]) -> Float[Tensor, "tiles rows"]:
        content, gate = torch.tanh(self.tanh(tiles)), torch.sigmoid(self.gate(tiles))
        return self.score(self.dropout(content) * self.dropout(gate))
