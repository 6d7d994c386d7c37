"""What the two CLAM models share: the instance loss, and all but the number of rows."""

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from asmil.attention import NORMALIZERS
from asmil.bags import BagBatch
from asmil.models.parts.layers import GatedAttention, MILOutput, Projection, classifier, default_dim, pool, require

MARGINS = {"svm": 1.0, "ce": 0.0}


class InstanceLoss(nn.Module):
    """CLAM's clustering of the most and least attended tiles, with a two-way classifier for each class.

    For the bag's own class the k most attended tiles are positive and the k least attended negative; with
    `subtyping` the k most attended are also negative for every other class, and the sum over classes is divided
    by their number. k is clipped to half the bag; a bag of one tile gives one positive.

    `loss="svm"` is the smooth top-1 SVM of Berrada et al. 2018 (arXiv 1802.07595) with margin and temperature 1. For
    logits s, target y and the other class o it is log(exp(s_y) + exp(s_o + 1)) - s_y = softplus(1 + s_o - s_y):
    cross-entropy ("ce", softplus(s_o - s_y)) with a margin.

    Source: Lu et al. 2021 (arXiv 2004.09666), Methods, "Instance-level clustering".
    """

    def __init__(self, dim: int, n_classes: int, *, k: int, loss: str, subtyping: bool):
        super().__init__()
        require(k > 0, "the instance loss needs tiles of each kind", found=k, fix="8 is the paper's k")
        require(loss in MARGINS, "there is no such instance loss", found=loss, fix=f"use one of {tuple(MARGINS)}")
        self.k, self.margin, self.subtyping = k, MARGINS[loss], subtyping
        self.n_classes = n_classes
        self.linear = nn.Linear(dim, 2 * n_classes)

    def forward(
        self, tiles: Float[Tensor, "tiles dim"], weights: Float[Tensor, "tiles rows"], batch: BagBatch
    ) -> Float[Tensor, " bags"]:
        """The loss of each labelled bag; `weights` are its attention, one row for all classes or one row each."""
        own = cast(Tensor, batch.labels)[:, None] == torch.arange(self.n_classes, device=tiles.device)
        bags = zip(batch.split(tiles), batch.split(weights.detach()), own, strict=True)
        return torch.stack([self._of_bag(*bag) for bag in bags])

    def _of_bag(self, tiles: Tensor, weights: Tensor, own: Tensor) -> Tensor:
        half = len(tiles) // 2
        most = self._evidence(tiles, weights.topk(min(self.k, max(half, 1)), dim=0).indices)
        least = self._evidence(tiles, weights.topk(min(self.k, half), dim=0, largest=False).indices)
        positive, negative = F.softplus(self.margin - most), F.softplus(self.margin + least)
        per_class = torch.cat([positive, negative]).mean(0) * own
        if not self.subtyping:
            return per_class.sum()
        others = F.softplus(self.margin + most).mean(0) * ~own
        return (per_class + others).sum() / self.n_classes

    def _evidence(self, tiles: Tensor, index: Tensor) -> Float[Tensor, "k classes"]:
        """Logit of "positive" minus that of "negative" of the chosen tiles, for each class."""
        weight, bias = self.linear.weight.unflatten(0, (-1, 2)), self.linear.bias.unflatten(0, (-1, 2))
        return (tiles[index] * (weight[:, 1] - weight[:, 0])).sum(-1) + (bias[:, 1] - bias[:, 0])


class CLAM(nn.Module):
    """CLAM with one attention row for all classes, or (`per_class`) one for each."""

    per_class: bool

    def __init__(
        self,
        in_dim: int,
        n_classes: int,
        *,
        dim: int | None = None,
        hidden: int | None = None,
        dropout: float = 0.25,
        k: int = 8,
        instance_loss: str = "svm",
        subtyping: bool = False,
        bag_weight: float = 0.7,
        attention_normalizer: str = "softmax",
    ):
        super().__init__()
        dim = default_dim(in_dim) if dim is None else dim
        hidden = dim // 2 if hidden is None else hidden
        require(0 < bag_weight <= 1, "bag_weight is a share in (0, 1]", found=bag_weight, fix="0.7 is the paper's")
        self.instance_weight = (1 - bag_weight) / bag_weight
        self.normalizer = NORMALIZERS[attention_normalizer]
        self.projection = Projection(in_dim, dim, bias=True, dropout=dropout)
        self.attention = GatedAttention(dim, hidden, rows=n_classes if self.per_class else 1, dropout=dropout)
        self.classifier = classifier(dim, n_classes)
        self.instances = InstanceLoss(dim, n_classes, k=k, loss=instance_loss, subtyping=subtyping)

    def forward(self, batch: BagBatch) -> MILOutput:
        tiles = self.projection(batch.features)
        scores = self.attention(tiles)
        weights = self.normalizer(scores, batch.layout)
        pooled = pool(weights, tiles, batch.layout)
        # Each class reads its own row, or all classes the only one.
        logits = (pooled * self.classifier.weight).sum(-1) + self.classifier.bias
        losses = {}
        if self.training and batch.labels is not None:
            losses["instances"] = self.instance_weight * self.instances(tiles, weights, batch)
        return MILOutput(logits, weights.mean(1), pooled.flatten(1), scores, losses)

    def attention_scores(self, batch: BagBatch) -> Float[Tensor, "tiles rows"]:
        """The scores alone, without what follows them: all that an anchor has to run."""
        return self.attention(self.projection(batch.features))
