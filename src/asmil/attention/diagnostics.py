"""How attention is spread over the tiles of a slide, and how much it moves: in float64, numpy or torch alike.

Weights are non-negative and sum to 1 over the tiles of each row, which lie along `dim`, with zeros at `mask`
False, or packed along dim 0 with `offsets`. Results have one value per row, (bags, ...) where packed, and are
of the kind of the input. All logarithms are natural: entropies and divergences are in nats.

They are computed by numpy: pages and the viewer ask for them, which have no other use for torch.
"""

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from asmil.errors import AttentionError

if TYPE_CHECKING:
    from torch import Tensor

Array = TypeVar("Array", np.ndarray, "Tensor")


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
    terms = (_gain(first, over=middle) + _gain(second, over=middle)).clip(min=0)
    return _like(p, _sum(terms, dim=dim, offsets=offsets) / 2)


def entropy(p: Array, *, dim: int = -1, offsets: Array | None = None) -> Array:
    """- sum p ln p: 0 for all weight on one tile, ln M for M tiles alike."""
    return _like(p, _entropy(p, dim=dim, offsets=offsets))


def normalized_entropy(p: Array, *, dim: int = -1, mask: Array | None = None, offsets: Array | None = None) -> Array:
    """Entropy over ln M, within [0, 1]. A bag of one tile can only be uniform: 1."""
    tiles = _tiles(p, dim=dim, mask=mask, offsets=offsets)
    spread = _entropy(p, dim=dim, offsets=offsets)
    return _like(p, np.divide(spread, np.log(tiles.clip(min=1)), out=np.ones_like(tiles), where=tiles > 1))


def effective_tiles(p: Array, *, dim: int = -1, offsets: Array | None = None) -> Array:
    """exp(entropy): the number of equally weighted tiles that would be as spread, from 1 to M."""
    return _like(p, np.exp(_entropy(p, dim=dim, offsets=offsets)))


EVEN = 0.99
"""Effective share of tiles above which attention prefers none. Measured (docs/log.md): models before training have
.995 to .99999 of it in the median of slides; weights then differ by less than a tenth of their mean."""


def is_even(p: Array) -> bool:
    """Whether a map (tiles,) prefers no tile: (sum p)^2 / (M sum p^2) above `EVEN`, as of a model before its training.

    A rank of its tiles shows what rounding and chance left. A map of one tile is even.
    """
    weights = _weights(p).ravel()
    return bool(weights.sum() ** 2 > EVEN * len(weights) * (weights**2).sum())


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
    kept = np.ceil(counts * share - 1e-9).clip(min=1).astype(np.int64)
    weights = _weights(p)
    if offsets is None:
        return _like(p, _mass(np.moveaxis(weights, dim, 0), kept))
    bags = np.split(weights, _starts(offsets, weights)[1:])
    return _like(p, np.stack([_mass(bag, first) for bag, first in zip(bags, kept, strict=True)]))


def top_k_overlap(p: Array, q: Array, *, k: int) -> float:
    """Share of the k tiles of most weight that two maps (tiles,) have in common; all tiles where M < k."""
    first, second = (_weights(weights).ravel() for weights in (p, q))
    k = min(k, len(first))
    chosen = [set(np.argsort(-weights, kind="stable")[:k].tolist()) for weights in (first, second)]
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

    pairs = list(itertools.combinations([_weights(weights) for weights in maps], 2))
    distances = [float(jsd(p, q)) for p, q in pairs]
    ranks = [float(spearmanr(p, q).statistic) if np.ptp(p) > 0 and np.ptp(q) > 0 else math.nan for p, q in pairs]
    return {"jsd": float(np.mean(distances)), "spearman": float(np.mean(ranks))}


def jsd_between_epochs(attention: Array) -> Array:
    """(epochs, tiles) of one slide to (epochs - 1,): each epoch's divergence from the one before."""
    return jsd(attention[1:], attention[:-1])


def _weights(p: Array) -> np.ndarray:
    weights = _plain(p)
    if not bool(((weights >= 0) & np.isfinite(weights)).all()):
        raise AttentionError(
            "attention weights must be finite and not negative",
            found=f"values from {float(weights.min()):.3g} to {float(weights.max()):.3g}",
            fix="pass weights after normalisation, not scores",
        )
    return weights


def _plain(values: object) -> np.ndarray:
    """float64, of an array or a tensor on any device."""
    return np.asarray(values.detach().cpu().double() if hasattr(values, "detach") else values, dtype=np.float64)


def _like(p: Array, result: np.ndarray) -> Array:
    if isinstance(p, np.ndarray):
        return np.asarray(result)
    import torch  # which a caller with a tensor has

    return torch.as_tensor(result, device=getattr(p, "device", None))


def _gain(p: np.ndarray, *, over: np.ndarray) -> np.ndarray:
    """p ln(p / over), which is 0 where p is; so it is where both are too small to be told from 0."""
    return p * np.log(np.divide(p, over, out=np.ones_like(p), where=(p > 0) & (over > 0)))


def _entropy(p: Array, *, dim: int, offsets: Array | None) -> np.ndarray:
    weights = _weights(p)
    return 0.0 - _sum(_gain(weights, over=np.ones_like(weights)), dim=dim, offsets=offsets)


def _mass(bag: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Weight on the `kept` tiles of most of it, of a bag (tiles, ...)."""
    held = np.sort(bag, axis=0)[::-1].cumsum(0)
    return np.take_along_axis(held, np.broadcast_to(kept - 1, held.shape[1:])[None], 0)[0]


def _sum(values: np.ndarray, *, dim: int, offsets: Array | None) -> np.ndarray:
    """Over the tiles of each row."""
    if offsets is None:
        return np.asarray(values.sum(dim))
    return np.add.reduceat(values, _starts(offsets, values), axis=0)


def _starts(offsets: Array, values: np.ndarray) -> np.ndarray:
    """Where the tiles of each bag begin; whoever packs bags says it, and at the end how many tiles there are."""
    places = _plain(offsets).astype(np.int64)
    if (np.diff(places) < 1).any() or places[-1] != len(values):
        found = f"bags of {tuple(np.diff(places).tolist())} tiles, and {len(values)} tiles"
        raise AttentionError("a bag without tiles has no attention", found=found)
    return places[:-1]


def _tiles(p: Array, *, dim: int, mask: Array | None, offsets: Array | None) -> np.ndarray:
    """Number of real tiles of each row."""
    shape = _plain(p).shape
    real = np.ones(shape) if mask is None else np.broadcast_to(_plain(mask), shape)
    return _sum(real, dim=dim, offsets=offsets)
