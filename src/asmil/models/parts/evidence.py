"""Evidence of tiles: which of them speak for which class, as shares of the decision that add up.

Attention says what a model reads; evidence says what that does to the decision. What is not used is the change of a
logit when one tile is taken away: attention then moves to the tiles that are left, so that of ten tiles of a tumour
none is missed. Measured on planted bags (docs/log.md), it places them far worse where the model finds them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from asmil.bags import Bag, BagBatch
from asmil.errors import AttentionError
from asmil.models.parts.layers import MILOutput, Watched

POOLED_NODES, FEATURE_NODES = 32, 4
"""Places on the path at which the gradient is taken: of what is pooled they cost nearly nothing."""
EQUAL = 1e-3
"""How far the logits of what was pooled may be from the model's own, as a share of the largest."""


@dataclass(frozen=True)
class Evidence:
    """`tiles` (tiles, classes): what each tile adds to each logit. `rest` (classes,): what is there without any.

    Over the tiles and with the rest they add up to the logits.
    `kind` is "own" (the model's own decomposition), "pooled" (of what its attention pools) or "features".
    """

    tiles: Float[Tensor, "tiles classes"]
    rest: Float[Tensor, " classes"]
    kind: str

    @property
    def centred(self) -> Float[Tensor, "tiles classes"]:
        """Evidence for a class and against the mean of all: a softmax does not see what is added to all logits."""
        return self.tiles - self.tiles.mean(1, keepdim=True)

    @property
    def array(self) -> np.ndarray:
        """`centred` as numpy has it: float64 (tiles, classes)."""
        return self.centred.cpu().numpy().astype(np.float64)


def evidence(model: nn.Module, bag: Bag) -> Evidence:
    """What every tile of a bag adds to every logit of a model in evaluation mode, with the attention as it is.

    One rule for all: the gradient along a straight path, times what the tile brings to it (Aumann and Shapley 1974;
    "integrated gradients", Sundararajan et al. 2017, arXiv 1703.01365). Which path depends on the model:

    - It has a method `evidence(batch) -> (tiles, classes)`: its own decomposition, which is exact.
    - Its logits depend on the bag only through what `pool` gives with the weights of its attention: these sums, from 0
      to what they are. Where a linear classifier follows (ABMIL, CLAM, mean ...) that is attention x weight x tile, and
      exact: evidence is the logit less the bias. Where more follows (ASMIL), it adds up to the logit less that of
      nothing pooled. It costs one forward pass.
    - Any other module that takes a `BagBatch` and gives `logits`: all features, from those of a tile that says nothing
      to what they are: from its attribute `baseline` (dim,), which a standardised model has, or zeros; not from the
      mean of the bag, which is of its class already. Attention moves with them. It costs 4 forward and backward passes
      a class (of two classes: of their difference); what so few places miss of the path is in the rest.

    Of half-precision features too; on the device of the model. No random number is drawn, and the mode is restored.

    Raises:
        AttentionError: the logits do not follow from the features by a gradient.
    """
    was_training, device = model.training, next(model.parameters()).device
    model.eval()
    batch = BagBatch.from_bags(bag).to(device)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            return _own(model, batch) or _pooled(model, batch) or _features(model, batch)
    finally:
        model.train(was_training)


def _own(model: nn.Module, batch: BagBatch) -> Evidence | None:
    own = getattr(model, "evidence", None)
    if own is None:
        return None
    with torch.no_grad():
        tiles, logits = own(batch), _logits(model(batch))
    return Evidence(tiles, logits - tiles.sum(0), "own")


def _pooled(model: nn.Module, batch: BagBatch) -> Evidence | None:
    """By what the model pools over the tiles; None where it pools otherwise, or its logits need more than that."""
    layout = Watched(batch.lengths, device=batch.layout.device)
    with torch.no_grad():
        logits = _logits(model(replace(batch, layout=layout)))
    if len(layout.calls) != 1:
        return None
    weights, values = layout.calls[0]
    path, shares = _nodes(POOLED_NODES, like=logits)
    whole = (weights.T.to(values.dtype) @ values)[None]
    # Bags of one tile each in the place of the bag: what they pool is said, and nothing else should matter.
    places = torch.cat([path, path.new_tensor([0.0, 1.0])])
    given = (places.to(whole.dtype)[:, None, None] * whole).requires_grad_()
    small = _first_tile(batch, len(places))
    along = _logits(model(replace(small, layout=Watched(small.lengths, device=layout.device, given=given))), bags=True)
    nothing, full = along[-2].detach(), along[-1].detach()
    if (full - logits).abs().max() > EQUAL * logits.abs().max().clamp(min=1.0):
        return None
    columns = []
    for column in along[:-2].unbind(1):
        gradient = _gradient(column, given, shares)
        if gradient is None:
            return None
        slope = gradient[:-2].sum(0)  # (rows, dim), each place with its share
        columns.append((weights * (values @ slope.T.to(values.dtype))).sum(1))
    return Evidence(torch.stack(columns, 1).float(), nothing, "pooled")


def _features(model: nn.Module, batch: BagBatch) -> Evidence:
    """By the features themselves, from a tile that says nothing."""
    features = batch.features.float()
    base = getattr(model, "baseline", features.new_zeros(features.shape[1])).to(features)
    apart = features - base
    with torch.no_grad():
        whole = _logits(model(batch))
    # Of two classes the difference is all that is asked for: one gradient instead of two.
    sides = whole.new_tensor([[-0.5, 0.5]]) if len(whole) == 2 else torch.eye(len(whole)).to(whole)
    path, shares = _nodes(FEATURE_NODES, like=apart)
    total = apart.new_zeros(len(apart), len(sides))
    for place, share in zip(path, shares, strict=True):
        x = (base + place * apart).requires_grad_()
        asked = (sides @ _logits(model(batch.with_features(x)))).unbind()
        for column, value in enumerate(asked):
            gradient = _gradient(value[None], x, share[None])
            if gradient is None:
                raise AttentionError(
                    f"there is no evidence of tiles in a {type(model).__name__}",
                    found="logits that do not follow from the features by a gradient",
                    fix="give the model a method `evidence(batch) -> (tiles, classes)`",
                )
            total[:, column] += (gradient * apart).sum(1)
    tiles = total * total.new_tensor([-1.0, 1.0]) if len(whole) == 2 else total
    return Evidence(tiles, whole - tiles.sum(0), "features")


def _gradient(values: Tensor, at: Tensor, shares: Tensor) -> Tensor | None:
    if not values.requires_grad:
        return None
    return torch.autograd.grad(values @ shares, at, retain_graph=True, allow_unused=True)[0]


def _nodes(count: int, *, like: Tensor) -> tuple[Float[Tensor, " count"], Float[Tensor, " count"]]:
    """Places in (0, 1) and their shares of an integral from 0 to 1, after Gauss and Legendre."""
    places, shares = np.polynomial.legendre.leggauss(count)
    return like.new_tensor((places + 1) / 2), like.new_tensor(shares / 2)


def _logits(output: MILOutput, *, bags: bool = False) -> Tensor:
    return output.logits.float() if bags else output.logits[0].float()


def _first_tile(batch: BagBatch, times: int) -> BagBatch:
    first = Bag(batch.features[:1], None if batch.level0_xy is None else batch.level0_xy[:1])
    if batch.tile_level0_px:
        first = replace(first, tile_level0_px=batch.tile_level0_px[0])
    return BagBatch.from_bags([first] * times)


@torch.no_grad()
def deletion(
    model: nn.Module, bag: Bag, order: Int[Tensor, " tiles"], *, shares: Sequence[float]
) -> Float[Tensor, "shares classes"]:
    """How the logits of a bag fall when the first tiles of an order are taken away, that share of all (at least one).

    Less the mean over the classes, as in `Evidence.centred`; one tile at least stays. The model's mode is restored.
    """
    was_training, device = model.training, next(model.parameters()).device
    model.eval()
    try:
        fall = []
        for share in (0.0, *shares):
            gone = min(int(np.ceil(share * len(bag) - 1e-9)), len(bag) - 1)
            kept = order[gone:].sort().values  # the order of the file: some models read where tiles lie in it
            logits = _logits(model(BagBatch.from_bags(bag.rows(kept)).to(device)))
            fall.append(logits - logits.mean())
        return torch.stack([fall[0] - other for other in fall[1:]]).cpu()
    finally:
        model.train(was_training)
