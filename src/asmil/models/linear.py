"""Linear: a linear probe of features as they are, the mean over the tiles where a bag has several."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from asmil.attention import softmax
from asmil.bags import BagBatch
from asmil.models.parts.layers import MILOutput, pool, require, require_width

PAPER = "Understanding intermediate layers using linear classifier probes, ICLR workshop 2017, arXiv 1610.01644"
ALIGNED = ""


class LinearProbe(nn.Module):
    """Logits W x + b of a bag's mean vector x: of vectors of slides (bags of one) the usual linear probe.

    Nothing is drawn: W and b start at zero, so that seeds differ in nothing, and in classification the loss is that of
    logistic regression, which has one minimum. How far it is gone to decides the validation part (early stopping),
    beside weight decay.

    Raises:
        ConfigError: a width or number of classes that is none.
    """

    def __init__(self, in_dim: int, n_classes: int):
        super().__init__()
        found, fix = (in_dim, n_classes), "check in_dim and n_classes"
        require(in_dim > 0 and n_classes > 0, "a probe needs features and classes", found=found, fix=fix)
        self.probe = nn.Linear(in_dim, n_classes)
        nn.init.zeros_(self.probe.weight)
        nn.init.zeros_(self.probe.bias)

    def forward(self, batch: BagBatch) -> MILOutput:
        attention, mean = mean_vectors(batch, self.probe.weight)
        return MILOutput(self.probe(mean), attention, mean)


def mean_vectors(
    batch: BagBatch, weight: Float[Tensor, "rows in_dim"]
) -> tuple[Float[Tensor, " tiles"], Float[Tensor, "bags in_dim"]]:
    """The attention of a plain mean, 1/M of each tile, and the bags' mean vectors, in the type of a model's weight.

    Raises:
        FeatureError: the features are not as wide as the weight.
    """
    require_width(batch.features, weight.shape[1])
    tiles = batch.features.to(weight.dtype)
    attention = softmax(torch.zeros_like(tiles[:, 0]), batch.layout)
    return attention, pool(attention.unsqueeze(1), tiles, batch.layout).squeeze(1)


MODEL = LinearProbe
