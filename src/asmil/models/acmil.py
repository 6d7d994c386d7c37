"""ACMIL: several attention rows that must differ, their strongest tiles randomly masked in training."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from asmil.attention import softmax
from asmil.bags import BagBatch
from asmil.draws import uniform
from asmil.models.parts.layers import (
    CrossAttention,
    Dropout,
    GatedAttention,
    MILOutput,
    Projection,
    classifier,
    default_dim,
    pool,
    require,
)

PAPER = (
    "Attention-Challenging Multiple Instance Learning for Whole Slide Image Classification, ECCV 2024, arXiv 2311.07125"
)
ALIGNED = "The attention of each token over the tiles (multihead: of each head too), before the random masking."


class ACMIL(nn.Module):
    """Multiple-branch attention and stochastic top-k instance masking (STKIM).

    `tokens` attention rows each pool the tiles and have their own classifier; the slide's classifier reads the tiles
    pooled by the mean of the rows. In training each row loses int(`masked_tiles` * `mask_drop`) tiles, random ones of
    its `masked_tiles` strongest; in a shorter bag `masked_tiles` is the number of tiles, and one always stays. Losses:
    "tokens", the mean cross-entropy of the tokens' classifiers, and "diversity", the mean cosine of the masked
    weights over pairs of tokens; both of weight 1.

    `attention="gated"` is gated attention with `hidden` units and a row per token. "multihead" has a trainable token
    per row with its own 8-head cross-attention; cosines are per head, and the slide's branch has its own value and
    output projections over the tokens' mean attention of each head, then dropout .1 and LayerNorm as the tokens have.

    `mask_drop=0` is often as good (the authors' note). `scores` are before the masking, so the stabilizer aligns all
    tiles: the masks are random picks among a branch's own strongest tiles, one mask for both branches is needed, and
    no mask leaves none of the tiles that matter most unaligned; it also needs no random numbers in the anchor.

    Deviations: `dropout` of the embedded tiles is .25 as in our other models, theirs 0. One token is refused: their
    loss leaves the tokens' part out there, which makes the model `abmil`.

    Raises:
        ConfigError: an option out of its range.
    """

    def __init__(
        self,
        in_dim: int,
        n_classes: int,
        *,
        dim: int | None = None,
        attention: str = "gated",
        tokens: int = 5,
        hidden: int = 128,
        masked_tiles: int = 10,
        mask_drop: float = 0.6,
        dropout: float = 0.25,
    ):
        super().__init__()
        kinds = ("gated", "multihead")
        require(attention in kinds, "there is no such attention of acmil", found=attention, fix=f"use one of {kinds}")
        require(tokens > 1, "acmil needs at least two tokens", found=tokens, fix="5 is usual; one token is abmil")
        require(masked_tiles >= 0, "masked_tiles is a number of tiles", found=masked_tiles, fix="10 is usual, 0 none")
        require(0 <= mask_drop < 1, "mask_drop is a share in [0, 1)", found=mask_drop, fix="0.6 is usual, 0 none")
        dim = default_dim(in_dim) if dim is None else dim
        self.masked_tiles, self.mask_drop = masked_tiles, mask_drop
        self.projection = Projection(in_dim, dim, bias=False, dropout=dropout)
        self.branches: _GatedBranches | _HeadedBranches
        if attention == "gated":
            self.branches = _GatedBranches(dim, tokens, hidden=hidden)
        else:
            self.branches = _HeadedBranches(dim, tokens)
        self.token_classifiers = nn.ModuleList(classifier(dim, n_classes) for _ in range(tokens))
        self.classifier = classifier(dim, n_classes)

    def forward(self, batch: BagBatch) -> MILOutput:
        tiles = self.projection(batch.features)
        scores = self.branches.scores(tiles)
        layout = batch.layout.masked(self._keep(scores, batch)) if self.training else batch.layout
        weights = softmax(scores, layout)
        tokens, embedding = self.branches.read(pool(weights, tiles, batch.layout))
        losses = {}
        if self.training:
            losses["diversity"] = torch.stack([self._cosine(bag) for bag in batch.split(weights)])
            if batch.labels is not None:
                pairs = zip(self.token_classifiers, tokens.unbind(1), strict=True)
                logits = torch.stack([head(token) for head, token in pairs], 2).float()
                labels = batch.labels[:, None].expand(-1, logits.shape[2])
                losses["tokens"] = F.cross_entropy(logits, labels, reduction="none").mean(1)
        return MILOutput(self.classifier(embedding), weights.mean(1), embedding, scores, losses)

    def attention_scores(self, batch: BagBatch) -> Float[Tensor, "tiles rows"]:
        """The scores alone, without what follows them: all that an anchor has to run."""
        return self.branches.scores(self.projection(batch.features))

    def _keep(self, scores: Float[Tensor, "tiles rows"], batch: BagBatch) -> Bool[Tensor, "tiles rows"]:
        """False where STKIM masks: in each row a random share of the strongest tiles of each bag."""
        keep = []
        for bag in batch.split(scores.detach()):
            strongest = bag.topk(min(self.masked_tiles, len(bag)), dim=0).indices
            dropped = int(len(strongest) * self.mask_drop)
            lot = uniform(strongest.shape, bag.device).topk(dropped, dim=0).indices
            keep.append(torch.ones_like(bag, dtype=torch.bool).scatter(0, strongest.gather(0, lot), False))
        return torch.cat(keep)

    def _cosine(self, weights: Float[Tensor, "tiles rows"]) -> Float[Tensor, ""]:
        """Mean cosine of a bag's rows over all pairs of tokens, and over heads."""
        count = len(self.token_classifiers)
        rows = F.normalize(weights.unflatten(1, (count, -1)), dim=0)
        cosines = torch.einsum("nth,nsh->tsh", rows, rows).mean(2)
        return cosines.triu(1).sum() / (count * (count - 1) / 2)


class _GatedBranches(nn.Module):
    """Gated attention with a row per token."""

    def __init__(self, dim: int, tokens: int, *, hidden: int):
        super().__init__()
        self.scores = GatedAttention(dim, hidden, rows=tokens)

    def read(
        self, pooled: Float[Tensor, "bags tokens dim"]
    ) -> tuple[Float[Tensor, "bags tokens dim"], Float[Tensor, "bags dim"]]:
        """What the tokens' classifiers and the slide's see of what each row pooled."""
        return pooled, pooled.mean(1)  # the mean row pools the mean of what the rows pool


class _HeadedBranches(nn.Module):
    """Cross-attention with its own weights per token, and the slide's projections of the mean attention."""

    def __init__(self, dim: int, tokens: int, *, heads: int = 8, dropout: float = 0.1):
        super().__init__()
        self.attend = CrossAttention(dim, tokens=tokens, heads=heads, sets=tokens, token_std=1e-6, dropout=dropout)
        self.value = nn.Linear(dim, dim)
        self.out = nn.Linear(dim, dim)
        self.dropout = Dropout(dropout)
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def scores(self, tiles: Float[Tensor, "tiles dim"]) -> Float[Tensor, "tiles rows"]:
        """A column per token and head, token-major."""
        return self.attend.scores(tiles)

    def read(
        self, pooled: Float[Tensor, "bags rows dim"]
    ) -> tuple[Float[Tensor, "bags tokens dim"], Float[Tensor, "bags dim"]]:
        """What the tokens' classifiers and the slide's see of what each row pooled."""
        heads = self.attend.heads
        slide = pooled.unflatten(1, (-1, heads)).mean(1)
        weight = self.value.weight.unflatten(0, (heads, -1))
        values = torch.einsum("bhi,hoi->bho", slide, weight).flatten(1) + self.value.bias
        return self.attend.read(pooled), self.norm(self.dropout(self.out(values)))


MODEL = ACMIL
