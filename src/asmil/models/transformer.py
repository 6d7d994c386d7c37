"""Transformer: tiles attend to each other, and a class token reads them."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from asmil.attention import NORMALIZERS
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
)

PAPER = (
    "Transformer-based biomarker prediction from colorectal cancer histology, Cancer Cell 2023, arXiv 2301.09617; "
    "blocks of Attention Is All You Need, NeurIPS 2017, arXiv 1706.03762"
)
ALIGNED = "The class token's attention over the tiles in the last block, each head."


class Transformer(nn.Module):
    """Pre-norm transformer blocks over a class token and the tiles of a bag; the class token is classified.

    x = ReLU(W f + b); `depth` blocks of t + Attention(LN t), t + MLP(LN t) with `heads` heads (Vaswani et al. 2017,
    eq. 1) and an MLP of four times the width with GELU; LN and a linear classifier on the class token. There are no
    positions. `scores` are the class token's in the last block, one column per head, and the bag's map is the mean
    of their softmaxes. `dropout` acts behind attention and MLP, `feature_dropout` on x.

    Deviations: in the last block only the class token is computed, as nothing else is read, and it attends to the tiles
    but not to itself (it keeps itself through the residual), so that its attention is a distribution over tiles; no
    dropout on attention weights, which would need the (tiles x tiles) matrix. Layers start as torch's default.

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
        depth: int = 2,
        heads: int = 8,
        dropout: float = 0.25,
        feature_dropout: float = 0.25,
        attention_normalizer: str = "softmax",
    ):
        super().__init__()
        dim = default_dim(in_dim) if dim is None else dim
        require(depth > 0, "a transformer needs blocks", found=depth, fix="2 is usual")
        require_heads(dim, heads)
        require(0 <= dropout < 1, "dropout is a share in [0, 1)", found=dropout, fix="0.25 is usual, 0 is none")
        self.normalizer = NORMALIZERS[attention_normalizer]
        self.projection = Projection(in_dim, dim, bias=True, dropout=feature_dropout)
        self.cls = nn.Parameter(torch.randn(1, dim))
        blocks = [_Block(dim, heads=heads, dropout=dropout) for _ in range(depth)]
        self.blocks, self.last = nn.ModuleList(blocks[:-1]), blocks[-1]
        self.norm = nn.LayerNorm(dim)
        self.classifier = classifier(dim, n_classes)

    def forward(self, batch: BagBatch) -> MILOutput:
        cls, tiles = self._read_tiles(batch)
        scores = self.last.scores(cls, tiles, batch)
        weights = self.normalizer(scores, batch.layout)
        embedding = self.norm(self.last.read(cls, pool(weights, tiles, batch.layout)))
        return MILOutput(self.classifier(embedding), weights.mean(1), embedding, scores)

    def attention_scores(self, batch: BagBatch) -> Float[Tensor, "tiles heads"]:
        """The scores alone, without what follows them: all that an anchor has to run."""
        return self.last.scores(*self._read_tiles(batch), batch)

    def _read_tiles(self, batch: BagBatch) -> tuple[Float[Tensor, "bags dim"], Float[Tensor, "tiles dim"]]:
        """The class tokens before the last block, and the tiles as it sees them (its norm applied)."""
        bags = batch.split(self.projection(batch.features))
        tokens = torch.cat([part for bag in bags for part in (self.cls, bag)])
        lengths = [length + 1 for length in batch.lengths]
        for block in self.blocks:
            tokens = block(tokens, lengths)
        bags = tokens.split(lengths)
        cls, tiles = torch.stack([bag[0] for bag in bags]), torch.cat([bag[1:] for bag in bags])
        return cls, self.last.norm(tiles)


class _Block(nn.Module):
    """One pre-norm block: over all tokens of each bag (`forward`), or for its class token only.

    The class token alone needs neither keys nor values of the tiles: as in `CrossAttention`, W_k moves to the query's
    side and W_v behind the pooling.
    """

    def __init__(self, dim: int, *, heads: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.query, self.key, self.value = (nn.Linear(dim, dim) for _ in range(3))
        self.out = nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))
        self.dropout = Dropout(dropout)

    def forward(self, tokens: Float[Tensor, "tokens dim"], lengths: list[int]) -> Float[Tensor, "tokens dim"]:
        """All tokens, packed; every token attends to those of its own bag, `lengths` tokens each."""
        normed = self.norm(tokens)
        parts = [self._split(layer(normed)).split(lengths) for layer in (self.query, self.key, self.value)]
        attended = []
        for bag in zip(*parts, strict=True):
            query, key, value = (part.transpose(0, 1).unsqueeze(0) for part in bag)  # (1, heads, tokens, head_dim)
            attended.append(F.scaled_dot_product_attention(query, key, value)[0].transpose(0, 1))
        return self._finish(tokens, torch.cat(attended).flatten(1))

    def scores(
        self, cls: Float[Tensor, "bags dim"], tiles: Float[Tensor, "tiles dim"], batch: BagBatch
    ) -> Float[Tensor, "tiles heads"]:
        """Scores of each bag's class token over its tiles, which are normed already."""
        query = self._split(self.query(self.norm(cls)))
        query = query / math.sqrt(query.shape[-1])
        weights = torch.einsum("bha,had->bhd", query, self._split_weight(self.key))
        levels = (query * self._split(self.key.bias)).sum(-1)
        bags = zip(batch.split(tiles), weights, levels, strict=True)
        return torch.cat([F.linear(bag, weight, level) for bag, weight, level in bags])

    def read(
        self, cls: Float[Tensor, "bags dim"], pooled: Float[Tensor, "bags heads dim"]
    ) -> Float[Tensor, "bags dim"]:
        """The class tokens after the block, from what each head pooled of the normed tiles."""
        values = torch.einsum("bhd,had->bha", pooled, self._split_weight(self.value)) + self._split(self.value.bias)
        return self._finish(cls, values.flatten(1))

    def _finish(self, tokens: Tensor, attended: Tensor) -> Tensor:
        tokens = tokens + self.dropout(self.out(attended))
        return tokens + self.dropout(self.mlp(tokens))

    def _split(self, vectors: Tensor) -> Tensor:
        return vectors.unflatten(-1, (self.heads, -1))

    def _split_weight(self, linear: nn.Linear) -> Float[Tensor, "heads head_dim dim"]:
        return linear.weight.unflatten(0, (self.heads, -1))


MODEL = Transformer
