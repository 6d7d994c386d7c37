"""Name every problem of slides, features, labels, annotations and splits before a run."""

from pathlib import Path

import typer

from asmil.cli.parts import settings_from, with_settings
from asmil.cli.parts.told import screen, wrote
from asmil.settings import Group


@with_settings(*Group, without=["shard"])
def check(
    config: Path | None = typer.Argument(None, help="YAML file of settings, as for `asmil run`; flags win."),
    rows: Path = typer.Option(None, help="Write every row of the closing table to this csv file.", show_default=False),
    **settings: object,
) -> None:
    """Look at everything a run would read; exit code 1 if anything in it would fail.

    It takes the options of `asmil run`, so that a run's line can be tried as it is. Tissue and tiles are not looked
    for; a model is tried where one of its options is given.

    Only --rows is written, and beside 200 feature files or more an index, by which they open at once.
    """
    from asmil.cli import exit_with
    from asmil.settings import check_inputs

    hear = screen()
    outcome = check_inputs(settings_from(settings, config), hear, typer.echo)
    if rows is not None:
        outcome.write(rows)
        wrote("rows", rows)
    hear.closing(outcome)
    exit_with(outcome)
