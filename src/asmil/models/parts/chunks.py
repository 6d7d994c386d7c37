"""The projection of many tiles on a CPU, in chunks that stay near its cache: a third of the memory of the plain form.

The mathematics is that of `Projection`, which runs wherever this does not. What is not kept for the gradient: a copy
of half-precision features in full, the values before the ReLU, the mask of the dropout.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from asmil.draws import drop_

CHUNK = 2048  # tiles: a chunk of projected ones is a few MB, and products lose nothing to whole ones


def pays(features: Tensor, weight: Tensor) -> bool:
    """Whether these features are projected in chunks: many, on a CPU, in full precision, eagerly, for one model."""
    return (
        features.shape[0] >= CHUNK
        and weight.device.type == features.device.type == "cpu"
        and isinstance(weight, nn.Parameter)  # else many models at once (torch.vmap), or a traced one
        and not features.requires_grad
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


class Project(torch.autograd.Function):
    """z = dropout(relu(x W^T + b)); its gradient reads dz in chunks, and needs z alone to know where both cut."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:  # features, weight, bias or None, dropout
        features, weight, bias, dropout = inputs
        tiles = weight.new_empty(features.shape[0], weight.shape[0])
        scale = 1 / (1 - dropout)
        scaled, shift = weight * scale, None if bias is None else bias * scale
        for rows, x in _chunks(features, weight.dtype):
            z = torch.mm(x, scaled.T, out=tiles[rows])
            if shift is not None:
                z += shift
            z.relu_()
            if dropout:
                drop_(z, dropout)
        ctx.scale, ctx.biased = scale, bias is not None
        ctx.save_for_backward(features, tiles)
        return tiles

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        features, tiles = ctx.saved_tensors
        d_weight = tiles.new_zeros(tiles.shape[1], features.shape[1])
        d_bias = tiles.new_zeros(tiles.shape[1])
        workspace = tiles.new_empty(CHUNK, tiles.shape[1])
        for rows, x in _chunks(features, tiles.dtype):
            hidden = workspace[: len(x)]
            # Where z is above 0: the backward of relu, and of dropout but for its scale.
            torch.ops.aten.threshold_backward.grad_input(gradients[0][rows], tiles[rows], 0, grad_input=hidden)
            d_weight.addmm_(hidden.T, x)
            if ctx.biased:
                d_bias += hidden.sum(0)
        return None, d_weight.mul_(ctx.scale), d_bias.mul_(ctx.scale) if ctx.biased else None, None


def _chunks(features: Tensor, dtype: torch.dtype) -> Iterator[tuple[slice, Tensor]]:
    """Rows and features of every chunk in that type: cast, where they have to be, into one buffer."""
    buffer = None if features.dtype == dtype else features.new_empty(CHUNK, features.shape[1], dtype=dtype)
    for start in range(0, features.shape[0], CHUNK):
        x = features[start : start + CHUNK]
        yield slice(start, start + len(x)), x if buffer is None else buffer[: len(x)].copy_(x)
