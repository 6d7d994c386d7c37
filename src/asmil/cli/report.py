"""An evaluated run to one HTML page (and a PDF, or a comparison with another run), and its heatmaps to files."""

from pathlib import Path

import typer

from asmil.cli.parts import PARTIAL, typed, with_settings
from asmil.cli.parts.told import screen, wrote


@with_settings("heatmaps", "labels")
def report(
    run: Path = typer.Argument(help="Run folder."),
    against: Path | None = typer.Option(None, help="Another run: write a page of the paired differences to it."),
    subgroup: list[str] = typer.Option([], help="Column of the table of labels to compare groups by; repeatable."),
    bundle: bool = typer.Option(False, "--bundle", help="Write report.zip too: the page, large pictures, the tables."),
    pdf: bool = typer.Option(False, "--pdf", help="Print the page to PDF too, with a Chromium of this machine."),
    partial: bool = PARTIAL,
    **settings: object,
) -> None:
    """Write report.html, one file with everything in it; large pictures of slides are made by `asmil heatmap`."""
    from asmil import runs
    from asmil.cli import exit_with
    from asmil.settings import changed

    made = runs.Run.open(run)
    config = None if against else changed(made.settings, typed(settings), flags=True)
    page = runs.write_report(
        made, config, subgroups=subgroup, against=against, bundle=bundle, partial=partial, listener=screen()
    )
    wrote("report", page)
    if bundle:
        wrote("bundle", made.bundle_file)
    if pdf:
        from asmil.report import write_pdf

        wrote("pdf", write_pdf(page))
    exit_with(made.outcome)
