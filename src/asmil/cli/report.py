"""An evaluated run to one HTML page (and a PDF, or a comparison with another run), and its heatmaps to files."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from asmil.cli._options import given, with_settings

if TYPE_CHECKING:
    from asmil.config import RunConfig
    from asmil.runs import Run


@with_settings("heatmaps", "labels")
def report(
    run: Path = typer.Argument(help="Run folder."),
    against: Path | None = typer.Option(None, help="Another run: write a page of the paired differences to it."),
    subgroup: list[str] = typer.Option([], help="Column of the table of labels to compare groups by; repeatable."),
    pdf: bool = typer.Option(False, "--pdf", help="Print the page to PDF too, with a Chromium of this machine."),
    **settings: Any,
) -> None:
    """Write report.html (self-contained) and figures/ from what the run folder holds."""
    from asmil.config import RunConfig
    from asmil.runs import Run

    opened = Run.open(run)
    if against is not None:
        from asmil.report import write_comparison

        page = write_comparison(opened, Run.open(against))
    else:
        config = RunConfig(**(opened.settings.model_dump() | given(settings)))
        page = report_run(opened, config, subgroups=subgroup)
    typer.echo(f"report: {page}")
    if pdf:
        from asmil.report import write_pdf

        typer.echo(f"pdf:    {write_pdf(page)}")


def report_run(run: "Run", config: "RunConfig", *, subgroups: list[str] | None = None) -> Path:
    """Heatmaps of all test slides, then the page."""
    from asmil.report import write_heatmaps, write_report

    write_heatmaps(run)
    return write_report(run, heatmaps=config.heatmaps, subgroups=subgroups or (), labels=config.labels)
