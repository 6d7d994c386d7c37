"""DSMIL: tiles attend by their likeness to the most decisive tile of each class."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from asmil.attention import NORMALIZERS
from asmil.bags import BagBatch
from asmil.models.parts.layers import MILOutput, Projection, classifier, default_dim, pool, require

PAPER = (
    "Dual-stream Multiple Instance Learning Network for Whole Slide Image Classification with Self-supervised "
    "Contrastive Learning, CVPR 2021, arXiv 2011.08939"
)
ALIGNED = "The attention of each class over the tiles; the anchor finds its own critical tiles."
NEEDS_CLASSES = "its critical tiles are found by a classifier of tiles, which learns from class labels alone"


class DSMIL(nn.Module):
    """Dual-stream MIL (Li et al. 2021): a max-pooled tile classifier, and attention around its winners.

    Stream 1 classifies every tile; a class's critical tile m is the one with its largest logit. Stream 2 scores tile i
    for the class by q_i . q_m / sqrt(hidden), pools the values v_i by the softmax of that, and classifies what all
    classes pooled together (`embedding`). The bag's map is the mean of the classes' columns.

    `hidden` is the width of the queries; `passing_v` makes v a layer ReLU(W x) instead of x itself; `dropout` acts on
    the embedded tiles.

    Deviations, with those who compare DSMIL on several classes: both streams are trained by cross-entropy (extra loss
    "critical": that of the largest tile logits, weight 1 beside the bag's 1) where the paper has the mean of two binary
    cross-entropies; and a first layer embeds the features, which the paper reads as they are. Layers start as torch's
    default, not orthogonal as in the authors' later code. The prediction is the bag stream's.

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
        hidden: int = 128,
        passing_v: bool = False,
        dropout: float = 0.25,
        attention_normalizer: str = "softmax",
    ):
        super().__init__()
        require(hidden > 0, "dsmil needs hidden units", found=hidden, fix="128 is usual")
        dim = default_dim(in_dim) if dim is None else dim
        self.normalizer = NORMALIZERS[attention_normalizer]
        self.projection = Projection(in_dim, dim, bias=True, dropout=dropout)
        self.tile_classifier = classifier(dim, n_classes)
        self.query = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.Tanh())
        self.value = nn.Sequential(nn.Linear(dim, dim), nn.ReLU()) if passing_v else nn.Identity()
        self.classifier = classifier(n_classes * dim, n_classes)

    def forward(self, batch: BagBatch) -> MILOutput:
        tiles = self.projection(batch.features)
        scores, critical_logits = self._streams(tiles, batch)
        weights = self.normalizer(scores, batch.layout)
        embedding = pool(weights, self.value(tiles), batch.layout).flatten(1)
        losses = {}
        if self.training and batch.labels is not None:
            losses["critical"] = F.cross_entropy(critical_logits.float(), batch.labels, reduction="none")
        return MILOutput(self.classifier(embedding), weights.mean(1), embedding, scores, losses)

    def attention_scores(self, batch: BagBatch) -> Float[Tensor, "tiles classes"]:
        """The scores alone, around this model's own critical tiles: all that an anchor has to run."""
        return self._streams(self.projection(batch.features), batch)[0]

    def _streams(
        self, tiles: Float[Tensor, "tiles dim"], batch: BagBatch
    ) -> tuple[Float[Tensor, "tiles classes"], Float[Tensor, "bags classes"]]:
        """Likeness of each tile to each class's critical tile, and the logits of the critical tiles."""
        scores, logits = [], []
        pairs = zip(batch.split(self.tile_classifier(tiles)), batch.split(self.query(tiles)), strict=True)
        for tile_logits, queries in pairs:
            critical = tile_logits.detach().argmax(0)
            logits.append(tile_logits.gather(0, critical[None])[0])
            scores.append(queries @ queries[critical].T / math.sqrt(queries.shape[1]))
        return torch.cat(scores), torch.stack(logits)


MODEL = DSMIL
