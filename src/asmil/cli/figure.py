"""A figure of the ASMIL paper from a run of yours, as PNG and SVG; other runs to compare with."""

from pathlib import Path

import typer

from asmil.cli.parts import PARTIAL
from asmil.cli.parts.told import wrote


def figure(
    name: str = typer.Argument(help="fig1 (attention by epoch), fig3 (its sharpness), fig4 (maps), fig5 (embeddings)."),
    run: Path = typer.Argument(help="Run folder."),
    against: list[Path] = typer.Option(
        [], help="Another run, to compare: without stabiliser, say; repeat for several."
    ),
    slide: list[str] = typer.Option([], help="Slide that fig4 shows; repeat for several. [the first annotated ones]"),
    out: Path = typer.Option(None, help="File without or with suffix; both .png and .svg are written. [RUN/figures]"),
    partial: bool = PARTIAL,
) -> None:
    """Draw a figure of the paper from what runs recorded; fig4 is the maps of several runs beside the truth."""
    from asmil.cli import ExitCode
    from asmil.report import write_paper_figure
    from asmil.runs import Run

    runs = [Run.open(path) for path in (run, *against)]
    for path in write_paper_figure(name, runs, out, slides=slide, partial=partial):
        wrote("figures", path, shown=str(path))
    sentences = [sentence for one in runs if (sentence := one.standing().partial)]
    for sentence in sentences:
        typer.echo(sentence, err=True)
    raise typer.Exit(ExitCode.SET_ASIDE if sentences else ExitCode.WHOLE)
