"""An evaluated run to one HTML page, and its heatmaps to files."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from asmil.cli._options import given, with_settings

if TYPE_CHECKING:
    from asmil.config import RunConfig
    from asmil.training import Run


@with_settings("heatmaps")
def report(run: Path = typer.Argument(help="Run folder."), **settings: Any) -> None:
    """Write report.html (self-contained) and figures/ from what the run folder holds."""
    from asmil.config import load_config
    from asmil.training import Run

    opened = Run.open(run)
    config = load_config(opened.folder / "config.yaml", given(settings) | {"out": run})
    typer.echo(f"report: {report_run(opened, config)}")


def report_run(run: "Run", config: "RunConfig") -> Path:
    """Heatmaps of all test slides, then the page."""
    from asmil.report import write_heatmaps, write_report

    write_heatmaps(run.folder)
    return write_report(run.folder, heatmaps=config.heatmaps)
