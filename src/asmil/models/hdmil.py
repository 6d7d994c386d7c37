"""HDMIL: a pooling for each class learns to do with the tiles that a learned mask keeps."""

import math
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from asmil.attention import NORMALIZERS
from asmil.bags import BagBatch
from asmil.draws import uniform
from asmil.models.parts.clam import InstanceLoss
from asmil.models.parts.layers import GatedAttention, MILOutput, Projection, default_dim, pool, require

PAPER = (
    "Fast and Accurate Gigapixel Pathological Image Classification with Hierarchical Distillation Multi-Instance "
    "Learning, CVPR 2025, arXiv 2502.21130"
)
ALIGNED = "The attention of each class over all tiles, before the mask."
NEEDS_CLASSES = "it is distilled from its own class probabilities, and its instance loss needs class labels"

BAG_WEIGHT = 0.7  # the published weights; the cross-entropy's is 1 here, so all others are divided by it
WEIGHTS = {"logits": 0.5, "features": 0.5, "kept": 2.0, "instances": 0.3}
LEAST = 1e-12  # attention mass below which a mask is taken to have kept nothing


class ChebyshevClassifier(nn.Module):
    """Logit of class c: sum over features d and orders k of w_kcd T_k(tanh(M_cd)), T_k Chebyshev's polynomials.

    (bags, classes, dim) -> (bags, classes). A Kolmogorov-Arnold layer for each class. It works in the type of its
    weights, also under autocast: bfloat16 is too coarse for the recurrence.
    """

    def __init__(self, dim: int, n_classes: int, *, degree: int):
        super().__init__()
        require(degree > 0, "a Chebyshev classifier needs a degree", found=degree, fix="12 or 16 are the paper's")
        require(n_classes > 0, "a model needs classes", found=n_classes, fix="check n_classes")
        std = math.sqrt(2 / ((degree + 1) * (dim + 1)))  # xavier_normal of one class's (dim, 1, degree + 1)
        self.weight = nn.Parameter(torch.randn(degree + 1, n_classes, dim).mul_(std))

    def forward(self, pooled: Float[Tensor, "bags classes dim"]) -> Float[Tensor, "bags classes"]:
        x = torch.tanh(pooled.to(self.weight.dtype))
        terms = [torch.ones_like(x), x]
        for _ in range(len(self.weight) - 2):
            terms.append(2 * x * terms[-1] - terms[-2])
        return sum(((term * w).sum(-1) for term, w in zip(terms, self.weight, strict=True)), start=x.new_zeros(()))


class HDMIL(nn.Module):
    """The bag branch of HDMIL (DMIN, Dong et al. 2025, section on self-distillation) without its thumbnail network.

    Each class has an attention row and a Chebyshev classifier of `degree`. A mask for each class and tile is sampled
    from the scores by a Gumbel sigmoid (`temperature`), hard forward and soft backward; a second pooling uses the
    attention on the kept tiles only, normalised again. Training classifies the pooling of all tiles. Its extra losses:
    KL(all || kept) of the class probabilities, the mean squared difference of what was pooled, (share of tiles that
    any class keeps - `keep`)^2, and CLAM's instance loss (`k`, `subtyping`). Evaluation classifies and shows the
    kept tiles, those of a score above 0, without noise. While scores are near 0 that is far fewer than the noise of
    training keeps; `evaluate_on="all"` leaves the mask out.

    Mended from the published code: the kept attention sums to 1 for each class, not over all classes; the share of
    kept tiles counts all classes, not two; the softmax of the KL runs over classes. Ours: where a mask keeps nothing,
    all tiles are used; the instance loss has linear classifiers, not Chebyshev ones.

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
        hidden: int | None = None,
        dropout: float = 0.25,
        degree: int = 12,
        keep: float = 0.6,
        temperature: float = 0.7,
        k: int = 8,
        subtyping: bool = False,
        evaluate_on: str = "kept",
        attention_normalizer: str = "softmax",
    ):
        super().__init__()
        dim = default_dim(in_dim) if dim is None else dim
        hidden = dim // 2 if hidden is None else hidden
        require(0 < keep <= 1, "keep is the share of tiles, in (0, 1]", found=keep, fix="0.6 or 0.7 are the paper's")
        require(temperature > 0, "the temperature must be above 0", found=temperature, fix="0.7 is the paper's")
        parts = ("kept", "all")
        require(
            evaluate_on in parts, "hdmil evaluates on kept or all tiles", found=evaluate_on, fix=f"use one of {parts}"
        )
        self.keep, self.temperature, self.evaluate_on = keep, temperature, evaluate_on
        self.normalizer = NORMALIZERS[attention_normalizer]
        self.projection = Projection(in_dim, dim, bias=True, dropout=dropout)
        self.attention = GatedAttention(dim, hidden, rows=n_classes, dropout=dropout)
        self.classifier = ChebyshevClassifier(dim, n_classes, degree=degree)
        self.instances = InstanceLoss(dim, n_classes, k=k, loss="svm", subtyping=subtyping)

    def forward(self, batch: BagBatch) -> MILOutput:
        tiles = self.projection(batch.features)
        scores = self.attention(tiles)
        weights = self.normalizer(scores, batch.layout)
        if not self.training and self.evaluate_on == "kept":
            weights = self._kept(weights, scores, batch)[0]
        pooled = pool(weights, tiles, batch.layout)
        output = MILOutput(self.classifier(pooled), weights.mean(1), pooled.flatten(1), scores)
        if not self.training:
            return output
        kept_weights, share = self._kept(weights, scores, batch)
        kept = pool(kept_weights, tiles, batch.layout)
        losses = {
            "logits": _divergence(output.logits, self.classifier(kept)),
            "features": (pooled - kept).float().square().mean((1, 2)),
            "kept": (share - self.keep).square(),
        }
        if batch.labels is not None:
            losses["instances"] = self.instances(tiles, weights, batch)
        return replace(output, losses={name: WEIGHTS[name] / BAG_WEIGHT * loss for name, loss in losses.items()})

    def attention_scores(self, batch: BagBatch) -> Float[Tensor, "tiles rows"]:
        """The scores alone, without what follows them: all that an anchor has to run."""
        return self.attention(self.projection(batch.features))

    def _kept(
        self, weights: Float[Tensor, "tiles classes"], scores: Float[Tensor, "tiles classes"], batch: BagBatch
    ) -> tuple[Float[Tensor, "tiles classes"], Float[Tensor, " bags"]]:
        """The weights of the kept tiles, summing to 1 for each bag and class, and the share that any class keeps."""
        layout, mask = batch.layout, self._mask(scores.to(weights.dtype))
        kept = weights * mask
        total = layout.spread(layout.sum(kept))
        kept = torch.where(total > LEAST, kept / total.clamp(min=LEAST), weights)
        count = mask.sum(1)
        union = (count.detach() > 0) + (count - count.detach())  # the gradient reaches the mask of every class
        return kept, layout.sum(union) / layout.counts(union)

    def _mask(self, scores: Float[Tensor, "tiles classes"]) -> Float[Tensor, "tiles classes"]:
        """1 where a class keeps a tile, else 0; the gradient is that of the sigmoid behind it."""
        if self.training:  # the difference of two Gumbel variables is logistic
            noise = torch.logit(uniform(scores.shape, scores.device).to(scores.dtype), eps=1e-6)
            scores = (scores + noise) / self.temperature
        soft = torch.sigmoid(scores)
        return (soft > 0.5).to(soft.dtype) + (soft - soft.detach())


def _divergence(target: Float[Tensor, "bags classes"], logits: Float[Tensor, "bags classes"]) -> Float[Tensor, " bags"]:
    """KL(softmax(target) || softmax(logits)) of each bag in nats; both sides get a gradient.

    Not `asmil.attention.kl_divergence`, which is of attention, guarded for weights of 0, and rounds otherwise.
    """
    log_target, log_probabilities = target.log_softmax(1), logits.log_softmax(1)
    return F.kl_div(log_probabilities, log_target, log_target=True, reduction="none").sum(1)


MODEL = HDMIL
