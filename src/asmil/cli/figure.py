"""A figure of the ASMIL paper from a run of yours, as PNG and SVG; a second run to compare with."""

from pathlib import Path

import typer

from asmil.cli.parts import PARTIAL


def figure(
    name: str = typer.Argument(help="fig1 (attention by epoch), fig3 (its sharpness), fig5 (embeddings by epoch)."),
    run: Path = typer.Argument(help="Run folder."),
    against: Path = typer.Option(None, help="Another run, to compare: without stabiliser, say."),
    out: Path = typer.Option(None, help="File without or with suffix; both .png and .svg are written. [RUN/figures]"),
    partial: bool = PARTIAL,
) -> None:
    """Draw fig1, fig3 or fig5 of the paper from what a run recorded while it was trained."""
    from asmil.cli import ExitCode
    from asmil.report import write_paper_figure
    from asmil.runs import Run

    runs = [Run.open(path) for path in (run, against) if path is not None]
    for path in write_paper_figure(name, runs, out, partial=partial):
        typer.echo(path)
    sentences = [sentence for one in runs if (sentence := one.standing().partial)]
    for sentence in sentences:
        typer.echo(sentence, err=True)
    raise typer.Exit(ExitCode.SET_ASIDE if sentences else ExitCode.WHOLE)
