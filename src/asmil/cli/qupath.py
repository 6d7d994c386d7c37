"""All of a run, or of predictions, for QuPath: one script that loads it."""

from pathlib import Path

import typer

from asmil.cli.parts import PARTIAL
from asmil.cli.parts.told import screen, wrote


def qupath(
    run: Path = typer.Argument(help="Run folder, or a folder of `asmil predict --heatmaps`."),
    partial: bool = PARTIAL,
) -> None:
    """Write qupath.groovy, which loads tiles with attention and evidence, tissue and outlines of every slide.

    Of a run it also writes figures/<slide>.geojson of all slides, as far as they are not there.
    """
    from asmil.cli import ExitCode
    from asmil.deploy import write_qupath
    from asmil.runs import PredictedFolder, Run

    partly = "" if PredictedFolder(run).there else Run.open(run).require_whole(partial=partial)
    hear = screen()
    with hear.stage("tiles for QuPath"):
        script, slides = write_qupath(run, partial=partial, listener=hear)
    shown = f"{slides} slides. In QuPath: Automate > Script editor, open {script}, Run > Run for project"
    wrote("script", script, shown=shown)
    raise typer.Exit(ExitCode.SET_ASIDE if partly else ExitCode.WHOLE)
