"""What a CPU does with many tiles: projection, scores and pooling in chunks that stay near its cache.

The mathematics is that of `Projection`, `linear` and `pool` in `_layers`; those run wherever this does not. Saved is
what a large bag costs beside its products: tensors of (tiles, dim) that are written once, read once and thrown away.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

CHUNK = 2048  # tiles: a chunk of projected ones is a few MB, and products lose nothing to whole ones


def pays(features: Tensor, weight: Tensor) -> bool:
    """Whether these features are projected in chunks: on a CPU, in full precision, eagerly, for one model at a time."""
    return (
        weight.device.type == features.device.type == "cpu"
        and isinstance(weight, nn.Parameter)  # else many models at once (torch.func), or a traced one
        and not features.requires_grad
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


class Project(torch.autograd.Function):
    """z = dropout(relu(x W^T + b)); its gradient reads dz in chunks, and needs z alone to know where both cut."""

    @staticmethod
    def forward(ctx, *inputs: Any) -> Tensor:  # features, weight, bias or None, dropout
        features, weight, bias, dropout = inputs
        tiles = weight.new_empty(features.shape[0], weight.shape[0])
        scale = 1 / (1 - dropout)
        scaled, shift = weight * scale, None if bias is None else bias * scale
        for rows, x in chunks(features, weight.dtype):
            _project(x, scaled, shift, dropout=dropout, out=tiles[rows])
        ctx.scale, ctx.biased = scale, bias is not None
        ctx.save_for_backward(features, tiles)
        return tiles

    @staticmethod
    @once_differentiable
    def backward(ctx, d_tiles: Tensor):
        features, tiles = ctx.saved_tensors
        d_weight = tiles.new_zeros(tiles.shape[1], features.shape[1])
        d_bias = tiles.new_zeros(tiles.shape[1])
        workspace = tiles.new_empty(CHUNK, tiles.shape[1])
        for rows, x in chunks(features, tiles.dtype):
            hidden = _cut(d_tiles[rows], tiles[rows], out=workspace[: len(x)])
            d_weight.addmm_(hidden.T, x)
            if ctx.biased:
                d_bias += hidden.sum(0)
        return None, d_weight.mul_(ctx.scale), d_bias.mul_(ctx.scale) if ctx.biased else None, None


class Look(torch.autograd.Function):
    """z = dropout(relu(x W^T)) and scores z K^T + c, and the way back for what `Pool` gives.

    The gradient of z is made chunk by chunk and never whole: dz = [dscores, p] [K; dpooled], where p (tiles, rows) and
    dpooled (bags, rows, dim) arrive as the gradients of the two factors, outputs without a value of their own.
    z itself is returned for pooling only, without gradient.
    """

    @staticmethod
    def forward(ctx, *inputs: Any) -> tuple[Tensor, ...]:  # features, weight, keys, level, dropout, bags
        features, weight, keys, level, dropout, bags = inputs
        tiles = weight.new_empty(features.shape[0], weight.shape[0])
        scores = weight.new_empty(features.shape[0], keys.shape[0])
        scale = 1 / (1 - dropout)
        scaled = weight * scale
        for rows, x in chunks(features, weight.dtype):
            z = _project(x, scaled, None, dropout=dropout, out=tiles[rows])
            torch.addmm(level, z, keys.T, out=scores[rows])
        nothing = weight.new_zeros(())
        weights_factor = nothing.expand_as(scores)
        pooled_factor = nothing.expand(len(bags) - 1, keys.shape[0], weight.shape[0])
        ctx.scale, ctx.bags = scale, bags
        ctx.save_for_backward(features, tiles, keys)
        ctx.mark_non_differentiable(tiles)
        ctx.set_materialize_grads(False)
        return tiles, scores, weights_factor, pooled_factor

    @staticmethod
    @once_differentiable
    def backward(ctx, *gradients: Tensor | None):
        _, d_scores, weights, d_pooled = gradients
        features, tiles, keys = ctx.saved_tensors
        d_weight = tiles.new_zeros(tiles.shape[1], features.shape[1])
        d_keys = torch.zeros_like(keys)
        if d_scores is None:
            d_scores = tiles.new_zeros(len(tiles), len(keys))
        factors, maps = [d_scores], keys.expand(len(ctx.bags) - 1, -1, -1)
        if weights is not None and d_pooled is not None:
            factors, maps = [d_scores, weights], torch.cat([maps, d_pooled], 1)
        left = tiles.new_empty(CHUNK, maps.shape[1])
        right = tiles.new_empty(CHUNK, tiles.shape[1])
        for rows, x in chunks(features, tiles.dtype):
            z, dz = tiles[rows], right[: len(x)]
            torch.cat([factor[rows] for factor in factors], 1, out=left[: len(x)])
            for bag, part in _parts(rows, ctx.bags):
                inside = slice(part.start - rows.start, part.stop - rows.start)
                torch.mm(left[inside], maps[bag], out=dz[inside])
            d_weight.addmm_(_cut(dz, z, out=dz).T, x)
            d_keys.addmm_(d_scores[rows].T, z)
        return None, d_weight.mul_(ctx.scale), d_keys, d_scores.sum(0), None, None


class Pool(torch.autograd.Function):
    """pooled_b = p_b^T z_b of every bag. The gradient of z goes back to `Look` in its two factors."""

    @staticmethod
    def forward(ctx, *inputs: Any) -> Tensor:  # weights, tiles, the two factors, bags
        weights, tiles, *_, bags = inputs
        ctx.bags = bags
        ctx.save_for_backward(weights, tiles)
        return torch.stack([weights[a:b].T @ tiles[a:b] for a, b in pairwise(bags)])

    @staticmethod
    @once_differentiable
    def backward(ctx, d_pooled: Tensor):
        weights, tiles = ctx.saved_tensors
        d_weights = torch.empty_like(weights)
        for bag, (a, b) in enumerate(pairwise(ctx.bags)):
            torch.mm(tiles[a:b], d_pooled[bag].T, out=d_weights[a:b])
        return d_weights, None, weights, d_pooled, None


@torch.no_grad()
def scores_alone(features: Tensor, weight: Tensor, *, keys: Tensor, level: Tensor) -> Float[Tensor, "tiles rows"]:
    """The scores of `Look` without dropout, gradient or any tensor of (tiles, dim): what an anchor runs."""
    scores = weight.new_empty(features.shape[0], keys.shape[0])
    workspace = weight.new_empty(CHUNK, weight.shape[0])
    for rows, x in chunks(features, weight.dtype):
        z = _project(x, weight, None, dropout=0.0, out=workspace[: len(x)])
        torch.addmm(level, z, keys.T, out=scores[rows])
    return scores


def chunks(features: Tensor, dtype: torch.dtype) -> Iterator[tuple[slice, Tensor]]:
    """Rows and features of every chunk in that type: cast, where they have to be, into one buffer."""
    buffer = None if features.dtype == dtype else features.new_empty(CHUNK, features.shape[1], dtype=dtype)
    for start in range(0, features.shape[0], CHUNK):
        x = features[start : start + CHUNK]
        yield slice(start, start + len(x)), x if buffer is None else buffer[: len(x)].copy_(x)


def drop_(values: Tensor, probability: float) -> Tensor:
    """Set each value to 0 with that probability (to 1/65536), in place and without scaling the others.

    A comparison of 16 random bits: torch's own dropout costs five times as much on a CPU.
    """
    count = values.numel()
    bits = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)[:count]
    return values.mul_(bits.ge_(min(round(probability * 2**16), 2**16 - 1) - 2**15).view_as(values).to(values.dtype))


def _project(x: Tensor, weight: Tensor, bias: Tensor | None, *, dropout: float, out: Tensor) -> Tensor:
    z = torch.mm(x, weight.T, out=out) if bias is None else torch.addmm(bias, x, weight.T, out=out)
    z = z.relu_()
    return drop_(z, dropout) if dropout else z


def _cut(gradient: Tensor, z: Tensor, *, out: Tensor) -> Tensor:
    """The gradient where z is above 0: the backward of relu, and of dropout but for its scale."""
    return torch.ops.aten.threshold_backward.grad_input(gradient, z, 0, grad_input=out)


def _parts(rows: slice, bags: Sequence[int]) -> Iterator[tuple[int, slice]]:
    """The bags that have tiles among these rows, and which rows are theirs."""
    for bag, (start, stop) in enumerate(pairwise(bags)):
        start, stop = max(start, rows.start), min(stop, rows.stop)
        if start < stop:
            yield bag, slice(start, stop)
