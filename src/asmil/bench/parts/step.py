"""A whole training step of ASMIL against its textbook form, and against what the machine could reach."""

from collections.abc import Iterator
from itertools import product

import torch

from asmil.bench.machine import Machine, free_bytes, measure_machine
from asmil.bench.rows import HIGHER, Row
from asmil.bench.scale import Scale
from asmil.bench.steps import ROWS, limit_step, our_step, textbook_step
from asmil.bench.timing import best_seconds, first_call

PART = "training step"


def measure(scale: Scale) -> Iterator[Row]:
    """Time, memory, and shares of the limits for each number of tiles and input features.

    `of the products` compares with the matrix products alone that no form avoids, measured in turns with the step;
    `of the machine` with the time that these, and one reading of the features, take at the machine's best rates.
    """
    machine = measure_machine(scale.device)
    textbook_per_tile = 0.0
    for (in_dim, dim), tiles in product(scale.step_dims, scale.step_tiles):
        case = f"{tiles} tiles, {in_dim} -> {dim}"
        features = torch.randn(tiles, in_dim, device=scale.device)
        steps = [our_step(features, dim=dim), limit_step(features, dim=dim)]
        first = [first_call(step, device=scale.device) for step in steps]
        needed, free = textbook_per_tile * tiles, free_bytes(scale.device)
        fits = needed < 0.8 * free
        if fits:
            steps.append(textbook_step(features, dim=dim))
            first.append(first_call(steps[-1], device=scale.device))
            textbook_per_tile = first[-1][1] / tiles
        calls, peaks = zip(*first, strict=True)
        ours, limit, *textbook = best_seconds(steps, seconds=scale.seconds, device=scale.device, first=calls)
        yield Row(PART, case, "ours", 1e3 * ours, "ms")
        if textbook:
            yield Row(PART, case, "times faster", textbook[0] / ours, "x", HIGHER, tolerance=0.25)
            yield Row(PART, case, "memory / textbook", peaks[0] / peaks[2], "x", tolerance=0.1)
        else:
            note = f"textbook skipped: needs about {needed / 2**30:.1f} GiB, free are {free / 2**30:.1f}"
            yield Row(PART, case, "times faster", None, note=note)
        yield Row(PART, case, "of the products", limit / ours, "x", HIGHER, tolerance=0.25)
        yield Row(PART, case, "of the machine", _least_seconds(features, dim, machine) / ours, "x", HIGHER)


def _least_seconds(features: torch.Tensor, dim: int, machine: Machine) -> float:
    """What the products of `limit_step` take at the best rate, or one reading of the features."""
    tiles, in_dim = features.shape
    return machine.seconds(2.0 * tiles * dim * (3 * in_dim + 7 * ROWS), moved=features.nbytes)
