"""Cost of a tile from small bags to a patient's million: a training step's time and peak memory by size of the bag."""

from collections.abc import Iterator

import torch

from asmil.bench.rows import Row, Scale
from asmil.bench.steps import AS_TEXTBOOK, our_step
from asmil.bench.timing import best_seconds, first_call, free_bytes

PART = "curve"
IN_DIM, DIM = 384, 128
TIME, MEMORY = "time per tile", "memory per tile"


def tiles_of(row: Row) -> int:
    """The size of the bag of a row of this part."""
    return int(row.case.split()[0])


def measure(scale: Scale) -> Iterator[Row]:
    """Rows per size of a bag, and the last size's cost of a tile relative to the first's: 1 is exactly linear."""
    first: tuple[float, float] | None = None
    per_tile = 0.0
    for tiles in scale.curve_tiles:
        case = f"{tiles} tiles, {IN_DIM} -> {DIM}"
        needed = tiles * max(per_tile, 8 * (IN_DIM + DIM))  # the features, and by the last size what a step holds
        free = free_bytes(scale.device)
        if needed > 0.8 * free:
            note = f"skipped: needs about {needed / 2**30:.1f} GiB, free are {free / 2**30:.1f}"
            yield Row(PART, case, TIME, None, note=note)
            continue
        # half precision as stored; values do not matter to the time
        features = torch.randn(tiles, IN_DIM, device=scale.device).half()
        step = our_step(features, DIM, **AS_TEXTBOOK)
        once, peak = first_call(step, device=scale.device)
        (seconds,) = best_seconds([step], seconds=scale.seconds, device=scale.device, first=[once])
        del features, step
        per_tile = peak / tiles + 6 * IN_DIM
        cost = seconds / tiles, peak / tiles
        first = first or cost
        yield Row(PART, case, TIME, 1e6 * cost[0], "us")
        yield Row(PART, case, MEMORY, cost[1], "bytes")
        if tiles != scale.curve_tiles[0]:
            yield Row(PART, case, "time / first", cost[0] / first[0], "x", tolerance=0.4)
            yield Row(PART, case, "memory / first", cost[1] / first[1], "x", tolerance=0.1)
