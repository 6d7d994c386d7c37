"""Small models that the attention tests train: a packed one, and foreign ones."""

from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from asmil.bags import Bag, BagBatch


@dataclass
class Output:
    logits: Tensor
    scores: Tensor


class Packed(nn.Module):
    """Takes a BagBatch; scores (tiles, 2); a batch norm gives it buffers, of floats and of integers."""

    def __init__(self, dim: int = 5):
        super().__init__()
        self.layer = nn.Linear(dim, 6)
        self.norm = nn.BatchNorm1d(6)
        self.drop = nn.Dropout(0.3)
        self.attention = nn.Linear(6, 2)
        self.classifier = nn.Linear(6, 2)

    def forward(self, batch: BagBatch) -> Output:
        tiles = self.drop(self.norm(self.layer(batch.features)).relu())
        scores = self.attention(tiles)
        bags = [(z.softmax(0).mean(1) @ x) for z, x in zip(batch.split(scores), batch.split(tiles), strict=True)]
        return Output(self.classifier(torch.stack(bags)), scores)


class GatedAttention(nn.Module):
    """The gated attention of CLAM: three parts, returns scores (tiles, rows) and its input."""

    def __init__(self, dim: int, rows: int):
        super().__init__()
        self.attention_a = nn.Sequential(nn.Linear(dim, 4), nn.Tanh(), nn.Dropout(0.25))
        self.attention_b = nn.Sequential(nn.Linear(dim, 4), nn.Sigmoid(), nn.Dropout(0.25))
        self.attention_c = nn.Linear(4, rows)

    def forward(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        return self.attention_c(self.attention_a(tiles) * self.attention_b(tiles)), tiles


class ClamLike(nn.Module):
    """Laid out as CLAM: scores in `attention_net.3.attention_c`, and (rows, tiles) as the fourth output."""

    def __init__(self, dim: int = 5, rows: int = 2):
        super().__init__()
        self.attention_net = nn.Sequential(nn.Linear(dim, 6), nn.ReLU(), nn.Dropout(0.25), GatedAttention(6, rows))
        self.classifiers = nn.Linear(6, 1)

    def forward(self, tiles: Tensor, *, label: Tensor | None = None):
        scores, tiles = self.attention_net(tiles)
        raw = scores.T
        logits = self.classifiers(raw.softmax(1) @ tiles).T
        return logits, logits.softmax(1), logits.argmax(1), raw, {"label": label}


class MultiHead(nn.Module):
    """Scores (1, heads, tiles) as its second output, from a batch of one bag (1, tiles, dim)."""

    def __init__(self, dim: int = 5, heads: int = 3):
        super().__init__()
        self.query = nn.Parameter(torch.randn(heads, 4))
        self.key = nn.Linear(dim, 4)
        self.out = nn.Linear(heads * dim, 2)

    def forward(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        scores = torch.einsum("hk,btk->bht", self.query, self.key(tiles))
        return self.out((scores.softmax(-1) @ tiles).flatten(1)), scores


def batch(*lengths: int, dim: int = 5, seed: int = 0) -> BagBatch:
    generator = torch.Generator().manual_seed(seed)
    return BagBatch.from_bags([Bag(torch.randn(n, dim, generator=generator), label=0) for n in lengths])


def alone(features: Tensor) -> BagBatch:
    return BagBatch.from_bags(Bag(features, label=0))


@pytest.fixture
def toys() -> SimpleNamespace:
    """The models above with `batch(*lengths)`, `alone(features)`; weights are the same in every test."""
    torch.manual_seed(0)
    return SimpleNamespace(Packed=Packed, ClamLike=ClamLike, MultiHead=MultiHead, batch=batch, alone=alone)
