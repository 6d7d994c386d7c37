"""Attention of a run over its slides: PNG to look at, GeoJSON for QuPath."""

from pathlib import Path

import typer


def heatmap(
    run: Path = typer.Argument(help="Run folder."),
    slide: list[str] = typer.Option(None, help="Slide to draw; repeat for several; all if not given."),
) -> None:
    """Write figures/<slide>.png and figures/<slide>.geojson from the stored attention; nothing is extracted."""
    from asmil.report import write_heatmaps
    from asmil.runs import Run

    for path in write_heatmaps(Run.open(run), slides=slide or None):
        typer.echo(path)
