"""DTFD-MIL: a bag is split into pseudo-bags, and a second attention classifies what the first distilled from each."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from asmil.attention import Packed, softmax
from asmil.bags import BagBatch
from asmil.draws import permutation
from asmil.models.parts.layers import GatedAttention, MILOutput, Projection, classifier, default_dim, pool, require

PAPER = (
    "DTFD-MIL: Double-Tier Feature Distillation Multiple Instance Learning for Histopathology Whole Slide Image "
    "Classification, CVPR 2022, arXiv 2203.12081"
)
ALIGNED = "The tier-1 attention within each pseudo-bag; both branches see the same random split."
NEEDS_CLASSES = "its first tier learns from class labels alone"

_DISTILLED = {"afs": 1, "maxs": 1, "maxmins": 2}  # instances from each pseudo-bag


class DTFD(nn.Module):
    """Two tiers of gated attention, the second over what the first distilled from each of `groups` pseudo-bags.

    Tier 1 pools and classifies each pseudo-bag as if it were a bag. `distill` says what goes on to tier 2: "afs" the
    pooled feature, "maxs" the tile whose own contribution a h looks most like the class (softmax over classes of
    W a h, W the tier-1 classifier without its bias), "maxmins" that tile and the one that looks least like it. With
    two classes "the class" is the last one, as published; with more it is the tile's most probable one, ours.

    `logits` are tier 2's; the loss "tier1" is the mean cross-entropy of the bag's pseudo-bags, weight 1. The
    distilled features are detached: the authors' two optimisers throw away the gradient of tier 2 in tier 1, so one
    backward pass of the sum is the same, but for clipping, theirs being per tier.

    Deviations: in evaluation tile i of a bag is in pseudo-bag i mod `groups` (the authors split at random there too),
    so the result depends on the order of tiles, a little. `dropout` of the embedded tiles is .25 as in our other
    models, theirs 0. A bag shorter than `groups` has a pseudo-bag for each tile.

    `attention` is a tile's tier-1 weight in its pseudo-bag times the pseudo-bag's tier-2 weight, whatever `distill`
    is. The split changes only what `scores` are normalised over, not the scores: `score_order` and `score_layout`
    tell it.

    Raises:
        ConfigError: an option out of its range.
    """

    def __init__(
        self,
        in_dim: int,
        n_classes: int,
        *,
        dim: int | None = None,
        hidden: int = 128,
        groups: int = 4,
        distill: str = "afs",
        dropout: float = 0.25,
    ):
        super().__init__()
        require(groups > 0, "dtfd needs at least one pseudo-bag", found=groups, fix="4 is the paper's number")
        require(
            distill in _DISTILLED,
            "there is no such distillation in dtfd",
            found=distill,
            fix=f"use one of {tuple(_DISTILLED)}",
        )
        dim = default_dim(in_dim) if dim is None else dim
        self.groups, self.distill = groups, distill
        self.projection = Projection(in_dim, dim, bias=False, dropout=dropout)
        self.tier1 = _Tier(dim, n_classes, hidden=hidden)
        self.tier2 = _Tier(dim, n_classes, hidden=hidden)

    def forward(self, batch: BagBatch) -> MILOutput:
        tiles = self.projection(batch.features)
        scores = self.tier1.attention(tiles)
        order, lengths = self._split(batch)
        pseudo_bags = _packed(tiles.index_select(0, order), lengths)
        weights = softmax(scores[order], pseudo_bags.layout)
        pooled = pool(weights, pseudo_bags.features, pseudo_bags.layout).squeeze(1)

        distilled = self._distil(weights, pooled, pseudo_bags).detach()
        counts = [min(self.groups, length) for length in batch.lengths]
        second = _packed(distilled.flatten(0, 1), [count * distilled.shape[1] for count in counts])
        shares = softmax(self.tier2.attention(second.features), second.layout)
        embedding = pool(shares, second.features, second.layout).squeeze(1)

        share = shares.reshape(distilled.shape[:2]).sum(1)
        attention = weights.squeeze(1) * share[pseudo_bags.bag_of_tile]
        losses = {}
        if self.training and batch.labels is not None:
            parts = self.tier1.classifier(pooled).float().split(counts)
            targets = [label.expand(count) for label, count in zip(batch.labels, counts, strict=True)]
            losses["tier1"] = torch.stack([F.cross_entropy(*pair) for pair in zip(parts, targets, strict=True)])
        return MILOutput(
            self.tier2.classifier(embedding),
            torch.zeros_like(attention).scatter(0, order, attention),
            embedding,
            scores,
            losses,
            score_layout=pseudo_bags.layout,
            score_order=order,
        )

    def attention_scores(self, batch: BagBatch) -> Float[Tensor, "tiles rows"]:
        """The tier-1 scores alone, in the order of the tiles: the same under every split."""
        return self.tier1.attention(self.projection(batch.features))

    def evidence(self, batch: BagBatch) -> Float[Tensor, "tiles classes"]:
        """Of one bag: what each tile has of what tier 2 pools, times the weights of tier 2.

        Which tiles are distilled, and how much tier 2 gives each pseudo-bag, are taken as they are.
        """
        tiles = self.projection(batch.features)
        order, lengths = self._split(batch)
        pseudo_bags = _packed(tiles.index_select(0, order), lengths)
        weights = softmax(self.tier1.attention(tiles)[order], pseudo_bags.layout)
        pooled = pool(weights, pseudo_bags.features, pseudo_bags.layout).squeeze(1)
        distilled = self._distil(weights, pooled, pseudo_bags).flatten(0, 1)
        shares = softmax(self.tier2.attention(distilled), Packed([len(distilled)], device=tiles.device))
        if self.distill == "afs":
            held = weights * shares[pseudo_bags.bag_of_tile]
        else:  # the tiles that are what was distilled, by their place
            which = self._chosen(weights, pseudo_bags).flatten()
            held = torch.zeros_like(weights).index_add(0, which, shares)
        return torch.zeros_like(held).index_copy(0, order, held) * (tiles @ self.tier2.classifier.weight.T)

    def _split(self, batch: BagBatch) -> tuple[Int[Tensor, " tiles"], list[int]]:
        """The tiles in the order of the pseudo-bags, and how many each has: equally many, but for one."""
        order: list[Tensor] = []
        device = batch.features.device
        for start, length in zip(batch.starts, batch.lengths, strict=False):
            index = permutation(length, device) if self.training else torch.arange(length, device=device)
            order.extend(start + index[group :: self.groups] for group in range(min(self.groups, length)))
        return torch.cat(order), [len(part) for part in order]

    def _distil(
        self, weights: Float[Tensor, "tiles 1"], pooled: Float[Tensor, "pseudo dim"], pseudo_bags: BagBatch
    ) -> Float[Tensor, "pseudo instances dim"]:
        """The instances of each pseudo-bag that tier 2 sees."""
        if self.distill == "afs":
            return pooled.unsqueeze(1)
        return pseudo_bags.features[self._chosen(weights, pseudo_bags)]

    def _chosen(self, weights: Float[Tensor, "tiles 1"], pseudo_bags: BagBatch) -> Int[Tensor, "pseudo instances"]:
        """The rows of the tiles of each pseudo-bag that look most (and least) like the class."""
        weight = self.tier1.classifier.weight
        probability = F.linear(weights * pseudo_bags.features, weight.to(weights.dtype)).softmax(1)
        likeness = probability[:, -1] if probability.shape[1] == 2 else probability.amax(1)
        chosen = []
        for like, start in zip(pseudo_bags.split(likeness), pseudo_bags.starts, strict=False):
            ends = [like.topk(1, largest=largest).indices for largest in (True, False)]
            chosen.append(start + torch.cat(ends[: _DISTILLED[self.distill]]))
        return torch.stack(chosen)


class _Tier(nn.Module):
    """Gated attention and a classifier."""

    def __init__(self, dim: int, n_classes: int, *, hidden: int):
        super().__init__()
        self.attention = GatedAttention(dim, hidden)
        self.classifier = classifier(dim, n_classes)


def _packed(rows: Float[Tensor, "rows dim"], lengths: list[int]) -> BagBatch:
    """Rows as bags of these lengths."""
    return BagBatch(rows, Packed(lengths, device=rows.device))


MODEL = DTFD
