"""The distance of two attentions: KL(anchor || online), the loss that holds the attention still."""

from functools import partial

import torch
from torch import Tensor

from asmil.attention.layout import LAST, Layout
from asmil.attention.normalizers import log_weights
from asmil.errors import AttentionError


def kl_divergence(
    log_target: Tensor, log_online: Tensor, layout: Layout = LAST, *, reduction: str = "sum", each: bool = False
) -> Tensor:
    """KL(target || online) in nats from log-weights: summed over tiles; a mean over rows and bags, or `each` of them.

    Every row and bag counts equally. Tiles of target 0 contribute 0; a tile with target above 0 and online weight 0
    makes it infinite. Rows of padding only are left out. `reduction="mean"` averages over tiles instead of summing:
    1/M of the paper's formula, as in the script its authors published.

    Raises:
        AttentionError: the two differ in shape, or an unknown reduction.
    """
    _check(log_target, log_online, reduction)
    return _mean(layout.reduce(_kl, log_target, log_online), log_online, layout, reduction=reduction, each=each)


def alignment(
    anchored: Tensor,
    online: Tensor,
    layout: Layout = LAST,
    *,
    normalizers: tuple[str, str] = ("nsf", "softmax"),
    temperature: float = 1.0,
    reduction: str = "sum",
    each: bool = False,
    gate: Tensor | None = None,
) -> Tensor:
    """`kl_divergence` of anchor and online from their scores, by the normalizers of these names; the loss of ASMIL.

    `temperature` divides the anchor's scores only; the anchor gets no gradient. Source: ASMIL, arXiv 2603.06658.

    `gate` (ours, not the paper's) is what each row of each bag counts by, `unevenness` of the anchor's scores. An even
    anchor then pulls at nothing. Near evenness the pull is of third order in the scores, so it cannot keep attention
    from forming, whatever its weight.

    Raises:
        AttentionError: the two differ in shape, an unknown reduction, or a temperature that is not above 0.
        UnknownPartError: no normalizer of that name.
    """
    _check(anchored, online, reduction)
    if not temperature > 0:
        raise AttentionError("the temperature must be above 0", found=temperature)
    precise = torch.promote_types(online.dtype, torch.float32)
    anchored, online = _cooled(anchored.to(precise), temperature), online.to(precise)
    per_row = layout.reduce(partial(_between, normalizers=normalizers), anchored, online)
    per_row = per_row if gate is None else per_row * gate
    return _mean(per_row, online, layout, reduction=reduction, each=each)


def _between(anchored: Tensor, online: Tensor, dim: int, *, normalizers: tuple[str, str]) -> Tensor:
    return _kl(log_weights(normalizers[0], anchored, dim), log_weights(normalizers[1], online, dim), dim)


def unevenness(scores: Tensor, layout: Layout = LAST, *, temperature: float = 1.0) -> Tensor:
    """1 - normalised entropy of the softmax of each row of each bag, in at least single precision, without gradient.

    0 where it is even (or there is one tile), 1 where one tile has it all. `temperature` divides the scores.
    """
    return layout.reduce(_unevenness, _cooled(scores, temperature))


def _cooled(scores: Tensor, temperature: float) -> Tensor:
    """The anchor's scores as its normaliser takes them; nothing is copied where the temperature is 1."""
    scores = scores.detach().to(torch.promote_types(scores.dtype, torch.float32))
    return scores if temperature == 1 else scores / temperature


def _unevenness(scores: Tensor, dim: int) -> Tensor:
    kind = torch.finfo(scores.dtype)
    padding = scores <= kind.min
    count = (scores.shape[dim] - padding.sum(dim, keepdim=True)).clamp(min=2).to(scores.dtype)
    apart = scores.softmax(dim) * count - 1  # each weight against an even one
    # The divergence from even, each tile's share of it at least 0: 1 - entropy would be rounding alone near evenness.
    share = (1 + apart) * torch.log1p(apart.clamp(min=-1 + kind.eps / 2)) - apart
    return (share.masked_fill(padding, 0) / count).sum(dim) / count.squeeze(dim).log()


def _kl(log_target: Tensor, log_online: Tensor, dim: int) -> Tensor:
    target = log_target.softmax(dim)  # what exp gives, twenty times as fast where weights are beyond its range
    difference = (log_target - log_online).masked_fill(target == 0, 0)  # 0 log 0 = 0, and no NaN from -inf - -inf
    return (target * difference).sum(dim)


def _mean(per_row: Tensor, like: Tensor, layout: Layout, *, reduction: str, each: bool) -> Tensor:
    padded = layout.mask is not None
    counts = layout.counts(like) if padded or reduction == "mean" else None
    if reduction == "mean" and counts is not None:
        per_row = per_row / counts.to(per_row.dtype).clamp(min=1)
    if each:
        return per_row
    if padded and counts is not None:  # rows of padding only are no rows
        return per_row.sum() / (counts > 0).sum().clamp(min=1)
    return per_row.mean()


def _check(target: Tensor, online: Tensor, reduction: str) -> None:
    if target.shape != online.shape:
        raise AttentionError(
            "anchor and online scores differ in shape",
            found=f"{tuple(target.shape)} and {tuple(online.shape)}",
            fix="give both branches the same tiles and rows",
        )
    require_reduction(reduction)


def require_reduction(reduction: object) -> None:
    """Raise an `AttentionError` for what is no way to reduce over tiles."""
    if reduction not in ("sum", "mean"):
        raise AttentionError("unknown reduction", found=repr(reduction), fix='use "sum" or "mean"')
