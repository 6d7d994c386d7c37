"""Softmax, NSF and the divergence down the tiles of packed scores (tiles, ...), with gradients in closed form.

Bags are row numbers, `bags[b]` to `bags[b + 1]`. Every function works on whole columns, so that many models at once
(`torch.vmap`) are only more columns.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK = 2**18  # numbers at a time, about what stays in a core's cache


def bags_of(scores: Tensor, *, dim: int, mask: Tensor | None, offsets: Tensor | None) -> tuple[int, ...] | None:
    """The row numbers of the bags; None where this does not apply, or would make the host wait for a device."""
    if mask is not None or dim not in (0, -scores.dim()) or torch.compiler.is_compiling():
        return None
    if offsets is None or offsets.numel() == 2:
        bags: tuple[int, ...] = (0, scores.shape[0])
    elif offsets.is_cuda:
        return None
    else:
        bags = tuple(offsets.tolist())
    return None if any(start == stop for start, stop in pairwise(bags)) else bags


class Softmax(torch.autograd.Function):
    """p = softmax(z); dz = p (dp - sum p dp)."""

    @staticmethod
    def forward(scores: Tensor, bags: Sequence[int]) -> Tensor:
        weights = torch.empty_like(scores)
        for bag in _rows(bags):
            largest = scores[bag].amax(0)
            for part in _parts(bag, scores):
                torch.sub(scores[part], largest, out=weights[part]).exp_()
            weights[bag].div_(weights[bag].sum(0))
        return weights

    @staticmethod
    def setup_context(ctx, inputs: tuple[Tensor, Sequence[int]], output: Tensor) -> None:
        ctx.bags = inputs[1]
        ctx.save_for_backward(output)

    @staticmethod
    @once_differentiable
    def backward(ctx, *gradients: Tensor) -> tuple[Tensor, None]:
        (weights,) = ctx.saved_tensors
        return _through_sum(weights, gradients[0], bags=ctx.bags), None

    @staticmethod
    def vmap(info, in_dims: tuple, scores: Tensor, bags: Sequence[int]) -> tuple[Tensor, int]:
        return Softmax.apply(scores.movedim(in_dims[0], 1), bags), 1


class NSF(torch.autograd.Function):
    """w = sigma(z) / sum sigma(z); dz = (1 - sigma(z)) w (dw - sum w dw).

    sigma(z) as 1 / (e^c + e^(c - z)), c = min(max z, 0): a common factor e^c away from it, and in range for all z.
    """

    @staticmethod
    def forward(scores: Tensor, bags: Sequence[int]) -> Tensor:
        weights = torch.empty_like(scores)
        for bag in _rows(bags):
            level = scores[bag].amax(0).clamp(max=0)
            for part in _parts(bag, scores):
                torch.sub(level, scores[part], out=weights[part]).exp_().add_(level.exp()).reciprocal_()
            weights[bag].div_(weights[bag].sum(0))
        return weights

    @staticmethod
    def setup_context(ctx, inputs: tuple[Tensor, Sequence[int]], output: Tensor) -> None:
        ctx.bags = inputs[1]
        ctx.save_for_backward(inputs[0], output)

    @staticmethod
    @once_differentiable
    def backward(ctx, *gradients: Tensor) -> tuple[Tensor, None]:
        scores, weights = ctx.saved_tensors
        return _through_sum(weights, gradients[0], bags=ctx.bags).mul_(torch.sigmoid(-scores)), None

    @staticmethod
    def vmap(info, in_dims: tuple, scores: Tensor, bags: Sequence[int]) -> tuple[Tensor, int]:
        return NSF.apply(scores.movedim(in_dims[0], 1), bags), 1


class Divergence(torch.autograd.Function):
    """KL(t || softmax(z)) of every bag and row = sum t (log t - z + logsumexp(z)); dz = softmax(z) - t.

    The target gets no gradient.
    """

    @staticmethod
    def forward(scores: Tensor, target: Tensor, bags: Sequence[int]) -> tuple[Tensor, Tensor]:
        gradient, each = torch.empty_like(scores), []
        tiny = torch.finfo(scores.dtype).tiny
        for bag in _rows(bags):
            largest = scores[bag].amax(0)
            total, divergence = torch.zeros_like(largest), torch.zeros_like(largest)
            for part in _parts(bag, scores):
                total += torch.sub(scores[part], largest, out=gradient[part]).exp_().sum(0)
            level = largest + total.log()
            for part in _parts(bag, scores):
                logs = target[part].clamp(min=tiny).log_().sub_(scores[part]).add_(level)
                divergence += logs.mul_(target[part]).sum(0)
                gradient[part].div_(total).sub_(target[part])
            each.append(divergence)
        return torch.stack(each), gradient

    @staticmethod
    def setup_context(ctx, inputs: tuple[Tensor, Tensor, Sequence[int]], output: tuple[Tensor, Tensor]) -> None:
        ctx.bags = inputs[2]
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1])

    @staticmethod
    @once_differentiable
    def backward(ctx, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        d_scores = torch.empty_like(gradient)
        for index, bag in enumerate(_rows(ctx.bags)):
            torch.mul(gradient[bag], gradients[0][index], out=d_scores[bag])
        return d_scores, None, None

    @staticmethod
    def vmap(info, in_dims: tuple, scores: Tensor, target: Tensor, bags: Sequence[int]) -> tuple[tuple, tuple]:
        columns = scores.movedim(in_dims[0], 1), target.movedim(in_dims[1], 1)
        return Divergence.apply(*columns, bags), (1, 1)


def _through_sum(weights: Tensor, gradient: Tensor, *, bags: Sequence[int]) -> Tensor:
    """w (dw - sum w dw): what a weight's gradient is before its sum to 1."""
    gradient = gradient * weights
    for bag in _rows(bags):
        gradient[bag].addcmul_(weights[bag], gradient[bag].sum(0), value=-1)
    return gradient


def _rows(bags: Sequence[int]) -> Iterator[slice]:
    return (slice(start, stop) for start, stop in pairwise(bags))


def _parts(bag: slice, scores: Tensor) -> Iterator[slice]:
    """The rows of a bag, as many at a time as stay in the cache."""
    size = max(1, CHUNK // max(1, scores[0].numel())) if scores.device.type == "cpu" else bag.stop - bag.start
    return (slice(start, min(start + size, bag.stop)) for start in range(bag.start, bag.stop, size))
