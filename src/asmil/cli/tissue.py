"""Find the tissue of every slide: polygons to look at and edit in QuPath before tiles are cut."""

from typing import Any

import typer

from asmil.cli._options import SCALE, given, with_settings


@with_settings("slides", "out", *SCALE, "tissue_method")
def tissue(**settings: Any) -> None:
    """Write tissue/<slide>.geojson and thumbnails/<slide>.jpg; `embed` and `run` use the file as you leave it."""
    from asmil.cli._outcome import Outcome
    from asmil.cli._progress import progress
    from asmil.config import load_config
    from asmil.errors import ConfigError
    from asmil.extraction import tissue_of
    from asmil.slides import open_slide, scan_slides

    config = load_config(None, given(settings))
    if config.slides is None:
        raise ConfigError("there are no slides", fix="give --slides FOLDER")
    paths, outcome = scan_slides(config.slides), Outcome()
    with progress("tissue", total=len(paths), unit="slides") as advance:
        for path in paths:
            with (
                outcome.attempt(path.stem, stage="tissue"),
                open_slide(path, mpp=config.slide_mpp, objective=config.objective) as slide,
            ):
                tissue_of(slide, config.out, method=config.tissue_method)
                outcome.ok(path.stem)
            advance(1)
    outcome.write(config.out / "failures.csv")
    outcome.print_table()
    raise typer.Exit(outcome.exit_code)
