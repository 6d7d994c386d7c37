"""Features and labels to trained folds: cross-validation without extraction, evaluation and report."""

from pathlib import Path

import typer

from asmil.cli.parts import PRINT_CONFIG, settings_from, with_settings
from asmil.cli.parts.told import screen, wrote
from asmil.errors import as_typed
from asmil.settings import Group

DATA = ("features", "features_encoder", Group.TABLES, Group.TASK, Group.SPLITS, Group.OUT)


@with_settings(*DATA, Group.MODEL, Group.STABILISER, Group.TRAINING, Group.MACHINE)
def crossval(
    config: Path | None = typer.Argument(None, help="YAML file of settings, as for `asmil run`; flags win."),
    print_config: bool = PRINT_CONFIG,
    **settings: object,
) -> None:
    """Train every fold and seed into --out; `asmil evaluate` and `asmil report` go on from there."""
    from asmil import runs
    from asmil.cli import exit_with

    made = runs.train(settings_from(settings, config, show=print_config), listener=screen())
    wrote("run", made.folder, shown=f"next: {as_typed('asmil', 'evaluate', made.folder)}")
    exit_with(made.outcome, metrics=made.validation)
