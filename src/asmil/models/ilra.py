"""ILRA-MIL: a few latent vectors carry information between all tiles, then a learned seed pools them."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from asmil.attention import NORMALIZERS
from asmil.bags import BagBatch
from asmil.models.parts.layers import (
    MILOutput,
    Projection,
    classifier,
    default_dim,
    require,
    require_heads,
    xavier_normal,
)

PAPER = (
    "Exploring Low-Rank Property in Multiple Instance Learning for Whole Slide Image Classification, ICLR 2023, "
    "openreview.net/forum?id=01KmhBsEPFO"
)
ALIGNED = "The attention of every seed and head of the non-local pooling."


class AttentionBlock(nn.Module):
    """Multi-head attention of queries over inputs, residuals, a ReLU layer, and a gate from the queries.

    q = W_q Q; O = LN(q + MHA(q, X)); O = LN(O + ReLU(W_o O)); with `gated`, O * SiLU(W_g Q). Keys and values are
    one linear map of the inputs each: the published code has two in a row, which are one. Keys have no bias, as
    the softmax cannot see it.
    """

    def __init__(self, dim: int, *, heads: int, gated: bool, norm: bool):
        super().__init__()
        self.heads = heads
        self.fc_q, self.query, self.value, self.out, self.fc_o = (nn.Linear(dim, dim) for _ in range(5))
        self.key = nn.Linear(dim, dim, bias=False)
        self.gate = nn.Linear(dim, dim) if gated else None
        self.norms = nn.ModuleList(nn.LayerNorm(dim) if norm else nn.Identity() for _ in range(2))

    def forward(
        self,
        queries: Float[Tensor, "queries dim"],
        inputs: Float[Tensor, "inputs dim"],
        *,
        lengths: tuple[tuple[int, ...], tuple[int, ...]],
    ) -> Float[Tensor, "queries dim"]:
        """Queries of each bag over the inputs of that bag; `lengths` are their numbers per bag."""
        base = self.fc_q(queries)
        parts = zip(
            self._heads_first(self.query(base)).split(lengths[0], dim=1),
            self._heads_first(self.key(inputs)).split(lengths[1], dim=1),
            self._heads_first(self.value(inputs)).split(lengths[1], dim=1),
            strict=True,
        )
        read = torch.cat([F.scaled_dot_product_attention(q, k, v) for q, k, v in parts], dim=1)
        return self.finish(queries, base, read.transpose(0, 1).flatten(1))

    def scores(
        self, queries: Float[Tensor, "queries dim"], inputs: Float[Tensor, "inputs dim"]
    ) -> Float[Tensor, "inputs rows"]:
        """Attention of the queries over all inputs before normalisation, rows = queries x heads."""
        query = self._heads_first(self.query(self.fc_q(queries)))
        key = self._heads_first(self.key(inputs))
        return torch.einsum("hnd,hqd->nqh", key, query).flatten(1) / math.sqrt(query.shape[-1])

    def finish(self, queries: Tensor, base: Tensor, read: Tensor) -> Tensor:
        """Everything after the attention, on `read` (..., dim), the heads' outputs side by side."""
        out = self.norms[0](base + self.out(read))
        out = self.norms[1](out + F.relu(self.fc_o(out)))
        return out if self.gate is None else out * F.silu(self.gate(queries))

    def _heads_first(self, vectors: Float[Tensor, "rows dim"]) -> Float[Tensor, "heads rows head_dim"]:
        return vectors.unflatten(-1, (self.heads, -1)).transpose(0, 1)


class GatedBlock(nn.Module):
    """GAB: latents read the tiles of a bag, then each tile reads the latents; both gated, cost linear in tiles."""

    def __init__(self, dim: int, *, latents: int, heads: int, norm: bool):
        super().__init__()
        self.latents = nn.Parameter(nn.init.xavier_uniform_(torch.empty(latents, dim)))
        self.gather = AttentionBlock(dim, heads=heads, gated=True, norm=norm)
        self.scatter = AttentionBlock(dim, heads=heads, gated=True, norm=norm)

    def forward(self, tiles: Float[Tensor, "tiles dim"], batch: BagBatch) -> Float[Tensor, "tiles dim"]:
        """New tiles, each bag on its own."""
        latents = (len(self.latents),) * len(batch)
        summary = self.gather(self.latents.repeat(len(batch), 1), tiles, lengths=(latents, batch.lengths))
        return self.scatter(tiles, summary, lengths=(batch.lengths, latents))


class ILRA(nn.Module):
    """ILRA-MIL of Xiang & Zhang 2023: `layers` gated attention blocks with low-rank latents, non-local pooling.

    `latents` is the rank r, `seeds` the number of pooling queries, whose outputs are averaged; `norm` adds the
    LayerNorms. Of the two published settings (r = 1 without, r = 64 with LayerNorm) the second is the default;
    2 layers, 8 heads and at most 256 features are those of both. With r = 1 the tiles have nothing to choose from:
    their query and key learn nothing. Linear layers start with xavier_normal.

    Ours: a projection with ReLU and feature dropout comes first, where the published first block takes the
    features as they are; the low-rank pre-training of features is not part of the model.

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
        layers: int = 2,
        latents: int = 64,
        seeds: int = 1,
        heads: int = 8,
        norm: bool = True,
        dropout: float = 0.25,
        attention_normalizer: str = "softmax",
    ):
        super().__init__()
        dim = min(256, default_dim(in_dim)) if dim is None else dim
        counts = {"layers": layers, "latents": latents, "seeds": seeds, "heads": heads}
        require(
            min(counts.values()) > 0, "ilra needs at least one of each", found=counts, fix="2, 64, 1 and 8 are usual"
        )
        require_heads(dim, heads)
        self.normalizer = NORMALIZERS[attention_normalizer]
        self.projection = Projection(in_dim, dim, bias=True, dropout=dropout)
        self.blocks = nn.ModuleList(GatedBlock(dim, latents=latents, heads=heads, norm=norm) for _ in range(layers))
        self.seeds = nn.Parameter(nn.init.xavier_uniform_(torch.empty(seeds, dim)))
        self.pooling = AttentionBlock(dim, heads=heads, gated=False, norm=norm)
        self.classifier = classifier(dim, n_classes)
        self.apply(xavier_normal)

    def forward(self, batch: BagBatch) -> MILOutput:
        tiles = self._mix(batch)
        scores = self.pooling.scores(self.seeds, tiles)
        weights = self.normalizer(scores, batch.layout)
        embedding = self._pool(weights, tiles, batch)
        return MILOutput(self.classifier(embedding), weights.mean(1), embedding, scores)

    def attention_scores(self, batch: BagBatch) -> Float[Tensor, "tiles rows"]:
        """The scores of the pooling alone."""
        return self.pooling.scores(self.seeds, self._mix(batch))

    def _mix(self, batch: BagBatch) -> Float[Tensor, "tiles dim"]:
        tiles = self.projection(batch.features)
        for block in self.blocks:
            tiles = block(tiles, batch)
        return tiles

    def _pool(
        self, weights: Float[Tensor, "tiles rows"], tiles: Float[Tensor, "tiles dim"], batch: BagBatch
    ) -> Float[Tensor, "bags dim"]:
        """The mean over the seeds of what they read in each bag."""
        block = self.pooling
        values = block.value(tiles).unflatten(1, (block.heads, -1))
        rows = weights.to(values.dtype).unflatten(1, (-1, block.heads))
        pairs = zip(batch.split(rows), batch.split(values), strict=True)
        read = torch.stack([torch.einsum("nqh,nhd->qhd", row, value).flatten(1) for row, value in pairs])
        return block.finish(self.seeds, block.fc_q(self.seeds), read).mean(1)


MODEL = ILRA
