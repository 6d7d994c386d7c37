"""Which tiles of a bag lie beside each other on the grid, without a (tiles x tiles) matrix."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from asmil.bags.bag import BagBatch

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
    sides = batch.tile_level0_px or (None,) * len(batch)
    found = [_in_bag(xy, side) for xy, side in zip(batch.split(batch.level0_xy), sides, strict=True)]
    index = torch.cat([bag + start for (bag, _), start in zip(found, batch.starts, strict=False)])
    there = torch.cat([bag for _, bag in found])
    return torch.where(there, index, rows[:, None]), there


def _in_bag(xy: Int[Tensor, "tiles 2"], side: float | None) -> tuple[Tensor, Tensor]:
    """Neighbours within one bag: cells numbered row by row, the number of the wanted cell found by bisection."""
    step = _smallest_step(xy) if side is None else side
    column, row = ((xy - xy.amin(0)) / step).round().long().unbind(1)
    width = column.amax() + 3  # a free column on either side, so that no step wraps into another row
    cell = (row + 1) * width + column + 1
    order = xy[:, 0].argsort(stable=True)  # then by y, then by cell: the same tile stands for a cell in any order
    order = order[xy[order, 1].argsort(stable=True)]
    order = order[cell[order].argsort(stable=True)]
    ordered = cell[order]
    wanted = torch.stack([cell + y * width + x for x, y in STEPS], 1)
    place = torch.searchsorted(ordered, wanted).clamp(max=len(cell) - 1)
    return order[place], ordered[place] == wanted


def _smallest_step(xy: Int[Tensor, "tiles 2"]) -> Float[Tensor, ""]:
    steps = xy.sort(0).values.diff(dim=0).flatten().float()
    return torch.cat([steps.where(steps > 0, torch.inf), steps.new_full((1,), torch.inf)]).amin()
