"""Features and labels to trained folds: cross-validation without extraction, evaluation and report."""

from typing import Any

import typer

from asmil.cli._options import ENCODER, HELP, INPUT, SCALE, TILES, TRUTH, WORKERS, given, with_settings

_NOT_HERE = {"slides", "tissue_method", "heatmaps", *SCALE, *TILES, *ENCODER, *WORKERS, *TRUTH} - {"device"}


@with_settings("features", *INPUT, *[n for n in HELP if n not in {"features", *INPUT, *_NOT_HERE}])
def crossval(**settings: Any) -> None:
    """Train every fold and seed into --out; `asmil evaluate` and `asmil report` go on from there."""
    from asmil.bags import open_features
    from asmil.cli._outcome import Outcome
    from asmil.cli._stages import begin, note_problems, read_tables, train
    from asmil.config import load_config
    from asmil.errors import ConfigError

    config = load_config(None, given(settings))
    if config.features is None:
        raise ConfigError("there are no features", fix="give --features FOLDER, or use `asmil run` with --slides")
    outcome = Outcome()
    run = begin(config)
    store = open_features(config.features)
    cohort = read_tables(config).match(store.slides)
    note_problems(cohort.problems + store.problems, outcome)
    with run.timed("train"):
        train(config, run=run, cohort=cohort, store=store)
    outcome.write(run.failures_file)
    outcome.print_table()
    typer.echo(f"next: asmil evaluate {run.folder}")
    raise typer.Exit(outcome.exit_code)
