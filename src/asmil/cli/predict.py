"""New slides to predictions by all models of a run, prepared as the run's own were."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from asmil.cli.parts import PARTIAL, settings_from, with_settings
from asmil.settings import Group

if TYPE_CHECKING:
    from asmil.deploy import Predictions

MACHINE = ("weights", "tile_batch", "device", "slide_workers")


@with_settings(Group.SOURCE, Group.SCALE, *MACHINE)
def predict(
    run: Path = typer.Argument(help="Run folder."),
    out: Path = typer.Option(None, help="Output folder.  [<run>/predictions]", show_default=False),
    run_features: Path = typer.Option(None, help="Features that the run was trained on, where they were moved."),
    heatmaps: bool = typer.Option(False, "--heatmaps", help="Write figures/<slide>.png and .geojson."),
    accept: list[str] = typer.Option([], help="Setting in which features may differ from the run's; repeat."),
    partial: bool = PARTIAL,
    **settings: object,
) -> None:
    """Write predictions.csv and attention.h5; tiles and encoder are the run's, and cannot be chosen.

    A slide of the run's own cohort is predicted only by the members that never saw it. Run it again to go on.
    """
    from asmil import runs
    from asmil.cli import exit_with
    from asmil.progress import Screen

    found = runs.predict(
        run,
        settings=settings_from(settings),
        out=out,
        heatmaps=heatmaps,
        accept=accept,
        run_features=run_features,
        partial=partial,
        listener=Screen(),
    )
    _print(found)
    exit_with(found.outcome)


def _print(found: "Predictions") -> None:
    """How many slides of each class, or the range of a value, and every warning with its slides."""
    from asmil.bags import listed

    table = found.table
    for name in found.classes if len(table) else ():
        if "prediction" in table:
            typer.echo(f"{name}: {(table['prediction'] == name).sum()} of {len(table)} slides")
        else:
            low, high, middle = table[name].min(), table[name].max(), table[name].median()
            typer.echo(f"{name}: {low:.4g} to {high:.4g}, median {middle:.4g}, of {len(table)} slides")
    for text, slides in found.warnings.items():
        typer.echo(f"warning: {text} [{len(slides)}: {listed(slides, 3)}]", err=True)
    typer.echo(f"predictions: {found.folder / 'predictions.csv'}")
