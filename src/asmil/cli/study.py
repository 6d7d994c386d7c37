"""Models, stabilisers and datasets compared: every fold and seed of every arm trained, one table, one page."""

from pathlib import Path

import typer

from asmil.cli.parts.told import screen, wrote


def study(
    config: Path = typer.Argument(help="YAML file: datasets, models, stabilizers, folds, seeds, settings, out."),
    workers: int | None = typer.Option(None, min=1, help="Training processes, one thread each; 1 uses all threads."),
    engine: str | None = typer.Option(None, help="What runs the processes: local, or ray."),
    out: Path | None = typer.Option(None, help="Output folder, instead of the file's."),
    log_to: str | None = typer.Option(
        None, help="Tell epochs and metrics to tensorboard, wandb or mlflow too; several with commas between."
    ),
    only: str | None = typer.Option(None, help="Only arms of this name: musk1--abmil--none, a part of it, or *."),
) -> None:
    """Train what is not trained yet, and write results.csv and report.html; run it again to go on or to add arms."""
    from asmil.cli import exit_with
    from asmil.progress import Outcome
    from asmil.settings import device_of, require_writable
    from asmil.study import load_study, run_study, write_study_report

    settings = load_study(config, {"out": out, "workers": workers, "engine": engine, "log_to": log_to}, only=only)
    require_writable(settings.out)
    settings = settings.model_copy(update={"device": device_of(settings.device)})
    hear, outcome = screen(), Outcome()
    result = run_study(settings, only=only, listener=hear)
    for arm in result.arms:
        outcome.ok(arm)
    for label, problems in result.left_out.items():
        for problem in problems:
            note = outcome.failed if problem.path else outcome.noted  # a file of its own that cannot be used
            note(f"{label} {problem.slide}".rstrip(), stage="data", reason=problem.what)
    for failure in result.failures:
        outcome.failed(failure.arm, stage="train", reason=f"{failure.error}: {failure.reason}")
    hear.closing(outcome)
    if result.cells:
        wrote("table", result.table)
        with hear.stage("report", total=None):
            page = write_study_report(result.folder)
        wrote("report", page)
    exit_with(outcome)
