"""How attention is spread over the tiles of a slide, and how much it moves: in float64, numpy or torch alike.

Weights are non-negative and sum to 1 over the tiles of each row, which lie along `dim`, with zeros at `mask`
False, or packed along dim 0 with `offsets`. Results have one value per row, (bags, ...) where packed, and are
of the kind of the input. All logarithms are natural: entropies and divergences are in nats.
"""

import itertools
import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.special import entr, xlogy

from asmil.attention.layout import Dense, Layout, Packed
from asmil.errors import AttentionError

Array = TypeVar("Array", np.ndarray, Tensor)


def jsd(p: Array, q: Array, *, dim: int = -1, offsets: Array | None = None) -> Array:
    """Jensen-Shannon divergence of two maps of the same tiles: symmetric, within [0, ln 2]; 0 iff equal.

    Raises:
        AttentionError: different shapes, or weights that are negative or not finite.
    """
    first, second = _weights(p), _weights(q)
    if first.shape != second.shape:
        raise AttentionError(
            "maps to compare must have the same tiles",
            found=f"{tuple(first.shape)} and {tuple(second.shape)}",
        )
    middle = (first + second) / 2
    # Tile by tile this is never negative but for rounding, so nothing cancels and a divergence of 1e-12 is still right.
    terms = xlogy(first, first / middle) + xlogy(second, second / middle)
    terms = terms.masked_fill(middle == 0, 0).clamp(min=0)
    return _like(p, _layout(dim, offsets).sum(terms) / 2)


def entropy(p: Array, *, dim: int = -1, offsets: Array | None = None) -> Array:
    """- sum p ln p: 0 for all weight on one tile, ln M for M tiles alike."""
    return _like(p, _layout(dim, offsets).sum(entr(_weights(p))))


def normalized_entropy(p: Array, *, dim: int = -1, mask: Array | None = None, offsets: Array | None = None) -> Array:
    """Entropy over ln M, within [0, 1]. A bag of one tile can only be uniform: 1."""
    tiles = _tiles(p, dim=dim, mask=mask, offsets=offsets)
    share = _layout(dim, offsets).sum(entr(_weights(p))) / tiles.log()
    return _like(p, torch.where(tiles > 1, share, torch.ones_like(share)))


def effective_tiles(p: Array, *, dim: int = -1, offsets: Array | None = None) -> Array:
    """exp(entropy): the number of equally weighted tiles that would be as spread, from 1 to M."""
    return _like(p, _layout(dim, offsets).sum(entr(_weights(p))).exp())


EVEN = 0.99
"""Effective share of tiles above which attention prefers none. Measured (docs/log.md): models before training have
.995 to .99999 of it in the median of slides; weights then differ by less than a tenth of their mean."""


def is_even(p: Array) -> bool:
    """Whether a map (tiles,) prefers no tile: (sum p)^2 / (M sum p^2) above `EVEN`, as of a model before its training.

    A rank of its tiles shows what rounding and chance left. A map of one tile is even.
    """
    weights = _weights(p).flatten()
    return bool(weights.sum().square() > EVEN * len(weights) * weights.square().sum())


def top_mass(
    p: Array, *, share: float = 0.01, dim: int = -1, mask: Array | None = None, offsets: Array | None = None
) -> Array:
    """Weight on the ceil(share * M) tiles of most weight.

    Raises:
        AttentionError: share outside (0, 1].
    """
    if not 0 < share <= 1:
        raise AttentionError("the share of tiles must be within (0, 1]", found=share)
    counts = _tiles(p, dim=dim, mask=mask, offsets=offsets)
    # share * M can land just above a whole number (0.07 * 100 = 7.000000000000001): not one tile more.
    kept = (counts * share - 1e-9).ceil().clamp(min=1).long()
    layout = _layout(dim, offsets)
    masses: list[Tensor] = []
    packed = isinstance(layout, Packed)
    for bag in layout.split(_weights(p)):
        held = bag.sort(0, descending=True).values.cumsum(0)
        index = kept[len(masses)] if packed else kept
        masses.append(held.gather(0, (index - 1).expand(held.shape[1:])[None])[0])
    return _like(p, torch.stack(masses) if packed else masses[0])


def top_k_overlap(p: Array, q: Array, *, k: int) -> float:
    """Share of the k tiles of most weight that two maps (tiles,) have in common; all tiles where M < k."""
    first, second = (_weights(weights).flatten() for weights in (p, q))
    k = min(k, len(first))
    chosen = [set(weights.topk(k).indices.tolist()) for weights in (first, second)]
    return len(chosen[0] & chosen[1]) / k


def agreement(maps: Sequence[Array]) -> dict[str, float]:
    """How alike several maps (tiles,) of one slide are, as from several seeds: means over all pairs.

    Returns:
        `jsd` in nats, and `spearman`, the rank correlation (nan where a map is constant).

    Raises:
        AttentionError: fewer than two maps, or maps of different length.
    """
    if len(maps) < 2:
        raise AttentionError("agreement needs two maps or more", found=len(maps))
    from scipy.stats import spearmanr  # half a second to import, and only this needs it

    pairs = list(itertools.combinations([_weights(weights).cpu() for weights in maps], 2))
    distances = [float(jsd(p, q)) for p, q in pairs]
    ranks = [
        float(spearmanr(p, q).statistic) if np.ptp(p) > 0 and np.ptp(q) > 0 else math.nan
        for p, q in ((p.numpy(), q.numpy()) for p, q in pairs)
    ]
    return {"jsd": float(np.mean(distances)), "spearman": float(np.mean(ranks))}


def jsd_between_epochs(attention: Array) -> Array:
    """(epochs, tiles) of one slide to (epochs - 1,): each epoch's divergence from the one before."""
    return jsd(attention[1:], attention[:-1])


def _layout(dim: int, offsets: Array | None) -> Layout:
    return Dense(dim) if offsets is None else Packed.of(torch.as_tensor(offsets))


def _weights(p: Array) -> Tensor:
    weights = torch.as_tensor(p).detach().to(torch.float64)
    if not bool(((weights >= 0) & weights.isfinite()).all()):
        raise AttentionError(
            "attention weights must be finite and not negative",
            found=f"values from {float(weights.min()):.3g} to {float(weights.max()):.3g}",
            fix="pass weights after normalisation, not scores",
        )
    return weights


def _tiles(p: Array, *, dim: int, mask: Array | None, offsets: Array | None) -> Tensor:
    """Number of real tiles of each row."""
    shape = torch.as_tensor(p)
    real = torch.ones_like(shape) if mask is None else torch.as_tensor(mask).expand_as(shape)
    return _layout(dim, offsets).sum(real.to(torch.float64))


def _like(p: Array, result: Tensor) -> Array:
    return result.cpu().numpy() if isinstance(p, np.ndarray) else result
