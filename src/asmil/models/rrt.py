"""RRT-MIL: tiles are re-embedded by attention within regions, then across regions, before attention pooling."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from asmil.attention import NORMALIZERS, on_device
from asmil.bags import BagBatch
from asmil.models.parts.layers import (
    Dropout,
    MILOutput,
    Projection,
    classifier,
    default_dim,
    pool,
    require,
    require_heads,
    xavier_normal,
)
from asmil.models.parts.neighbours import similar

PAPER = "Feature Re-Embedding: Towards Foundation Model-Level Performance in CPath, CVPR 2024, arXiv 2402.17228"
ALIGNED = "The attention of its pooling over the tiles, one row."
SMALLEST_SIDE = 4  # tiles along a region's side, at least: attention within a single tile would do nothing


class RRT(nn.Module):
    """RRT-MIL of Tang et al. 2024: re-embedding by R-MSA and CR-MSA, then ABMIL (plain tanh, no biases).

    x = ReLU(W f), laid out row by row on a square that is cut into `regions` x `regions`;
    x + R-MSA(LN x): attention within each region, its logits plus a depth-wise convolution of them along the
    queries (EPEG, `kernel` wide, one per head); x + CR-MSA(LN x): `slots` weighted means of each region attend
    across the regions and are given back to its tiles; with `shortcut` plus the x from before; LN.

    `scores` are those of the pooling. `shortcut` is on in most of the authors' recipes, `slots` 1 or 3 and
    `kernel` 9 to 21 by data set. `dropout` acts behind each attention, `feature_dropout` on x. The square is filled
    in the order of the file, so the order of tiles matters.

    Deviations: padding of the square is masked everywhere (in their code it takes part); a bag of less than
    32 x 32 tiles gets fewer regions, so that a region's side is at least 4 tiles.

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
        heads: int = 8,
        regions: int = 8,
        kernel: int = 15,
        slots: int = 3,
        shortcut: bool = True,
        hidden: int = 128,
        dropout: float = 0.1,
        feature_dropout: float = 0.25,
        attention_normalizer: str = "softmax",
    ):
        super().__init__()
        counts = (heads, regions, kernel, slots, hidden)
        what = "heads, regions, kernel, slots and hidden of rrt must be above 0"
        require(min(counts) > 0, what, found=counts, fix="the defaults are the paper's")
        require(kernel % 2 == 1, "the kernel of rrt must be odd", found=kernel, fix="15 is the paper's")
        require(0 <= dropout < 1, "dropout is a share in [0, 1)", found=dropout, fix="0.1 is usual, 0 is none")
        dim = default_dim(in_dim) if dim is None else dim
        self.regions, self.shortcut = regions, shortcut
        self.normalizer = NORMALIZERS[attention_normalizer]
        self.projection = Projection(in_dim, dim, bias=True, dropout=feature_dropout)
        self.region_norm, self.cross_norm, self.norm = nn.LayerNorm(dim), nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.region = _Attention(dim, heads=heads, kernel=kernel, dropout=dropout)
        self.cross = _CrossRegion(dim, heads=heads, slots=slots, dropout=dropout)
        self.score = nn.Sequential(nn.Linear(dim, hidden, bias=False), nn.Tanh(), nn.Linear(hidden, 1, bias=False))
        self.classifier = classifier(dim, n_classes)
        self.apply(xavier_normal)

    def forward(self, batch: BagBatch) -> MILOutput:
        tiles = self._embed(batch)
        scores = self.score(tiles)
        weights = self.normalizer(scores, batch.layout)
        embedding = pool(weights, tiles, batch.layout).squeeze(1)
        return MILOutput(self.classifier(embedding), weights.squeeze(1), embedding, scores)

    def attention_scores(self, batch: BagBatch) -> Float[Tensor, "tiles rows"]:
        """The scores alone, without what follows them: all that an anchor has to run."""
        return self.score(self._embed(batch))

    def _embed(self, batch: BagBatch) -> Float[Tensor, "tiles dim"]:
        tiles = self.projection(batch.features)
        layout = _Layout.of(batch, regions=self.regions)
        embedded = tiles + layout.apply(lambda x, group: self.region(x, group.real), self.region_norm(tiles))
        embedded = embedded + layout.apply(self.cross, self.cross_norm(embedded))
        return self.norm(embedded + tiles if self.shortcut else embedded)


@dataclass(frozen=True)
class _Regions:
    """Regions of several bags, bag by bag, their tiles padded to those of the largest."""

    rows: Int[Tensor, "regions places"]  # of the batch, any in place of padding
    real: Bool[Tensor, "regions places"] | None  # None: nothing is padded
    counts: tuple[int, ...]  # regions of each bag

    def per_bag(self, regions: Float[Tensor, "regions slots dim"]) -> tuple[Tensor, Tensor | None]:
        """(bags, slots, longest, dim) and what is real of (bags, longest)."""
        if min(self.counts) == max(self.counts):
            return regions.unflatten(0, (len(self.counts), -1)).transpose(1, 2), None
        count, place = torch.tensor(self.counts), torch.arange(max(self.counts))
        real = on_device(place < count[:, None], regions.device)
        index = (count.cumsum(0) - count)[:, None] + place.clamp(max=count[:, None] - 1)
        padded = regions.index_select(0, on_device(index.flatten(), regions.device))
        return padded.unflatten(0, index.shape).transpose(1, 2), real

    def per_region(self, bags: Float[Tensor, "bags slots longest dim"]) -> Float[Tensor, "regions slots dim"]:
        """Undo `per_bag`."""
        regions = bags.transpose(1, 2).flatten(0, 1)
        if min(self.counts) == max(self.counts):
            return regions
        longest = max(self.counts)
        index = torch.cat([torch.arange(n) + bag * longest for bag, n in enumerate(self.counts)])
        return regions.index_select(0, on_device(index, regions.device))


class _Attention(nn.Module):
    """Multi-head self-attention within each group of tokens; with a kernel, its logits plus EPEG of them."""

    def __init__(self, dim: int, *, heads: int, kernel: int | None = None, dropout: float):
        super().__init__()
        require_heads(dim, heads)
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.dropout = Dropout(dropout)
        self.position = None
        if kernel is not None:
            self.position = nn.Conv2d(heads, heads, (kernel, 1), padding=(kernel // 2, 0), groups=heads)

    def forward(
        self, tokens: Float[Tensor, "groups tokens dim"], real: Bool[Tensor, "groups tokens"] | None
    ) -> Float[Tensor, "groups tokens dim"]:
        query, key, value = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query = query / math.sqrt(query.shape[-1])
        if self.position is not None and real is not None:
            query = query * real[:, None, :, None]  # logits of 0, as the convolution's own padding
        logits = query @ key.mT
        if self.position is not None:
            logits = logits + self.position(logits)
        logits = _mask(logits, None if real is None else real[:, None, None])
        return self.dropout(self.out((logits.softmax(-1) @ value).transpose(1, 2).flatten(2)))


class _CrossRegion(nn.Module):
    """CR-MSA: slots of each region attend across the regions, and are given back to the region's tokens."""

    def __init__(self, dim: int, *, heads: int, slots: int, dropout: float):
        super().__init__()
        self.slots = nn.Parameter(nn.init.kaiming_uniform_(torch.empty(dim, slots), a=math.sqrt(5)))
        self.attention = _Attention(dim, heads=heads, dropout=dropout)

    def forward(
        self, tokens: Float[Tensor, "regions places dim"], regions: _Regions
    ) -> Float[Tensor, "regions places dim"]:
        logits = (tokens @ self.slots).mT  # (regions, slots, places)
        real = None if regions.real is None else regions.real[:, None]
        means, there = regions.per_bag(_mask(logits, real).softmax(-1) @ tokens)
        if there is not None:
            there = there.repeat_interleave(means.shape[1], 0)
        means = regions.per_region(self.attention(means.flatten(0, 1), there).unflatten(0, means.shape[:2]))
        low, high = -_mask(-logits, real).amax(-1, keepdim=True), _mask(logits, real).amax(-1, keepdim=True)
        spread = (high - low).clamp(min=torch.finfo(logits.dtype).eps)
        weights = (logits - low) / spread * logits.softmax(1)
        return weights.mT @ means


def _mask(logits: Tensor, real: Tensor | None) -> Tensor:
    """The lowest finite number where there is padding."""
    return logits if real is None else logits.masked_fill(~real, torch.finfo(logits.dtype).min)


@dataclass(frozen=True)
class _Layout:
    """How the bags of a batch fill grids of square regions: in groups of similar regions, and the way back."""

    groups: list[_Regions]
    back: Int[Tensor, " tiles"]

    @classmethod
    def of(cls, batch: BagBatch, *, regions: int) -> "_Layout":
        bags = [_grid(length, regions=regions) for length in batch.lengths]
        groups, numbers, device = [], [], batch.features.device
        for group in similar([bag.shape[1] for bag in bags], copies=[bag.shape[0] for bag in bags]):
            places = bags[group[0]].shape[1]
            shifted = [bags[bag].where(bags[bag] < 0, bags[bag] + batch.starts[bag]) for bag in group]
            rows = torch.cat([F.pad(bag, (0, places - bag.shape[1]), value=-1) for bag in shifted])
            padding = rows < 0
            real = on_device(~padding, device) if padding.any() else None
            counts = tuple(bags[bag].shape[0] for bag in group)
            groups.append(_Regions(on_device(rows.clamp(min=0), device), real, counts))
            numbers.append(rows.flatten())
        back = torch.cat(numbers).argsort()[-batch.starts[-1] :]  # padding sorts before the tiles
        return cls(groups, on_device(back, device))

    def apply(
        self, module: Callable[[Tensor, _Regions], Tensor], tiles: Float[Tensor, "tiles dim"]
    ) -> Float[Tensor, "tiles dim"]:
        """Run a module on the regions, group by group."""
        parts = [
            module(tiles.index_select(0, group.rows.flatten()).unflatten(0, group.rows.shape), group).flatten(0, 1)
            for group in self.groups
        ]
        return torch.cat(parts).index_select(0, self.back)


def _grid(tiles: int, *, regions: int) -> Int[Tensor, "regions places"]:
    """Numbers of the tiles in each region that has any, -1 where there is none; on the CPU."""
    width = math.isqrt(tiles - 1) + 1
    regions = max(1, min(regions, width // SMALLEST_SIDE))
    side = -(-width // regions)
    number = torch.arange((regions * side) ** 2).view(regions, side, regions, side).transpose(1, 2).reshape(-1, side**2)
    number = number[number[:, 0] < tiles]  # the first place of a region is the first to be filled
    return number.where(number < tiles, -1)


MODEL = RRT
