"""A figure of the ASMIL paper from a run of yours, as PNG and SVG; a second run to compare with."""

from pathlib import Path

import typer


def figure(
    name: str = typer.Argument(help="fig1 (attention by epoch), fig3 (its sharpness), fig5 (embeddings by epoch)."),
    run: Path = typer.Argument(help="Run folder."),
    against: Path = typer.Option(None, help="Another run, to compare: without stabiliser, say."),
    out: Path = typer.Option(None, help="File without or with suffix; both .png and .svg are written. [RUN/figures]"),
) -> None:
    """Draw fig1, fig3 or fig5 of the paper from what a run recorded while it was trained."""
    from asmil.report import write_paper_figure
    from asmil.runs import Run

    for path in write_paper_figure(name, [Run.open(path) for path in (run, against) if path is not None], out):
        typer.echo(path)
