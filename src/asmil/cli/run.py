"""Slides (or features) and labels to a report: the whole line in one go, resumable at any point."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from asmil.cli._options import HELP, given, with_settings

if TYPE_CHECKING:
    from asmil.config import RunConfig


@with_settings(*[name for name in HELP if name != "shard"])
def run(
    config: Path | None = typer.Argument(None, help="YAML file with the same settings as the flags; flags win."),
    **settings: Any,
) -> None:
    """Extract, cross-validate, evaluate and report; run it again to go on where it was stopped."""
    from asmil.config import load_config

    raise typer.Exit(run_pipeline(load_config(config, given(settings))))


def run_pipeline(config: "RunConfig") -> int:
    """Do all stages into `config.out` and return the exit code: 1 where a slide failed, else 0."""
    from asmil.bags import open_features
    from asmil.cli._outcome import Outcome
    from asmil.cli._stages import begin, note_problems, read_tables, train
    from asmil.cli.evaluate import evaluate_run
    from asmil.cli.report import report_run

    outcome = Outcome()
    run = begin(config)
    cohort = read_tables(config)
    with run.timed("extract"):
        features = _features(config, run, cohort=cohort, outcome=outcome)
    store = open_features(features)
    cohort = cohort.match(store.slides)
    note_problems(cohort.problems + store.problems, outcome)
    with run.timed("train"):
        train(config, run=run, cohort=cohort, store=store)
    with run.timed("evaluate"):
        evaluate_run(run, config)
    outcome.write(run.failures_file)
    with run.timed("report"):
        page = report_run(run, config)
    outcome.print_table()
    typer.echo(f"report: {page}")
    return outcome.exit_code


def _features(config: "RunConfig", run: Any, *, cohort: Any, outcome: Any) -> Path:
    """The folder of features: the user's, or extracted now from the labelled slides."""
    from asmil.cli._extraction import extract
    from asmil.errors import ConfigError
    from asmil.slides import scan_slides

    if config.features:
        return config.features
    if config.shard:
        raise ConfigError("a run needs all slides", found=f"shard {config.shard}", fix="use --shard with `asmil embed`")
    if config.slides is None:
        raise ConfigError("there is nothing to learn from", fix="give --slides FOLDER or --features FOLDER")
    files = scan_slides(config.slides)
    stores = extract(files, run.folder, config=config, outcome=outcome, cohort=cohort)
    if not stores:
        raise ConfigError("no slide has a label", found=f"{len(files)} slide files", fix="see `asmil check`")
    run.set_features(stores[0])
    return run.features
