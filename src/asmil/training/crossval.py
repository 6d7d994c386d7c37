"""Cross-validation: one cell per fold and seed, each resumable, run side by side in processes."""

from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any

import torch

from asmil.bags import Bag, Cohort, FeatureStore, Splits, load_bags, open_features
from asmil.errors import RunError
from asmil.training._cell import Job, Progress, train_cell
from asmil.training.recipe import Recipe
from asmil.training.runs import Cell, Run


def crossval(
    cohort: Cohort,
    store: FeatureStore,
    splits: Splits,
    *,
    recipe: Recipe,
    run: Run,
    seeds: Sequence[int] = (0,),
    workers: int = 1,
    progress: Progress | None = None,
) -> Run:
    """Train one model per fold and seed and write each cell into the run; finished cells are kept as they are.

    A cell's result does not depend on `workers`: every process trains with one thread unless `workers` is 1.

    Raises:
        RunError: a worker process died; the finished cells are kept and the same call continues.
    """
    todo = [run.cell(f, s) for f in splits.folds for s in seeds if not run.cell(f, s).finished]
    job = Job(store.path, cohort, splits, recipe)
    tell = progress or (lambda *_: None)
    if todo and workers > 1:
        _in_processes(todo, job, workers=workers, progress=tell)
    elif todo:
        bags = _bags_by_slide(job)
        for cell in todo:
            train_cell(cell, job, bags, progress=tell)
    return run


def _bags_by_slide(job: Job) -> dict[str, Bag]:
    return {bag.slide: bag for bag in load_bags(open_features(job.features), job.cohort)}


_worker: dict[str, Any] = {}


def _start_worker(job: Job, queue: Any) -> None:
    torch.set_num_threads(1)
    _worker.update(job=job, queue=queue, bags=_bags_by_slide(job))


def _run_in_worker(cell: Cell) -> None:
    train_cell(cell, _worker["job"], _worker["bags"], progress=lambda *event: _worker["queue"].put(event))


def _in_processes(cells: list[Cell], job: Job, *, workers: int, progress: Progress) -> None:
    context = get_context("spawn")  # forking after torch has started threads can dead-lock
    with context.Manager() as manager:
        queue = manager.Queue()
        with ProcessPoolExecutor(
            min(workers, len(cells)), mp_context=context, initializer=_start_worker, initargs=(job, queue)
        ) as pool:
            pending = {pool.submit(_run_in_worker, cell) for cell in cells}
            try:
                while pending:
                    done, _ = wait(pending, timeout=0.3, return_when=FIRST_COMPLETED)
                    for future in done:
                        future.result()
                        pending.remove(future)
                    while not queue.empty():
                        progress(*queue.get())
            except BrokenProcessPool as error:
                raise RunError(
                    "a training process died (out of memory, or killed)",
                    found=f"{len(cells) - len(pending)} of {len(cells)} cells finished",
                    fix="run the same command again: finished cells are kept and started ones continue",
                ) from error
