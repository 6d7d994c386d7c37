"""AEM: ABMIL with a bonus for attention that spreads over many tiles."""

from dataclasses import replace
from typing import cast

from torch import Tensor

from asmil.attention import log_softmax
from asmil.bags import BagBatch
from asmil.models.abmil import ABMIL
from asmil.models.parts.layers import MILOutput, require

PAPER = (
    "AEM: Attention Entropy Maximization for Multiple Instance Learning based Whole Slide Image Classification, "
    "MICCAI 2025, arXiv 2406.15303"
)
ALIGNED = "The attention over the tiles, one row."


class AEM(ABMIL):
    """Attention entropy maximisation (Zhang et al. 2024): ABMIL trained with + entropy_weight * sum_i a_i log a_i.

    The sum over a bag's tiles, in nats, is minus the entropy of its attention; it is neither divided by their number
    nor by the largest entropy, as in the authors' code. They choose `entropy_weight` for each data set, from .001 to 1.
    It is constant here: the later versions of the paper lower it by a cosine. The other options are ABMIL's; attention
    is always a softmax, of which the term is defined.

    Raises:
        ConfigError: an option out of its range.
    """

    def __init__(
        self,
        in_dim: int,
        n_classes: int,
        *,
        entropy_weight: float = 0.1,
        dim: int | None = None,
        hidden: int = 128,
        gated: bool = True,
        dropout: float = 0.25,
    ):
        require(entropy_weight >= 0, "entropy_weight is not negative", found=entropy_weight, fix="0.1 is usual")
        super().__init__(in_dim, n_classes, dim=dim, hidden=hidden, gated=gated, dropout=dropout)
        self.entropy_weight = entropy_weight

    def forward(self, batch: BagBatch) -> MILOutput:
        output = super().forward(batch)
        if not self.training:
            return output
        # From the log weights, as the gradient of a log a through a weight that underflowed to 0 is NaN.
        log_weights = log_softmax(cast(Tensor, output.scores), batch.layout)
        negative_entropy = batch.layout.sum(log_weights.exp() * log_weights).squeeze(1)
        return replace(output, losses={"entropy": self.entropy_weight * negative_entropy})


MODEL = AEM
