"""A whole training step of ASMIL against its textbook form, and against what the machine could reach."""

from collections.abc import Iterator
from itertools import product

import torch

from asmil.bench.rows import HIGHER, Row, Scale
from asmil.bench.steps import AS_TEXTBOOK, least_flops, limit_step, our_step, textbook_step
from asmil.bench.timing import best_seconds, first_call, flops_of, free_bytes, measure_machine

PART = "training step"


def measure(scale: Scale) -> Iterator[Row]:
    """Time, memory, operations and shares of the limits for each number of tiles and input features.

    `of the products` compares with the matrix products alone that no form avoids, measured in turns with the step;
    `of the machine` with the time of these, or of one reading of the features, at the machine's best rates;
    `operations / least` counts both, and is the same in every run, as memory is.
    """
    machine = measure_machine(scale.device)
    textbook_per_tile = 0.0
    for (in_dim, dim), tiles in product(scale.step_dims, scale.step_tiles):
        case = f"{tiles} tiles, {in_dim} -> {dim}"
        features = torch.randn(tiles, in_dim, device=scale.device)
        steps = [our_step(features, dim, **AS_TEXTBOOK), limit_step(features, dim)]
        first = [first_call(step, device=scale.device) for step in steps]
        needed, free = textbook_per_tile * tiles, free_bytes(scale.device)
        if needed < 0.8 * free:
            steps.append(textbook_step(features, dim))
            first.append(first_call(steps[-1], device=scale.device))
            textbook_per_tile = first[-1][1] / tiles
        calls, peaks = zip(*first, strict=True)
        ours, limit, *textbook = best_seconds(steps, seconds=scale.seconds, device=scale.device, first=calls)
        yield Row(PART, case, "ours", 1e3 * ours, "ms")
        if textbook:
            yield Row(PART, case, "times faster", textbook[0] / ours, "x", HIGHER, tolerance=0.35)
            yield Row(PART, case, "memory / textbook", peaks[0] / peaks[2], "x", tolerance=0.1)
        else:
            note = f"textbook skipped: needs about {needed / 2**30:.1f} GiB, free are {free / 2**30:.1f}"
            yield Row(PART, case, "times faster", None, note=note)
        least = least_flops(features, dim)
        yield Row(PART, case, "of the products", limit / ours, "x", HIGHER, tolerance=0.35)
        yield Row(PART, case, "of the machine", machine.seconds(least, moved=features.nbytes) / ours, "x", HIGHER)
        yield Row(PART, case, "operations / least", flops_of(steps[0]) / least, "x", tolerance=0.05)
