"""TransMIL: two Nystrom attention layers, a convolution over a square of the tiles between, read by a token."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from asmil.attention import on_device
from asmil.bags import BagBatch
from asmil.models.parts.layers import MILOutput, Projection, classifier, default_dim
from asmil.models.parts.neighbours import pack, similar, stack
from asmil.models.parts.nystrom import Factors, NystromAttention, Segments

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
        groups, table = self._groups(batch)
        for group in groups:
            tokens, normed = self._tokens(table, group)
            factors = self.last.factors(normed, group.segments, queries=1)  # only the class token is read
            embeddings.append(self.norm(tokens[:, :1] + self.last.read(normed, factors)).squeeze(1))
            attention.append(_cls_map(factors, tiles=group.tiles, longest=group.longest))
            scores.append(_rows(factors.scores, group))
        bags = [group.bags for group in groups]
        embedding = stack(embeddings, bags)
        packed = (pack(parts, batch, bags) for parts in (attention, scores))
        return MILOutput(self.classifier(embedding), next(packed), embedding, next(packed))

    def attention_scores(self, batch: BagBatch) -> Float[Tensor, "tiles rows"]:
        """The scores alone, without what follows them: all that an anchor has to run."""
        groups, table = self._groups(batch)
        scores = [_rows(self.last.scores(self._tokens(table, group)[1], group.segments), group) for group in groups]
        return pack(scores, batch, [group.bags for group in groups])

    def _groups(self, batch: BagBatch) -> tuple[list["_Squares"], Float[Tensor, "1+tiles dim"]]:
        """Bags of similar size, and what their tokens are drawn from: the class token, then the tiles."""
        table = torch.cat([self.cls, self.projection(batch.features)])
        bags = similar([_side(length) ** 2 + 1 for length in batch.lengths])
        return [_Squares.of(batch, group, landmarks=self.landmarks, like=self.cls) for group in bags], table

    def _tokens(self, table: Tensor, group: "_Squares") -> tuple[Tensor, Tensor]:
        """What the last layer sees (bags, tokens, dim), before and after its LayerNorm."""
        tokens = table.index_select(0, group.rows.flatten()).unflatten(0, group.rows.shape)
        tokens = tokens + self.first(group.blank(self.first_norm(tokens)), group.segments)
        tokens = torch.cat([tokens[:, :1], self.position(tokens[:, 1:], group)], 1)
        return tokens, group.blank(self.last_norm(tokens))


@dataclass(frozen=True)
class _Squares:
    """Bags whose tokens are padded to those of the largest square: a class token, the tiles, repeated tiles."""

    bags: list[int]
    tiles: Int[Tensor, "bags 1"]
    longest: int  # tiles of a bag
    sides: tuple[int, ...]
    rows: Int[Tensor, "bags tokens"]  # of the table that holds the class token and the tiles
    real: Bool[Tensor, "bags tokens 1"] | None  # None: nothing is padded
    segments: Segments

    @classmethod
    def of(cls, batch: BagBatch, bags: list[int], *, landmarks: int, like: Tensor) -> "_Squares":
        lengths = [batch.lengths[bag] for bag in bags]
        sides = tuple(_side(length) for length in lengths)
        starts = [batch.starts[bag] for bag in bags]
        tokens = [side * side + 1 for side in sides]
        start, tiles, length = on_device(torch.tensor([starts, lengths, tokens]), like.device)[..., None]
        place = torch.arange(max(tokens), device=like.device)
        real = place < length
        rows = torch.where(real & (place > 0), start + place - tiles * (place > tiles), 0)
        segments = Segments.of(tokens, landmarks=landmarks, like=like)
        equal = min(sides) == max(sides)
        return cls(bags, tiles, max(lengths), sides, rows, None if equal else real[..., None], segments)

    def blank(self, tokens: Float[Tensor, "bags tokens dim"]) -> Float[Tensor, "bags tokens dim"]:
        """The tokens with 0 in place of padding."""
        return tokens if self.real is None else tokens * self.real


class _Position(nn.Module):
    """PPEG: x + depth-wise convolutions of three sizes over the square of tiles, done as a single one."""

    def __init__(self, dim: int):
        super().__init__()
        self.large, self.middle, self.small = (nn.Conv2d(dim, dim, size, groups=dim) for size in (7, 5, 3))

    def forward(self, tiles: Float[Tensor, "bags tiles dim"], group: _Squares) -> Float[Tensor, "bags tiles dim"]:
        weight = self.large.weight + F.pad(self.middle.weight, [1] * 4) + F.pad(self.small.weight, [2] * 4)
        bias = sum(cast(Tensor, layer.bias) for layer in (self.large, self.middle, self.small))
        side = max(group.sides)
        there, back = (None, None) if group.real is None else _places(group.sides, tiles.device)
        square = (tiles if there is None else _take(tiles, there)).mT.unflatten(2, (side, side))
        convolved = F.conv2d(square, weight, cast(Tensor, bias), padding=3, groups=square.shape[1]).flatten(2).mT
        return tiles + (convolved if back is None else _take(convolved, back))


def _places(sides: Sequence[int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Places (bags, tiles) of bags' squares in the corner of the largest, and the way back; -1 is nowhere."""
    largest = max(sides)
    side = on_device(torch.tensor(sides), device)[:, None]
    place = torch.arange(largest * largest, device=device)
    row, column = place // largest, place % largest
    there = torch.where((row < side) & (column < side), row * side + column, -1)
    back = torch.where(place < side * side, place // side * largest + place % side, -1)
    return there, back


def _take(tokens: Float[Tensor, "bags tokens dim"], places: Int[Tensor, "bags places"]) -> Tensor:
    """Tokens of each bag at `places`, 0 for -1."""
    bag = torch.arange(len(places), device=places.device)[:, None] * tokens.shape[1]
    taken = tokens.flatten(0, 1).index_select(0, (places.clamp(min=0) + bag).flatten())
    return taken.unflatten(0, places.shape) * (places >= 0)[..., None]


def _side(tiles: int) -> int:
    """Of the smallest square that holds the tiles."""
    return math.isqrt(tiles - 1) + 1


def _rows(scores: Float[Tensor, "bags heads rows tokens"], group: _Squares) -> Float[Tensor, "bags longest rows"]:
    return scores[..., 1 : group.longest + 1].permute(0, 3, 1, 2).flatten(2)


def _cls_map(factors: Factors, *, tiles: Int[Tensor, "bags 1"], longest: int) -> Float[Tensor, "bags longest"]:
    """The class token's attention as a distribution over the tiles, 0 for padding."""
    row = (factors.first[:, :, :1] @ factors.middle @ factors.last).mean(1)[:, 0, 1:]
    row = row.to(torch.promote_types(row.dtype, torch.float32))
    place = torch.arange(longest, device=row.device)
    repeated = F.pad(row, (0, 1)).gather(1, (tiles + place).clamp(max=row.shape[1]))  # padding has weight 0
    weights = (row[:, :longest] + repeated).clamp(min=0) * (place < tiles)
    total = weights.sum(1, keepdim=True)
    return torch.where(total > 0, weights / total.clamp(min=torch.finfo(row.dtype).tiny), 1 / tiles.to(row.dtype))


MODEL = TransMIL
