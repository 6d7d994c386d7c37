"""Cross-validation: the seeds of a fold are trained side by side, folds one after the other or in processes."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from shutil import rmtree

from asmil.bags import Bag, Cohort, FeatureStore, Splits, require_one_answer
from asmil.errors import AsmilError, RunError
from asmil.extraction import WorkerDied, run_tasks
from asmil.progress import model_name
from asmil.training.cell import CellResult, Failure, Fold, Job, Progress, Trained, folds_of, one_thread, train_fold
from asmil.training.recipe import Recipe

_OTHERWISE = (
    "other settings go on in this --out (and with its features) where no model is finished; else they need another, "
    "and `asmil evaluate` and `asmil report` show the finished ones with --partial"
)
Keep = Callable[[CellResult], None]
"""What is done with a trained model; called in the process that trained it, so it must survive being sent there."""


def most_epochs(
    cohort: Cohort, splits: Splits, *, recipe: Recipe, cells: Sequence[tuple[int, int]], by_patient: bool = False
) -> int:
    """Epochs that `crossval` of these cells takes at most, refits included."""
    job = Job(Path(), cohort, splits, recipe, by_patient=by_patient)
    return sum(job.epochs(fold) for fold, _ in cells)


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
    by_patient: bool = False,
    progress: Callable[[int, int, int, int], None] = lambda *_: None,
    tell: Callable[[str], None] = lambda line: None,
    trained: Callable[..., None] = lambda model, rows, *, result: None,
) -> None:
    """Train a model for each fold and seed of `cells` and `keep` it; an interrupted call goes on where it stopped.

    The seeds of a fold are trained side by side, in one pass over its bags, always: a result depends neither on the
    number of `workers`, bit for bit, nor on the other seeds beyond rounding; a process has OMP_NUM_THREADS threads, or
    one. `checkpoints` is for what is not finished. `progress` hears fold, seed, epochs done and at most, `trained` what
    `Listener.trained` does. With `by_patient` a bag holds the tiles of all slides of a patient; predictions and
    attention are told slide by slide, the same probabilities for all slides of a patient, whose attention sums to 1.

    Raises:
        CohortError: `by_patient`, and slides of a patient have different labels.
        ConfigError: a model or settings that the cohort's task cannot be trained with.
        AsmilError: the training of some cells diverged (they are named, the others finished), or a process died.
    """
    recipe.check(cohort.task)
    if by_patient:
        require_one_answer(cohort)
    copies = checkpoints / "copies"  # of features that cannot be streamed from their files
    job = Job(store.path, cohort, splits, recipe, workers, copies, by_patient=by_patient, encoder=store.encoder)
    folds, failures = folds_of(cells, checkpoints), list[Failure]()
    with closing(_events(job, folds, keep=keep, workers=workers, tell=tell)) as events:  # ends processes, come what may
        for index, event in events:
            if isinstance(event, WorkerDied):
                raise RunError(
                    f"the training of {folds[index].name} ended: {event.what}",
                    found=event.found,
                    fix=f"{event.fix}; started models go on",
                ) from event
            if isinstance(event, BaseException):
                raise event
            if isinstance(event, Failure):
                failures.append(event)
            elif isinstance(event, Trained):
                trained(event.model, event.rows, result=event.result)
            else:
                progress(*event)
    rmtree(copies, ignore_errors=True)
    with suppress(OSError):  # another call may have checkpoints there
        checkpoints.rmdir()
    if failures:
        error = failures[0].error
        raise AsmilError(
            f"{len(failures)} of {len(cells)} trainings failed (what is finished is kept): {error.what}",
            found="; ".join(f"{model_name(fold, seed)}: {one.found}" for fold, seed, one in failures),
            fix=f"{error.fix}; {_OTHERWISE}",
        ) from error


def _events(
    job: Job, folds: Sequence[Fold], *, keep: Keep, workers: int, tell: Callable[[str], None]
) -> Generator[tuple[int, Progress | Trained | Failure | BaseException]]:
    """What happens in the folds, with their indexes; trained here, or in as many processes."""
    if workers > 1:
        tasks = [(job, fold, keep) for fold in folds]
        yield from run_tasks(_in_process, tasks, workers=min(workers, len(folds)), tries_in_all=MOST_DEATHS)
    elif folds:
        bags = job.bags(tell)
        for index, fold in enumerate(folds):
            with one_thread():
                yield from ((index, event) for event in train_fold(fold, job, bags, keep=keep))


MOST_DEATHS = 3
"""Processes that a fold may cost: one that dies wherever it goes on, as where models are kept, would take no end."""

_bags: dict[str, dict[str, Bag]] = {}
"""What this process has loaded, for its next fold."""


def _in_process(task: tuple[Job, Fold, Keep]) -> Iterator[Progress | Trained | Failure]:
    job, fold, keep = task
    with one_thread():
        if not _bags:
            _bags["of this process"] = job.bags()
        yield from train_fold(fold, job, _bags["of this process"], keep=keep)
