"""Slides to feature files: tissue, tiles and features of every slide of a folder."""

from typing import Any

import typer

from asmil.cli._options import ENCODER, SCALE, TILES, WORKERS, given, with_settings


@with_settings("slides", "out", *SCALE, *TILES, "tissue_method", *ENCODER, *WORKERS)
def embed(**settings: Any) -> None:
    """Write features/<store>/<slide>.h5 (with tissue/, thumbnails/, state.csv); finished slides are kept.

    A store holds the features of one encoder and one kind of tile. Any number of these commands, on any number of
    machines, may work on one --out; killed ones are simply started again.
    """
    from asmil.cli._extraction import extract
    from asmil.cli._outcome import Outcome
    from asmil.config import load_config
    from asmil.errors import ConfigError
    from asmil.slides import scan_slides

    config = load_config(None, given(settings))
    if config.slides is None:
        raise ConfigError("there are no slides", fix="give --slides FOLDER")
    outcome = Outcome()
    stores = extract(scan_slides(config.slides), config.out, config=config, outcome=outcome)
    outcome.write(config.out / "failures.csv")
    outcome.print_table()
    for store in stores:
        typer.echo(f"features: {store}")
    raise typer.Exit(outcome.exit_code)
