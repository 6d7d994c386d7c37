"""TransMIL: two Nystrom attention layers, a convolution over a square of the tiles between, read by a token."""

import math
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from asmil.bags.bag import BagBatch
from asmil.models._layers import Projection, classifier, default_dim
from asmil.models._nystrom import Factors, NystromAttention
from asmil.models._output import MILOutput

PAPER = "TransMIL: Transformer based Correlated Multiple Instance Learning, NeurIPS 2021, arXiv 2106.00908"
ALIGNED = "The attention of each head's landmarks over the tiles in the last Nystrom layer."


class TransMIL(nn.Module):
    """TransMIL of Shao et al. 2021: its TPT module, with PPEG between the two attention layers.

    h = ReLU(W f); the first tiles are repeated until the bag fills a square, a class token goes in front;
    x + Nystrom(LN x); depth-wise convolutions of 7, 5 and 3 over the square, plus itself (PPEG); x + Nystrom(LN
    x); the class token after a LayerNorm is classified. There is no MLP, as in the authors' code. Tiles keep
    their order in the file, which fills the square, so their order matters.

    `scores` (tiles, heads x landmarks), head-major: what each landmark of the last layer gives to the tiles
    before its softmax, class token and repeated tiles left out. A bag with fewer landmarks than `landmarks`
    repeats its own cyclically, so that all bags have the same columns. `attention`: the class token's row of
    the last layer's attention, a mean over heads, a repeated tile's weight given to its original; Nystrom
    attention can be negative, so it is clamped at 0 and renormalised, and uniform where nothing is left.

    `landmarks` is dim / 2 unless given, as in the authors' code (256 at their width of 512). `dropout` acts
    behind each Nystrom layer; `feature_dropout` acts on h, and is ours. Further deviations: `NystromAttention`.

    Raises:
        ConfigError: an option out of its range.
    """

    def __init__(
        self,
        in_dim: int,
        n_classes: int,
        *,
        dim: int | None = None,
        heads: int = 8,
        landmarks: int | None = None,
        dropout: float = 0.1,
        feature_dropout: float = 0.25,
    ):
        super().__init__()
        dim = default_dim(in_dim) if dim is None else dim
        self.landmarks = dim // 2 if landmarks is None else landmarks
        self.projection = Projection(in_dim, dim, bias=True, dropout=feature_dropout)
        self.cls = nn.Parameter(torch.randn(1, dim))
        self.first_norm, self.last_norm, self.norm = nn.LayerNorm(dim), nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.first = NystromAttention(dim, heads=heads, landmarks=self.landmarks, dropout=dropout)
        self.position = _Position(dim)
        self.last = NystromAttention(dim, heads=heads, landmarks=self.landmarks, dropout=dropout)
        self.classifier = classifier(dim, n_classes)

    def forward(self, batch: BagBatch) -> MILOutput:
        embeddings, attention, scores = [], [], []
        for tiles in batch.split(self.projection(batch.features)):
            tokens = self._tokens(tiles)
            normed = self.last_norm(tokens)
            factors = self.last.factors(normed, queries=1)  # only the class token is read
            embeddings.append(self.norm(tokens[:1] + self.last.read(normed, factors)))
            attention.append(_cls_map(factors, tiles=len(tiles)))
            scores.append(self._rows(factors.scores, tiles=len(tiles)))
        embedding = torch.cat(embeddings)
        return MILOutput(self.classifier(embedding), torch.cat(attention), embedding, torch.cat(scores))

    def attention_scores(self, batch: BagBatch) -> Float[Tensor, "tiles rows"]:
        """The scores alone, without what follows them: all that an anchor has to run."""
        bags = batch.split(self.projection(batch.features))
        scores = [self.last.scores(self.last_norm(self._tokens(tiles))) for tiles in bags]
        return torch.cat([self._rows(rows, tiles=len(tiles)) for rows, tiles in zip(scores, bags, strict=True)])

    def _tokens(self, tiles: Float[Tensor, "tiles dim"]) -> Float[Tensor, "tokens dim"]:
        """What the last layer sees: the class token, the tiles, then repeated tiles up to a square."""
        side = math.isqrt(len(tiles) - 1) + 1
        tokens = torch.cat([self.cls, tiles, tiles[: side * side - len(tiles)]])
        tokens = tokens + self.first(self.first_norm(tokens))
        return torch.cat([tokens[:1], self.position(tokens[1:], side)])

    def _rows(self, scores: Float[Tensor, "heads landmarks tokens"], *, tiles: int) -> Float[Tensor, "tiles rows"]:
        index = torch.arange(self.landmarks, device=scores.device) % scores.shape[1]
        return scores.permute(2, 0, 1)[1 : tiles + 1, :, index].flatten(1)


class _Position(nn.Module):
    """PPEG: x + depth-wise convolutions of three sizes over the square of tiles, done as a single one."""

    def __init__(self, dim: int):
        super().__init__()
        self.large, self.middle, self.small = (nn.Conv2d(dim, dim, size, groups=dim) for size in (7, 5, 3))

    def forward(self, tiles: Float[Tensor, "tiles dim"], side: int) -> Float[Tensor, "tiles dim"]:
        weight = self.large.weight + F.pad(self.middle.weight, [1] * 4) + F.pad(self.small.weight, [2] * 4)
        bias = sum(cast(Tensor, layer.bias) for layer in (self.large, self.middle, self.small))
        square = tiles.T.unflatten(1, (side, side))[None]
        return tiles + F.conv2d(square, weight, cast(Tensor, bias), padding=3, groups=tiles.shape[1])[0].flatten(1).T


def _cls_map(factors: Factors, *, tiles: int) -> Float[Tensor, " tiles"]:
    """The class token's attention as a distribution over the tiles."""
    row = (factors.first[:, :1] @ factors.middle @ factors.last).mean(0)[0, 1:]
    row = row.to(torch.promote_types(row.dtype, torch.float32))
    repeated = row[tiles:]
    weights = (row[:tiles] + F.pad(repeated, (0, tiles - len(repeated)))).clamp(min=0)
    total = weights.sum()
    return torch.where(total > 0, weights / total.clamp(min=torch.finfo(row.dtype).tiny), 1 / tiles)


MODEL = TransMIL
