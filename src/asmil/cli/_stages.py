"""The stages that several commands share: read a cohort, train its folds, write the results."""

import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import typer

from asmil._cores import cores
from asmil.cli._outcome import Outcome
from asmil.cli._progress import progress
from asmil.config import RunConfig
from asmil.errors import ConfigError, RunError

if TYPE_CHECKING:
    from asmil.bags import Cohort, FeatureStore, Splits
    from asmil.runs import Run
    from asmil.tasks import Task
    from asmil.training.recipe import Recipe


def device_of(config: RunConfig) -> str:
    """The device to use: as told, else CUDA, MPS or the CPU, whichever there is."""
    import torch

    if config.device == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if config.device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(
            "there is no CUDA device here",
            found=f"torch {torch.__version__}",
            fix="--device cpu, or see `asmil doctor`",
        )
    return config.device


def read_tables(config: RunConfig) -> "Cohort":
    """The cohort of the label table (and slide table)."""
    from asmil.bags import read_cohort

    if config.labels is None:
        raise ConfigError("there is no table of labels", fix="give --labels FILE (csv, tsv or xlsx)")
    return read_cohort(config.labels, slide_table=config.slide_table, label=config.label, task=task_of(config))


def task_of(config: RunConfig) -> "Task | None":
    """The task with its options; None for classification."""
    from asmil.tasks import create_task

    own = {"columns": config.target, "levels": config.levels} | config.task_options
    options = {name: value for name, value in own.items() if value != []}
    if config.task != "classification":
        return create_task(config.task, **options)
    if options:
        raise ConfigError(
            "classification has no options of a task",
            found=", ".join(options),
            fix="name it, for example --task ordinal",
        )
    return None


def splits_of(config: RunConfig, cohort: "Cohort") -> "Splits":
    """The user's splits, checked, or ours."""
    from asmil.bags import make_splits, read_splits

    if config.splits:
        return read_splits(config.splits, cohort)
    return make_splits(cohort, folds=config.folds, val_fraction=config.val_fraction, by_site=config.by_site)


def recipe_of(config: RunConfig) -> "Recipe":
    """What is trained in every fold."""
    from asmil.training import TrainSettings
    from asmil.training.recipe import Recipe

    stabilizer = {
        "beta": config.beta,
        "momentum": config.momentum,
        "anchor": config.anchor,
        "init": config.anchor_init,
        "reduction": config.reduction,
        "max_gradient_ratio": config.max_gradient_ratio,
        "start_epoch": config.anchor_start_epoch,
    }
    return Recipe(
        model=config.model,
        model_options=config.model_options,
        stabilizer=stabilizer if config.stabilize else None,
        settings=TrainSettings(
            epochs=config.epochs,
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            batch_size=config.batch_size,
            clip_norm=config.clip_norm,
            patience=config.patience,
            select=config.select,
            tile_dropout=config.tile_dropout,
            tiles_per_bag=config.tiles_per_bag,
            precision=config.precision,
        ),
        standardize=config.standardize,
        refit=config.refit,
        device=device_of(config),
    )


def begin(config: RunConfig) -> "Run":
    """The run in the output folder, begun or continued; one of other settings is refused."""
    from asmil.runs import Run

    run = Run.create(config.out)
    identity, before = json.loads(json.dumps(identity_of(config), default=str)), run.identity
    changed = [k for k in sorted({*before, *identity}) if before.get(k) != identity.get(k)] if before else []
    if changed:
        found = "; ".join(f"{k} was {before.get(k)!r}, is {identity.get(k)!r}" for k in changed[:8])
        fix = "choose another --out, or delete the folder"
        raise RunError(f"{config.out} holds a run made with other settings", found=found, fix=fix)
    run.write_identity(identity)
    run.write_settings(config)
    return run


def train(config: RunConfig, *, run: "Run", cohort: "Cohort", store: "FeatureStore") -> None:
    """Cross-validate into the run; a run that was stopped goes on, unless its cohort has changed.

    Raises:
        RunError: the splits on disk are of another cohort.
    """
    from asmil.training import crossval

    recipe_of(config).check(cohort.task)
    splits = splits_of(config, cohort)
    run.set_data(cohort, splits)
    todo = run.unfinished()
    for line in todo.says:
        typer.echo(f"note: {line}", err=True)
    cells = [(cell.fold, cell.seed) for cell in todo.unfinished]
    with progress("train", total=len(cells) * config.epochs * (1 + config.refit), unit="epochs") as advance:
        crossval(
            cohort, store, splits, recipe=recipe_of(config), cells=cells, keep=run.keep, checkpoints=run.checkpoints,
            workers=_workers(config), together=config.together, by_patient=config.bag == "patient",
            progress=_epochs_of_cells(advance),
            tell=lambda line: typer.echo(f"note: {line}", err=True),
        )  # fmt: skip
    run.refresh()


def _epochs_of_cells(advance: Callable[[int], None]) -> Callable[[str, int, int], None]:
    """Turn "this cell is at that epoch" into steps of one bar; a cell that stops early jumps to its end."""
    at: dict[str, int] = {}

    def tell(cell: str, done: int, total: int) -> None:
        advance(done - at.get(cell, 0))
        at[cell] = done

    return tell


def _workers(config: RunConfig) -> int:
    if config.workers:
        return config.workers
    return cores() if device_of(config) == "cpu" else 1


RESULT_SETTINGS = frozenset(RunConfig.model_fields) - {
    "out", "device", "workers", "heatmaps", "bootstrap", "annotations", "positive", "min_coverage", "tile_batch",
    "exclude_class", "mask_class", "mask_mpp", "froc", "also_encoder", "engine", "slide_workers", "shard", "scenes",
    "together",
}  # fmt: skip
"""Settings that decide the trained models; the others may change when a run is continued (`scenes` decides the cohort,
and that is compared by itself)."""

LATER_SETTINGS: dict[str, Any] = {
    "anchor_init": "copy", "reduction": "sum", "max_gradient_ratio": None, "reader": None, "slide_settings": None,
    "bag": "slide", "exclude_tiles": [], "encoder_precision": "auto", "stain": "none", "stain_target": None,
    "task": "classification", "target": [], "levels": [], "task_options": {},
}  # fmt: skip
"""Settings younger than the first runs and the values those had: left out there, so that old runs can be continued."""


def identity_of(config: RunConfig) -> dict[str, Any]:
    """The settings that must be the same for a run to be continued."""
    values = {k: v for k, v in config.model_dump(mode="json").items() if k in RESULT_SETTINGS}
    return {k: v for k, v in values.items() if (k, v) not in LATER_SETTINGS.items()}


def note_problems(problems: Iterable[Any], outcome: Outcome) -> None:
    """Put what is wrong with tables and feature files into the closing table."""
    for problem in problems:
        outcome.skipped(problem.slide or str(problem.path or "cohort"), stage="data", reason=problem.what)


def slide_mpp_of(cohort: "Cohort") -> dict[str, float]:
    """The um per pixel that the table's mpp column states, for the slides that have one."""
    if "mpp" not in cohort.table:
        return {}
    stated = cohort.table.dropna(subset="mpp")
    return dict(zip(stated["slide"], stated["mpp"].astype(float), strict=True))
