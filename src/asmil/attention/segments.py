"""Reductions over the tiles of packed bags: (tiles, ...) to (bags, ...) and back."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


def segment_sum(values: Float[Tensor, "tiles *rows"], offsets: Int[Tensor, "bags+1"]) -> Float[Tensor, "bags *rows"]:
    """Sum of each bag; 0 for a bag without tiles. Differentiable, and the same bits on every call."""
    if _on_device(values, offsets):
        return _Sum.apply(values, offsets)
    return torch.stack([bag.sum(0) for bag in _bags(values, offsets)])


def segment_max(values: Float[Tensor, "tiles *rows"], offsets: Int[Tensor, "bags+1"]) -> Float[Tensor, "bags *rows"]:
    """Maximum of each bag; -inf for a bag without tiles. Differentiable, and the same bits on every call."""
    if _on_device(values, offsets):
        return _reduce_on_device(values, offsets, "max", empty=float("-inf"))
    none = values.new_full(values.shape[1:], -torch.inf)
    return torch.stack([bag.amax(0) if len(bag) else none for bag in _bags(values, offsets)])


def segment_logsumexp(
    values: Float[Tensor, "tiles *rows"], offsets: Int[Tensor, "bags+1"]
) -> Float[Tensor, "bags *rows"]:
    """log sum exp of each bag, finite for any finite values; -inf where a bag has no tiles or only -inf."""
    if not _on_device(values, offsets):
        return torch.stack([bag.logsumexp(0) for bag in _bags(values, offsets)])
    largest = segment_max(values.detach(), offsets)
    largest = largest.masked_fill(largest == -torch.inf, 0)  # else -inf - -inf below
    shifted = values - spread(largest, offsets, tiles=values.shape[0])
    return segment_sum(shifted.exp(), offsets).log() + largest


def spread(
    per_bag: Float[Tensor, "bags *rows"], offsets: Int[Tensor, "bags+1"], *, tiles: int
) -> Float[Tensor, "tiles *rows"]:
    """Give every tile the value of its bag. With one bag the result keeps one row, which broadcasts."""
    if offsets.numel() == 2:
        return per_bag
    if per_bag.is_cuda:
        return _Spread.apply(per_bag, offsets, tiles)
    return per_bag.repeat_interleave(offsets.diff(), dim=0, output_size=tiles)


class _Sum(torch.autograd.Function):
    """Sum over bags on a device. Its gradient is the spread, and the spread's is the sum: no atomics."""

    generate_vmap_rule = True  # many models at once see the same bags

    @staticmethod
    def forward(values: Tensor, offsets: Tensor) -> Tensor:
        return _reduce_on_device(values, offsets, "sum", empty=0.0)

    @staticmethod
    def setup_context(ctx, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        values, ctx.offsets = inputs
        ctx.tiles = values.shape[0]

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> tuple[Tensor, None]:
        return _Spread.apply(gradients[0], ctx.offsets, ctx.tiles), None


class _Spread(torch.autograd.Function):
    """Each bag's value at each of its tiles."""

    generate_vmap_rule = True

    @staticmethod
    def forward(per_bag: Tensor, offsets: Tensor, tiles: int) -> Tensor:
        return per_bag.repeat_interleave(offsets.diff(), dim=0, output_size=tiles)

    @staticmethod
    def setup_context(ctx, inputs: tuple[Tensor, Tensor, int], output: Tensor) -> None:
        ctx.offsets = inputs[1]

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return _Sum.apply(gradients[0], ctx.offsets), None, None


def _on_device(values: Tensor, offsets: Tensor) -> bool:
    return values.is_cuda and offsets.numel() > 2  # one bag is an ordinary reduction everywhere


def _bags(values: Tensor, offsets: Tensor) -> Sequence[Tensor]:
    return (values,) if offsets.numel() == 2 else values.split(offsets.diff().tolist())


def _reduce_on_device(values: Tensor, offsets: Tensor, reduce: str, *, empty: float) -> Tensor:
    # One long 1-d reduction, row after row: there the device gives a block to each segment, where with a
    # second axis it gives one thread. No host synchronisation (`unsafe` skips only the checks that need one),
    # no atomics.
    tiles, rows = values.shape[0], values[0].numel()
    row_starts = tiles * torch.arange(rows, device=values.device)
    starts = (row_starts[:, None] + offsets[:-1]).flatten()
    ends = torch.cat([starts, starts.new_full((1,), tiles * rows)])
    flat = values.reshape(tiles, rows).T.reshape(-1)
    reduced = torch.segment_reduce(flat, reduce, offsets=ends, axis=0, unsafe=True, initial=empty)
    return reduced.reshape(rows, -1).T.reshape(-1, *values.shape[1:])


@dataclass(frozen=True)
class Layout:
    """Where the tiles of a tensor lie: along `dim`, or packed along dim 0 with `offsets`.

    Its reductions run over the tiles of each row and come back ready to broadcast against the tensor.
    """

    dim: int = -1
    offsets: Tensor | None = None

    def sum(self, values: Tensor) -> Tensor:
        """Sum over the tiles."""
        if self.offsets is None:
            return values.sum(self.dim, keepdim=True)
        return spread(segment_sum(values, self.offsets), self.offsets, tiles=values.shape[0])

    def max(self, values: Tensor) -> Tensor:
        """Maximum over the tiles."""
        if self.offsets is None:
            return values.amax(self.dim, keepdim=True)
        return spread(segment_max(values, self.offsets), self.offsets, tiles=values.shape[0])

    def on_device(self, values: Tensor) -> bool:
        """Whether several bags lie on a device, whose lengths the host should not ask for."""
        return self.offsets is not None and _on_device(values, self.offsets)

    def bags(self, values: Tensor) -> list[tuple[Tensor, int]]:
        """The bags of a packed tensor, or the whole of a dense one, each with its tile axis."""
        if self.offsets is None:
            return [(values, self.dim)]
        return [(bag, 0) for bag in _bags(values, self.offsets)]

    def total(self, values: Tensor) -> Tensor:
        """Sum over the tiles, their axis gone: one value per row, (bags, ...) where packed."""
        return values.sum(self.dim) if self.offsets is None else segment_sum(values, self.offsets)
