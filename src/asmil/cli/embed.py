"""Slides to feature files: tissue, tiles and features of every slide of a folder."""

from typing import Any

import typer

from asmil.cli._options import ENCODER, SCALE, TILES, given, with_settings


@with_settings("slides", "out", *SCALE, *TILES, "tissue_method", *ENCODER)
def embed(**settings: Any) -> None:
    """Write features/<slide>.h5 (with tissue/ and thumbnails/); finished slides of the same settings are kept."""
    from asmil.cli._outcome import Outcome
    from asmil.cli._stages import extract
    from asmil.config import load_config
    from asmil.errors import ConfigError
    from asmil.slides import scan_slides

    config = load_config(None, given(settings))
    if config.slides is None:
        raise ConfigError("there are no slides", fix="give --slides FOLDER")
    outcome = Outcome()
    extract(scan_slides(config.slides), config.out, config=config, outcome=outcome)
    outcome.write(config.out / "failures.csv")
    outcome.print_table()
    raise typer.Exit(outcome.exit_code)
