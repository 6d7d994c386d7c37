"""Cross-validation: one cell per fold and seed, each resumable, trained together or run side by side in processes."""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from asmil.bags import Cohort, FeatureStore, Splits
from asmil.bags.patients import require_one_answer, tiles_by_patient
from asmil.errors import AsmilError, ConfigError, RunError
from asmil.training._cell import Cell, Job, Keep, Progress, name_of
from asmil.training._group import Failures, Group, begun_groups, cell_of, train_group
from asmil.training._grouping import grouped
from asmil.training.recipe import Recipe


def crossval(
    cohort: Cohort,
    store: FeatureStore,
    splits: Splits,
    *,
    recipe: Recipe,
    cells: Sequence[tuple[int, int]],
    keep: Keep,
    checkpoints: Path,
    workers: int = 1,
    together: str = "auto",
    by_patient: bool = False,
    progress: Progress | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> None:
    """Train the models of these `cells` (fold, seed) and give each to `keep`, in the process that trained it.

    Trainings that are interrupted go on from what is in the folder `checkpoints`.

    Cells are trained `together`, in one pass over the bags, where that is faster ("auto"), where the method can ("on"),
    or never ("off"); `tell` hears which. Results are those of one by one within rounding, but for the draws of dropout
    and other random masks. One by one, a cell's result does not depend on `workers` at all: every process trains with
    one thread unless `workers` is 1.

    With `by_patient` a bag holds the tiles of all slides of a patient; predictions and attention are written slide by
    slide, the same probabilities for all slides of a patient, whose attention sums to 1 over them.

    Raises:
        CohortError: `by_patient`, and slides of a patient have different labels.
        ConfigError: `together` is none of the three; a model or settings that the cohort's task cannot be trained with.
        AsmilError: the training of some cells diverged; they are named, and the others are finished.
        RunError: a worker process died; the finished cells are kept and the same call continues.
    """
    if together not in ("auto", "on", "off"):
        raise ConfigError("unknown way to train folds and seeds", found=together, fix="auto, on or off")
    recipe.check(cohort.task)
    if cohort.task is not None:
        together = _alone(together)
    todo = [cell_of(checkpoints, fold, seed) for fold, seed in cells]
    if by_patient:
        require_one_answer(cohort)
    copies = checkpoints.with_name("copies")
    job = Job(store.path, cohort, splits, recipe, processes=workers, copies=copies, by_patient=by_patient)
    groups = _groups(checkpoints, todo, job, workers=workers, together=together, store=store)
    if any(len(group.cells) > 1 for group in groups):
        sizes = ", ".join(str(len(group.cells)) for group in groups)
        tell(f"{len(todo)} models, trained together in groups of {sizes} (--together off: one by one)")
    if groups and workers > 1:
        failures = _in_processes(groups, job, workers=workers, keep=keep, progress=progress or _quiet)
    else:
        bags = job.bags(tell) if groups else {}
        hear = progress or _quiet
        failures = [p for group in groups for p in train_group(group, job, bags, keep=keep, progress=hear)]
    if failures:
        first, error = failures[0]
        raise AsmilError(
            f"{len(failures)} of {len(todo)} trainings failed, the others are finished: {error.what}",
            found=f"{', '.join(name_of(cell) for cell, _ in failures)}; {name_of(first)}: {error.found}",
            fix=error.fix,
        ) from error


def _alone(together: str) -> str:
    """Only classifiers are trained together: folds of another task may have different outputs (bins of time), and what
    some losses say of a bag depends on the others in its batch.
    """
    if together == "on":
        raise ConfigError("only classifiers can be trained together", found="together on", fix="auto or off")
    return "off"


def _quiet(*_: Any) -> None:
    """Nobody listens."""


def _groups(
    checkpoints: Path, todo: list[Cell], job: Job, *, workers: int, together: str, store: FeatureStore
) -> list[Group]:
    """Interrupted groups go on as they were, interrupted cells alone, and the others as is best."""
    if together == "off" or not todo:
        return [Group.of(checkpoints, [cell]) for cell in todo]
    begun = begun_groups(checkpoints, todo)
    taken = {cell for group in begun for cell in group.cells}
    alone = [cell for cell in todo if cell not in taken and (cell.folder / "checkpoint.pt").exists()]
    free = [cell for cell in todo if cell not in taken and cell not in alone]
    infos = [store.info(slide) for slide in job.cohort.slides] if free else []
    tiles, dim = {info.slide: info.tiles for info in infos}, infos[0].dim if infos else 0
    tiles = tiles_by_patient(job.cohort, tiles) if job.by_patient and infos else tiles
    fresh = grouped(free, job, workers=workers, tiles=tiles, dim=dim, always=together == "on") if free else []
    return [*begun, *(Group.of(checkpoints, cells) for cells in [*fresh, *([cell] for cell in alone)])]


_worker: dict[str, Any] = {}


def _start_worker(job: Job, keep: Keep, queue: Any) -> None:
    torch.set_num_threads(1)
    _worker.update(job=job, keep=keep, queue=queue, bags=job.bags())


def _run_in_worker(group: Group) -> Failures:
    job, bags, keep, queue = (_worker[name] for name in ("job", "bags", "keep", "queue"))
    return train_group(group, job, bags, keep=keep, progress=lambda *event: queue.put(event))


def _in_processes(groups: list[Group], job: Job, *, workers: int, keep: Keep, progress: Progress) -> Failures:
    context = get_context("spawn")  # forking after torch has started threads can dead-lock
    failures: Failures = []
    with context.Manager() as manager:
        queue = manager.Queue()
        with ProcessPoolExecutor(
            min(workers, len(groups)), mp_context=context, initializer=_start_worker, initargs=(job, keep, queue)
        ) as pool:
            pending = {pool.submit(_run_in_worker, group) for group in groups}
            try:
                while pending:
                    done, _ = wait(pending, timeout=0.3, return_when=FIRST_COMPLETED)
                    for future in done:
                        failures += future.result()
                        pending.remove(future)
                    while not queue.empty():
                        progress(*queue.get())
            except BrokenProcessPool as error:
                raise RunError(
                    "a training process died (out of memory, or killed)",
                    found=f"{len(groups) - len(pending)} of {len(groups)} groups of cells finished",
                    fix="run the same command again: finished cells are kept and started ones continue",
                ) from error
    return failures
