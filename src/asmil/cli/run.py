"""Slides (or features) and labels to a report: the whole line in one go, resumable at any point."""

from pathlib import Path

import typer

from asmil.cli.parts import PRINT_CONFIG, settings_from, with_settings
from asmil.cli.parts.told import screen, wrote
from asmil.settings import Group


@with_settings(*Group, without=["shard"])
def run(
    config: Path | None = typer.Argument(None, help="YAML file with the same settings as the flags; flags win."),
    print_config: bool = PRINT_CONFIG,
    **settings: object,
) -> None:
    """Extract, cross-validate, evaluate and report; run it again to go on where it was stopped."""
    from asmil import runs
    from asmil.cli import exit_with

    made = runs.run(settings_from(settings, config, show=print_config), listener=screen())
    wrote("report", made.report_file)
    exit_with(made.outcome, metrics=made.headline)
