"""RRT-MIL: tiles are re-embedded by attention within regions, then across regions, before attention pooling."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from asmil.attention.normalizers import NORMALIZERS
from asmil.bags.bag import BagBatch
from asmil.models._layers import Projection, attention_weights, classifier, default_dim, pool, require
from asmil.models._output import MILOutput

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
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, batch: BagBatch) -> MILOutput:
        tiles = self._embed(batch)
        scores = self.score(tiles)
        weights = attention_weights(scores, batch, normalizer=self.normalizer)
        embedding = pool(weights, tiles, batch).squeeze(1)
        return MILOutput(self.classifier(embedding), weights.squeeze(1), embedding, scores)

    def attention_scores(self, batch: BagBatch) -> Float[Tensor, "tiles rows"]:
        """The scores alone, without what follows them: all that an anchor has to run."""
        return self.score(self._embed(batch))

    def _embed(self, batch: BagBatch) -> Float[Tensor, "tiles dim"]:
        bags = batch.split(self.projection(batch.features))
        return self.norm(torch.cat([self._embed_bag(bag) for bag in bags]))

    def _embed_bag(self, tiles: Float[Tensor, "tiles dim"]) -> Float[Tensor, "tiles dim"]:
        grid = _Grid.of(len(tiles), regions=self.regions)
        real = grid.real(tiles.device)
        embedded = tiles + grid.join(self.region(grid.split(self.region_norm(tiles)), real))
        embedded = embedded + grid.join(self.cross(grid.split(self.cross_norm(embedded)), real))
        return embedded + tiles if self.shortcut else embedded


class _Attention(nn.Module):
    """Multi-head self-attention within each group of tokens; with a kernel, its logits plus EPEG of them."""

    def __init__(self, dim: int, *, heads: int, kernel: int | None = None, dropout: float):
        super().__init__()
        what = "the width of the model must be a multiple of its heads"
        require(dim % heads == 0, what, found=f"dim={dim}, heads={heads}", fix="choose dim as a multiple of heads")
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)
        self.position = None
        if kernel is not None:
            self.position = nn.Conv2d(heads, heads, (kernel, 1), padding=(kernel // 2, 0), groups=heads)

    def forward(
        self, tokens: Float[Tensor, "groups tokens dim"], real: Bool[Tensor, "groups tokens"]
    ) -> Float[Tensor, "groups tokens dim"]:
        query, key, value = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        logits = query @ key.mT / math.sqrt(query.shape[-1])
        if self.position is not None:
            logits = logits.masked_fill(~real[:, None, :, None], 0)  # as the convolution's own padding
            logits = logits + self.position(logits)
        logits = _mask(logits, real[:, None, None])
        return self.dropout(self.out((logits.softmax(-1) @ value).transpose(1, 2).flatten(2)))


class _CrossRegion(nn.Module):
    """CR-MSA: slots of each region attend across the regions, and are given back to the region's tokens."""

    def __init__(self, dim: int, *, heads: int, slots: int, dropout: float):
        super().__init__()
        self.slots = nn.Parameter(nn.init.kaiming_uniform_(torch.empty(dim, slots), a=math.sqrt(5)))
        self.attention = _Attention(dim, heads=heads, dropout=dropout)

    def forward(
        self, tokens: Float[Tensor, "regions tokens dim"], real: Bool[Tensor, "regions tokens"]
    ) -> Float[Tensor, "regions tokens dim"]:
        logits = (tokens @ self.slots).mT  # (regions, slots, tokens)
        real = real[:, None]
        means = (_mask(logits, real).softmax(-1) @ tokens).transpose(0, 1)
        means = self.attention(means, real.new_ones(means.shape[:2])).transpose(0, 1)
        low, high = -_mask(-logits, real).amax(-1, keepdim=True), _mask(logits, real).amax(-1, keepdim=True)
        spread = (high - low).clamp(min=torch.finfo(logits.dtype).eps)
        weights = (logits - low) / spread * logits.softmax(1)
        return weights.mT @ means


def _mask(logits: Tensor, real: Tensor) -> Tensor:
    """The lowest finite number where there is padding."""
    return logits.masked_fill(~real, torch.finfo(logits.dtype).min)


@dataclass(frozen=True)
class _Grid:
    """How a bag of `tiles` fills a grid of square regions row by row: only regions with a tile are kept."""

    tiles: int
    regions: int  # along a row of the grid
    side: int  # of a region, in tiles

    @classmethod
    def of(cls, tiles: int, *, regions: int) -> "_Grid":
        width = math.isqrt(tiles - 1) + 1
        regions = max(1, min(regions, width // SMALLEST_SIDE))
        return cls(tiles, regions, -(-width // regions))

    def split(self, tiles: Float[Tensor, "tiles dim"]) -> Float[Tensor, "regions places dim"]:
        bands, width = self._bands, self.regions * self.side
        padded = F.pad(tiles, (0, 0, 0, bands * self.side * width - self.tiles))
        regions = padded.unflatten(0, (bands, self.side, self.regions, self.side)).transpose(1, 2)
        return regions.flatten(2, 3).flatten(0, 1)[: self._kept]

    def join(self, regions: Float[Tensor, "regions places dim"]) -> Float[Tensor, "tiles dim"]:
        bands = self._bands
        padded = F.pad(regions, (0, 0, 0, 0, 0, bands * self.regions - self._kept))
        grid = padded.unflatten(1, (self.side, self.side)).unflatten(0, (bands, self.regions)).transpose(1, 2)
        return grid.flatten(0, 3)[: self.tiles]

    def real(self, device: torch.device) -> Bool[Tensor, "regions places"]:
        return self.split(torch.ones(self.tiles, 1, device=device)).squeeze(2) > 0

    @property
    def _bands(self) -> int:
        """Rows of regions that hold a tile."""
        return -(-self.tiles // (self.regions * self.side * self.side))

    @property
    def _kept(self) -> int:
        """Regions that hold a tile: those of the full bands, and as many of the last as its first row reaches."""
        above = (self._bands - 1) * self.regions
        return above + min(self.regions, -(-(self.tiles - above * self.side * self.side) // self.side))


MODEL = RRT
