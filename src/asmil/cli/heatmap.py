"""Attention of a run over its slides: PNG to look at, GeoJSON for QuPath."""

from pathlib import Path

import typer

from asmil.cli.parts import PARTIAL
from asmil.cli.parts.told import screen, wrote


def heatmap(
    run: Path = typer.Argument(help="Run folder."),
    slide: list[str] = typer.Option([], help="Slide to draw; repeat for several; all if not given."),
    packed: bool = typer.Option(False, "--gz", help="Write .geojson.gz, a tenth of the size, instead of .geojson."),
    partial: bool = PARTIAL,
) -> None:
    """Write figures/<slide>.png and figures/<slide>.geojson from the stored attention; nothing is extracted.

    What is there already and made of the same is left as it is.
    """
    from asmil import runs
    from asmil.cli import exit_with

    made = runs.Run.open(run)
    for path in runs.heatmap(made, slide, packed=packed, partial=partial, listener=screen()):
        wrote("figures", path, shown=str(path))
    exit_with(made.outcome)
