"""Which cells of a run are trained together: what it costs, as groups of folds and one by one, and what memory allows.

A step of one model costs some overhead (hundreds of small operations) and work that grows with its tiles. A step of K
models together costs the overhead about once, but every model works on the bags of all: for models of one fold these
are its own, for models of several folds about twice to four times as many. So it pays for small bags and many seeds.
The constants are fitted to `python -m benchmarks cells` (docs/benchmarks.md, "Folds x seeds").
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from asmil.bags import Bag, BagBatch, available_memory
from asmil.models import create_model
from asmil.training._cell import Job
from asmil.training._steps import own_steps
from asmil.training.batches import bag_order
from asmil.training.recipe import stackable
from asmil.training.runs import Cell

OVERHEAD = {"cpu": 45e6, "cuda": 45e9}
"""Multiplications and additions of a forward that take as long as the overhead of a step. CUDA: a guess, never measured
(a step's few hundred launches take milliseconds, in which such a device computes a thousand times more)."""

_JOINT, _PER_MODEL = 1.3, 0.04
"""The overhead of a joint step: of it all, and of each model."""

_WORTHWHILE = 1.2
"""Times as fast as one by one: less does not pay for the coarser checkpoints."""


@dataclass(frozen=True)
class Load:
    """One model's step: overhead and work in the same unit; bytes that the backward keeps of a bag, and of weights."""

    overhead: float
    work: float
    bag_bytes: float
    weight_bytes: float


def grouped(
    todo: Sequence[Cell], job: Job, *, workers: int, tiles: dict[str, int], dim: int, always: bool = False
) -> list[list[Cell]]:
    """The cells in groups, fastest on so many processes: single ones where together does not pay, or cannot be.

    `tiles` by slide and `dim` are those of the features. `always`: together wherever it can be.
    """
    load = load_of(job, tiles=tiles, dim=dim)
    if load is None or len(todo) < 2:
        return [[cell] for cell in todo]
    folds = sorted({cell.fold for cell in todo})
    alone = [_Cost(job, load, [cell]).seconds for cell in todo]
    groups = [[cell] for cell in todo]
    best = np.inf if always else _makespan(alone, workers) / _WORTHWHILE
    for count in range(1, len(folds) + 1):
        parts = [[c for c in todo if c.fold in part] for part in np.array_split(folds, count)]
        parts = [small for part in parts for small in _fitting(part, job, load, workers=workers)]
        costs = [_Cost(job, load, part).seconds for part in parts]
        if _makespan(costs, workers) < best:
            best, groups = _makespan(costs, workers), parts
    return sorted(groups, key=len, reverse=True)


def _makespan(costs: Sequence[float], workers: int) -> float:
    """When the last process ends, if each takes the next largest group."""
    ends = [0.0] * workers
    for cost in sorted(costs, reverse=True):
        ends[ends.index(min(ends))] += cost
    return max(ends)


def load_of(job: Job, *, tiles: dict[str, int], dim: int) -> Load | None:
    """Measured by counting, on one forward of a batch of mean size; None for models that cannot be trained together."""
    settings, recipe = job.recipe.settings, job.recipe
    with torch.random.fork_rng(devices=[]):
        model = create_model(recipe.model, in_dim=dim, n_classes=len(job.cohort.classes), **recipe.model_options)
        if not stackable(model):
            return None
        kept = max(1.0, float(np.mean(list(tiles.values()))) * (1 - settings.tile_dropout))
        kept = min(kept, settings.tiles_per_bag or kept)
        counted = int(min(kept, 1024))  # what is more grows with the tiles
        side = torch.arange(counted)
        xy = torch.stack([side % 32, side // 32], 1)
        bags = [Bag(torch.randn(counted, dim), level0_xy=xy, label=0, tile_level0_px=1.0) for _ in range(2)]
        saved: dict[int, int] = {}

        def note(tensor: torch.Tensor) -> torch.Tensor:
            saved[tensor.data_ptr()] = tensor.nbytes
            return tensor

        with FlopCounterMode(display=False) as counter, saved_tensors_hooks(note, lambda tensor: tensor):
            model(BagBatch.from_bags(bags))
    scale = kept / counted / len(bags)
    device = torch.device(recipe.device).type
    weights = sum(p.nbytes for p in model.parameters())
    work = counter.get_total_flops() * scale * settings.batch_size
    return Load(OVERHEAD.get(device, OVERHEAD["cpu"]), work, sum(saved.values()) * scale, weights)


class _Cost:
    """What an epoch of a group costs."""

    def __init__(self, job: Job, load: Load, cells: Sequence[Cell]):
        settings = job.recipe.settings
        parts = {fold: set(job.splits.fold(fold).train) for fold in {cell.fold for cell in cells}}
        slides = sorted(set().union(*parts.values()))
        trains = np.array([[slide in part for slide in slides] for part in parts.values()])
        order = bag_order([Bag(_NOTHING, slide=slide) for slide in slides], settings=settings, epoch=0)
        steps = own_steps(order, trains, batch_size=settings.batch_size)
        self.bags = max(len(step.bags) for step in steps)
        shared = np.mean([len(step.bags) for step in steps]) / np.mean([step.sizes.max() for step in steps])
        models = len(cells)
        overhead = load.overhead * (1 if models == 1 else _JOINT + _PER_MODEL * models)
        self.seconds = len(steps) * (overhead + models * shared * load.work)
        # Weights, gradients, two moments, the anchor, the best, and one of each in passing.
        self.bytes = models * (8 * load.weight_bytes + 2 * self.bags * load.bag_bytes)


_NOTHING = torch.zeros(1, 1)


def _fitting(cells: list[Cell], job: Job, load: Load, *, workers: int) -> list[list[Cell]]:
    """Halves of halves until a group fits into half of the free memory, shared by the workers."""
    if torch.device(job.recipe.device).type == "cuda":
        budget = torch.cuda.mem_get_info(job.recipe.device)[0] / 2
    else:
        budget = available_memory() / 2 / workers
    if len(cells) == 1 or _Cost(job, load, cells).bytes <= budget:
        return [cells]
    middle = len(cells) // 2
    return _fitting(cells[:middle], job, load, workers=workers) + _fitting(cells[middle:], job, load, workers=workers)
