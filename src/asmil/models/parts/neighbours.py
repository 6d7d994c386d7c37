"""The tiles of a bag side by side: neighbours on the grid, and bags of similar size for one operation."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from asmil.attention import on_device
from asmil.bags import BagBatch

# Bags of similar size side by side, so that one operation serves them all, and the way back to packed tiles.

FREE = 192  # tokens of padding that cost less than the operations of one more group
AT_ONCE = 16_384  # tokens of a group, padding included, unless a single bag has more


def similar(sizes: Sequence[int], *, copies: Sequence[int] | None = None) -> list[list[int]]:
    """Indices of bags in groups, the longest first: padding adds at most half a bag's tokens, or `FREE` of them.

    A bag has `copies` times its size of tokens, once its size unless given.
    """
    copies = copies or [1] * len(sizes)
    groups: list[list[int]] = []
    for index in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        longest = sizes[groups[-1][0]] if groups else 0
        padding = (longest - sizes[index]) * copies[index]
        fits = groups and padding <= max(FREE, sizes[index] * copies[index] / 2)
        if fits and longest * sum(copies[i] for i in (*groups[-1], index)) <= AT_ONCE:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def pack(padded: Sequence[Tensor], batch: BagBatch, groups: Sequence[Sequence[int]]) -> Tensor:
    """One tensor (bags, width, ...) per group to (tiles, ...), in the order of the batch."""
    rows = torch.cat([part.flatten(0, 1) for part in padded])
    first, start = [0] * len(batch), 0
    for part, group in zip(padded, groups, strict=True):
        for place, index in enumerate(group):
            first[index] = start + place * part.shape[1]
        start += part.shape[0] * part.shape[1]
    if tuple(first) == batch.starts[:-1] and start == batch.starts[-1]:
        return rows
    places = torch.cat([torch.arange(f, f + n) for f, n in zip(first, batch.lengths, strict=True)])
    return rows.index_select(0, on_device(places, rows.device))


def stack(bags: Sequence[Tensor], groups: Sequence[Sequence[int]]) -> Tensor:
    """One tensor (bags, ...) per group to (bags, ...), in the order of the batch."""
    order = [index for group in groups for index in group]
    rows = torch.cat(list(bags))
    if order == sorted(order):
        return rows
    return rows.index_select(0, on_device(torch.tensor(order).argsort(), rows.device))


STEPS = tuple((x, y) for y in (-1, 0, 1) for x in (-1, 0, 1) if (x, y) != (0, 0))


def neighbours(batch: BagBatch) -> tuple[Int[Tensor, "tiles 8"], Bool[Tensor, "tiles 8"]]:
    """The row of the tile one step away in each of 8 directions, and whether there is one (else the row itself).

    A step is the bag's `tile_level0_px`, where unknown the smallest distance of two columns or rows of tiles;
    positions are rounded to whole steps. Where several tiles share a place (overlapping tiles), the upper left one
    stands for it. A batch without coordinates has no neighbours.
    """
    rows = torch.arange(batch.features.shape[0], device=batch.features.device)
    if batch.level0_xy is None:
        alone = rows[:, None].expand(-1, len(STEPS))
        return alone, torch.zeros_like(alone, dtype=torch.bool)
    xy, bag = batch.level0_xy, batch.bag_of_tile
    column, row = _steps(batch.split(xy), batch.tile_level0_px or (None,) * len(batch), bag).unbind(1)
    width, height = column.amax() + 3, row.amax() + 3  # free cells around a bag: no step wraps into a row or bag
    cell = (bag * height + row + 1) * width + column + 1
    order = xy[:, 0].argsort(stable=True)  # then by y, then by cell: the same tile stands for a cell in any order
    order = order[xy[order, 1].argsort(stable=True)]
    order = order[cell[order].argsort(stable=True)]
    ordered = cell[order]
    wanted = torch.stack([cell + y * width + x for x, y in STEPS], 1)
    place = torch.searchsorted(ordered, wanted).clamp(max=len(cell) - 1)  # of the wanted cell, by bisection
    there = ordered[place] == wanted
    return torch.where(there, order[place], rows[:, None]), there


def _steps(
    bags: Sequence[Int[Tensor, "_ 2"]], sides: Sequence[float | None], bag: Int[Tensor, " tiles"]
) -> Int[Tensor, "tiles 2"]:
    """Positions in whole steps from the upper left of each bag."""
    step = torch.stack(
        [
            _smallest_step(xy) if side is None else xy.new_full((), side, dtype=torch.float32)
            for xy, side in zip(bags, sides, strict=True)
        ]
    )
    start = torch.stack([xy.amin(0) for xy in bags])
    return ((torch.cat(list(bags)) - start[bag]) / step[bag, None]).round().long()


def _smallest_step(xy: Int[Tensor, "tiles 2"]) -> Float[Tensor, ""]:
    steps = xy.sort(0).values.diff(dim=0).flatten().float()
    return torch.cat([steps.where(steps > 0, torch.inf), steps.new_full((1,), torch.inf)]).amin()
