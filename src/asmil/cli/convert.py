"""Feature files of any known tool into the layout of another: asmil, CLAM, TRIDENT or STAMP."""

from pathlib import Path
from typing import Any

import typer

from asmil.cli._options import INPUT, given, with_settings


@with_settings("out", *INPUT, "slide_mpp")
def convert(
    source: Path = typer.Argument(..., help="Folder (or file) of feature files in any known format."),
    to: str = typer.Option(..., "--to", help="Layout to write: asmil (quickest to read), clam, trident or stamp."),
    encoder: str | None = typer.Option(None, help="Which folder or table to read, where slides have several."),
    tile_px: int | None = typer.Option(None, help="Side of a tile as the encoder saw it, where files do not say it."),
    **settings: Any,
) -> None:
    """Convert slide by slide, in the memory of one; what is wrong with one file never stops the others.

    With --labels only the slides in the table are converted, and its column mpp states the scale of each.
    """
    from asmil.bags import LAYOUTS, open_features, read_slide
    from asmil.cli._outcome import Outcome
    from asmil.cli._progress import progress
    from asmil.cli._stages import note_problems, read_tables, slide_mpp_of
    from asmil.config import load_config

    write = LAYOUTS[to]
    config, outcome = load_config(None, given(settings)), Outcome()
    store = open_features(source, encoder=encoder)
    for problem in store.problems:
        outcome.failed(problem.slide, stage="read", reason=problem.what)
    slides, mpps = store.slides, {}
    if config.labels is not None:
        cohort = read_tables(config).match(store.slides)
        note_problems(cohort.problems, outcome)
        slides, mpps = list(cohort.slides), slide_mpp_of(cohort)
    with progress("convert", total=len(slides)) as advance:
        for slide in slides:
            with outcome.attempt(slide, stage="convert"):
                mpp = mpps.get(slide, config.slide_mpp)
                write(read_slide(store, slide, slide_mpp=mpp, tile_px=tile_px), config.out)
                outcome.ok(slide)
            advance(1)
    outcome.write(config.out / "failures.csv")
    outcome.print_table()
    raise typer.Exit(outcome.exit_code)
