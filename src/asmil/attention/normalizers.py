"""From attention scores to weights that sum to one over the tiles of each row.

Scores are unitless; a divisor `temperature` applies to them. The layout says where the tiles lie: along the last axis
unless told. Half precision is computed and returned in float32.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from asmil.attention.layout import LAST, Dense, Layout
from asmil.errors import AttentionError
from asmil.registry import FunctionRegistry

NORMALIZERS = FunctionRegistry("attention normalizer")


@NORMALIZERS.register
def softmax(scores: Tensor, layout: Layout = LAST, *, temperature: float = 1.0) -> Tensor:
    """exp(z_i / T) / sum_j exp(z_j / T)."""
    return layout.map(torch.softmax, _scaled(scores, temperature))


@NORMALIZERS.register
def nsf(scores: Tensor, layout: Layout = LAST, *, temperature: float = 1.0) -> Tensor:
    """Normalised sigmoid function, sigma(z_i / T) / sum_j sigma(z_j / T) (ASMIL, arXiv 2603.06658).

    With z >= tau on h >= 1 tiles and z <= -tau on the others (Theorem 1): the ratio of two high weights is at
    most 1 + exp(-tau), and a low weight is at most exp(-tau) / h.
    """
    return layout.map(_nsf, _scaled(scores, temperature))


def _nsf(scores: Tensor, dim: int) -> Tensor:
    # By way of log sigma the weights stay right where every sigma(z) underflows to 0: they tend to softmax(z).
    return logsigmoid(scores).softmax(dim)


@NORMALIZERS.register
def sparsemax(scores: Tensor, layout: Layout = LAST, *, temperature: float = 1.0) -> Tensor:
    """Euclidean projection onto the simplex: exact zeros (Martins & Astudillo, 2016, arXiv 1602.02068)."""
    return layout.map(partial(_project, power=1), _scaled(scores, temperature))


@NORMALIZERS.register
def entmax(scores: Tensor, layout: Layout = LAST, *, temperature: float = 1.0) -> Tensor:
    """1.5-entmax, between softmax and sparsemax: exact zeros (Peters et al., 2019, arXiv 1905.05702)."""
    return layout.map(partial(_project, power=2), _scaled(scores, temperature) / 2)


def log_softmax(scores: Tensor, layout: Layout = LAST, *, temperature: float = 1.0) -> Tensor:
    """Logarithm of `softmax`, finite for any finite scores; -inf at padding."""
    return layout.map(torch.log_softmax, _scaled(scores, temperature), padding=-torch.inf)


def log_nsf(scores: Tensor, layout: Layout = LAST, *, temperature: float = 1.0) -> Tensor:
    """Logarithm of `nsf`: log sigma(z) - logsumexp(log sigma(z)); -inf at padding."""
    return layout.map(_log_nsf, _scaled(scores, temperature), padding=-torch.inf)


def _log_nsf(scores: Tensor, dim: int) -> Tensor:
    return logsigmoid(scores).log_softmax(dim)


FULL_SUPPORT: dict[str, Callable[..., Tensor]] = {"softmax": torch.log_softmax, "nsf": _log_nsf}
"""Normalizers that give every real tile a weight above zero, and the logarithms of their weights along `dim`."""


def log_weights(name: str, scores: Tensor, dim: int) -> Tensor:
    """Logarithm of the weights along `dim` of any registered normalizer; -inf, without gradient, where one is 0.

    Raises:
        UnknownPartError: no normalizer of that name.
    """
    normalizer = NORMALIZERS[name]
    if normalizer.__name__ in FULL_SUPPORT:
        return FULL_SUPPORT[normalizer.__name__](scores, dim)
    weights = normalizer(scores, Dense(dim))
    nothing = weights == 0
    return weights.masked_fill(nothing, 1).log().masked_fill(nothing, -torch.inf)


def _scaled(scores: Tensor, temperature: float) -> Tensor:
    """Scores over temperature, at least float32."""
    if not temperature > 0:
        raise AttentionError("the temperature must be above 0", found=temperature)
    scores = scores.float() if scores.dtype in (torch.float16, torch.bfloat16) else scores
    return scores if temperature == 1 else scores / temperature


def _project(scores: Tensor, dim: int, *, power: int) -> Tensor:
    """[z - tau]_+ ** power, tau making it sum to 1: sparsemax for power 1, entmax for 2 (z halved)."""
    scores = scores - scores.detach().amax(dim, keepdim=True)  # tau is exact near 0, not near 1e4
    with torch.no_grad():
        threshold = _threshold(scores, dim, power=power)
    # One Newton step from the solution: it polishes tau, and its derivative is that of the implicit tau.
    above = (scores - threshold).clamp(min=0)
    support = (above > 0).to(above.dtype) if power == 1 else above
    slope = (power * support).sum(dim, keepdim=True).detach()
    threshold = threshold + ((above**power).sum(dim, keepdim=True) - 1) / slope
    return (scores - threshold).clamp(min=0) ** power


def _threshold(scores: Tensor, dim: int, *, power: int) -> Tensor:
    """tau along `dim` (kept), by sorting: what the k largest scores imply, for the largest valid k.

    Expects scores of maximum 0.
    """
    # tau >= -1, so what lies lower has weight 0 whatever its value: cutting it there keeps the sums exact.
    ordered = scores.clamp(min=-1).movedim(dim, -1).sort(-1, descending=True).values
    k = torch.arange(1, ordered.shape[-1] + 1, device=scores.device, dtype=scores.dtype)
    mean = ordered.cumsum(-1) / k
    if power == 1:
        candidates = mean - 1 / k
    else:
        squares = ordered.square().cumsum(-1) / k
        candidates = mean - (1 / k - (squares - mean.square())).clamp(min=0).sqrt()
    valid = (candidates < ordered).sum(-1, keepdim=True).clamp(min=1)
    return candidates.gather(-1, valid - 1).movedim(-1, dim)
