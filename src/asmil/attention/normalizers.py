"""From attention scores to weights that sum to one over the tiles, and the divergence of two.

Two layouts, one definition. Dense: the tiles lie along `dim`, an optional boolean `mask` (True = real tile)
marks padding. Packed: the tiles of all bags lie end to end along dim 0 and `offsets` (bags + 1) cut them.
Padding gets weight 0, log-weight -inf and no gradient; a row of padding only is all zeros. Half precision is
computed and returned in float32. The divisor `temperature` applies to the scores, which are unitless.
"""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from asmil.attention._closed_form import NSF, Divergence, Softmax, bags_of
from asmil.attention.segments import Layout
from asmil.errors import AttentionError
from asmil.registry import FunctionRegistry

NORMALIZERS = FunctionRegistry("attention normalizer")


def log_softmax(
    scores: Tensor,
    *,
    dim: int = -1,
    mask: Tensor | None = None,
    offsets: Tensor | None = None,
    temperature: float = 1.0,
) -> Tensor:
    """Logarithm of `softmax`, finite on real tiles for any finite scores."""
    scores = _prepare(scores, mask, temperature)
    if offsets is None and scores.stride(dim) == 1:
        log_weights = scores.log_softmax(dim)  # the fused kernel, slow where the tiles are strided
    else:
        layout = Layout(dim, offsets)
        shifted = scores - layout.max(scores.detach())
        log_weights = shifted - layout.sum(shifted.exp()).log()
    return log_weights if mask is None else log_weights.masked_fill(~mask, -torch.inf)


def log_nsf(
    scores: Tensor,
    *,
    dim: int = -1,
    mask: Tensor | None = None,
    offsets: Tensor | None = None,
    temperature: float = 1.0,
) -> Tensor:
    """Logarithm of `nsf`: log sigma(z) - logsumexp(log sigma(z)).

    Going through log sigma keeps the weights right where every sigma(z) underflows to 0: they tend to
    softmax(z).
    """
    scores = _prepare(scores, mask, temperature)
    return log_softmax(logsigmoid(scores), dim=dim, mask=mask, offsets=offsets)


@NORMALIZERS.register
def softmax(
    scores: Tensor,
    *,
    dim: int = -1,
    mask: Tensor | None = None,
    offsets: Tensor | None = None,
    temperature: float = 1.0,
) -> Tensor:
    """exp(z_i / T) / sum_j exp(z_j / T)."""
    bags = bags_of(scores, dim=dim, mask=mask, offsets=offsets)
    if bags is not None:
        return Softmax.apply(_prepare(scores, mask, temperature), bags)
    return log_softmax(scores, dim=dim, mask=mask, offsets=offsets, temperature=temperature).exp()


@NORMALIZERS.register
def nsf(
    scores: Tensor,
    *,
    dim: int = -1,
    mask: Tensor | None = None,
    offsets: Tensor | None = None,
    temperature: float = 1.0,
) -> Tensor:
    """Normalised sigmoid function, sigma(z_i / T) / sum_j sigma(z_j / T) (ASMIL, arXiv 2603.06658).

    With z >= tau on h >= 1 tiles and z <= -tau on the others (Theorem 1): the ratio of two high weights is at
    most 1 + exp(-tau), and a low weight is at most exp(-tau) / h.
    """
    bags = bags_of(scores, dim=dim, mask=mask, offsets=offsets)
    if bags is not None:
        return NSF.apply(_prepare(scores, mask, temperature), bags)
    return log_nsf(scores, dim=dim, mask=mask, offsets=offsets, temperature=temperature).exp()


@NORMALIZERS.register
def sparsemax(
    scores: Tensor,
    *,
    dim: int = -1,
    mask: Tensor | None = None,
    offsets: Tensor | None = None,
    temperature: float = 1.0,
) -> Tensor:
    """Euclidean projection onto the simplex: exact zeros (Martins & Astudillo, 2016, arXiv 1602.02068)."""
    return _project(_prepare(scores, mask, temperature), mask, Layout(dim, offsets), power=1)


@NORMALIZERS.register
def entmax(
    scores: Tensor,
    *,
    dim: int = -1,
    mask: Tensor | None = None,
    offsets: Tensor | None = None,
    temperature: float = 1.0,
) -> Tensor:
    """1.5-entmax, between softmax and sparsemax: exact zeros (Peters et al., 2019, arXiv 1905.05702)."""
    return _project(_prepare(scores, mask, temperature) / 2, mask, Layout(dim, offsets), power=2)


_LOG_NORMALIZERS = {"softmax": log_softmax, "nsf": log_nsf}
FULL_SUPPORT = frozenset(_LOG_NORMALIZERS)  # these give every real tile a weight above zero


def log_weights(
    name: str,
    scores: Tensor,
    *,
    dim: int = -1,
    mask: Tensor | None = None,
    offsets: Tensor | None = None,
    temperature: float = 1.0,
) -> Tensor:
    """Logarithm of the weights of any registered normalizer; -inf, without gradient, where a weight is 0.

    Raises:
        UnknownPartError: no normalizer of that name.
    """
    normalizer = NORMALIZERS[name]
    logarithmic = _LOG_NORMALIZERS.get(normalizer.__name__)
    if logarithmic is not None:
        return logarithmic(scores, dim=dim, mask=mask, offsets=offsets, temperature=temperature)
    weights = normalizer(scores, dim=dim, mask=mask, offsets=offsets, temperature=temperature)
    nothing = weights == 0
    return weights.masked_fill(nothing, 1).log().masked_fill(nothing, -torch.inf)


def kl_divergence(
    log_target: Tensor,
    log_online: Tensor,
    *,
    dim: int = -1,
    mask: Tensor | None = None,
    offsets: Tensor | None = None,
    reduction: str = "sum",
    each: bool = False,
) -> Tensor:
    """KL(target || online) in nats: summed over tiles; a mean over rows and bags, or `each` of them (bags, rows).

    Every row and bag counts equally. Tiles of target 0 contribute 0; a tile with target above 0 and online
    weight 0 makes it infinite. Rows of padding only are left out. `reduction="mean"` averages over tiles
    instead of summing: 1/M of the paper's formula, as in the script its authors published.

    Raises:
        AttentionError: the two differ in shape, or an unknown reduction.
    """
    _check_comparable(log_target, log_online, reduction)
    target = log_target.exp()
    difference = (log_target - log_online).masked_fill(target == 0, 0)  # 0 log 0 = 0, and no NaN from -inf - -inf
    layout = Layout(dim, offsets)
    per_row = layout.total(target * difference)
    if mask is None and reduction == "sum":
        return per_row if each else per_row.mean()
    counts = layout.total(_real(mask, log_online))
    if reduction == "mean":
        per_row = per_row / counts.clamp(min=1)
    return per_row if each else per_row.sum() / (counts > 0).sum().clamp(min=1)


def alignment(
    anchored: Tensor,
    online: Tensor,
    *,
    normalizers: tuple[str, str] = ("nsf", "softmax"),
    temperature: float = 1.0,
    dim: int = 0,
    mask: Tensor | None = None,
    offsets: Tensor | None = None,
    reduction: str = "sum",
    each: bool = False,
) -> Tensor:
    """`kl_divergence` of anchor and online from their scores, by the normalizers of these names; the loss of ASMIL.

    Down the columns of packed tiles its gradient is softmax(z) - t, taken at once. `temperature` divides the anchor's
    scores only; the anchor gets no gradient.

    Raises:
        AttentionError: the two differ in shape, or an unknown reduction.
        UnknownPartError: no normalizer of that name.
    """
    _check_comparable(anchored, online, reduction)
    anchored, (name, online_name) = anchored.detach(), normalizers
    bags = bags_of(online, dim=dim, mask=mask, offsets=offsets)
    if bags is None or NORMALIZERS[online_name] is not softmax:
        log_target = log_weights(name, anchored, dim=dim, mask=mask, offsets=offsets, temperature=temperature)
        log_online = log_weights(online_name, online, dim=dim, mask=mask, offsets=offsets)
        return kl_divergence(
            log_target, log_online, dim=dim, mask=mask, offsets=offsets, reduction=reduction, each=each
        )
    target = NORMALIZERS[name](anchored, dim=dim, offsets=offsets, temperature=temperature)
    per_row, _ = Divergence.apply(_prepare(online, None, 1.0), target, bags)
    if reduction == "mean":
        lengths = per_row.new_tensor(bags).diff()
        per_row = per_row / lengths.reshape(-1, *[1] * (per_row.dim() - 1))
    return per_row if each else per_row.mean()


def _check_comparable(target: Tensor, online: Tensor, reduction: str) -> None:
    if target.shape != online.shape:
        raise AttentionError(
            "anchor and online scores differ in shape",
            found=f"{tuple(target.shape)} and {tuple(online.shape)}",
            fix="give both branches the same tiles and rows",
        )
    if reduction not in ("sum", "mean"):
        raise AttentionError("unknown reduction", found=repr(reduction), fix='use "sum" or "mean"')


def _real(mask: Tensor | None, like: Tensor) -> Tensor:
    return torch.ones_like(like) if mask is None else mask.expand_as(like).to(like.dtype)


def _prepare(scores: Tensor, mask: Tensor | None, temperature: float) -> Tensor:
    """Scores over temperature, at least float32, and the lowest finite number on padding.

    A finite floor, not -inf, so that a row of padding only gives numbers (masked to 0 afterwards) and not
    NaN, in the weights and in the gradients.
    """
    if not temperature > 0:
        raise AttentionError("the temperature must be above 0", found=temperature)
    scores = scores.float() if scores.dtype in (torch.float16, torch.bfloat16) else scores
    if temperature != 1:
        scores = scores / temperature
    return scores if mask is None else scores.masked_fill(~mask, torch.finfo(scores.dtype).min)


def _project(scores: Tensor, mask: Tensor | None, layout: Layout, *, power: int) -> Tensor:
    """[z - tau]_+ ** power, tau making it sum to 1: sparsemax for power 1, entmax for 2 (z halved)."""
    scores = scores - layout.max(scores.detach())  # tau is exact near 0, not near 1e4
    with torch.no_grad():
        threshold = (_bisected if layout.on_device(scores) else _sorted)(scores, layout, power=power)
    # One Newton step from the solution: it polishes tau, and its derivative is that of the implicit tau.
    above = (scores - threshold).clamp(min=0)
    slope = layout.sum(power * _support(above, power - 1)).detach()
    threshold = threshold + (layout.sum(above**power) - 1) / slope
    weights = (scores - threshold).clamp(min=0) ** power
    return weights if mask is None else weights.masked_fill(~mask, 0)


def _support(above: Tensor, power: int) -> Tensor:
    return (above > 0).to(above.dtype) if power == 0 else above**power


def _bisected(scores: Tensor, layout: Layout, *, power: int) -> Tensor:
    """tau of scores of maximum 0, in (-1, 0], to the last bit but one of a float32: cutting bags to sort them would
    make the host wait for the device."""
    low, high = torch.full_like(scores, -1), torch.zeros_like(scores)
    for _ in range(25):
        middle = (low + high) / 2
        reached = layout.sum((scores - middle).clamp(min=0) ** power) >= 1
        low, high = torch.where(reached, middle, low), torch.where(reached, high, middle)
    return low


def _sorted(scores: Tensor, layout: Layout, *, power: int) -> Tensor:
    """tau of scores of maximum 0, bag by bag."""
    parts = [_threshold(bag, dim, power=power).expand_as(bag) for bag, dim in layout.bags(scores) if bag.numel()]
    return torch.cat(parts) if layout.offsets is not None else parts[0]


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
