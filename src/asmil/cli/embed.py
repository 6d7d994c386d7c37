"""Slides to feature files: tissue, tiles and features of every slide of a folder."""

from asmil.cli.parts import settings_from, with_settings
from asmil.cli.parts.told import screen, wrote
from asmil.settings import Group


@with_settings("slides", "device", Group.OUT, Group.SCALE, Group.TILES, Group.ENCODER, Group.EXTRACTION)
def embed(**settings: object) -> None:
    """Write features/<store>/<slide>.h5 (with tissue/, thumbnails/, state.csv); finished slides are kept.

    A store holds the features of one encoder and one kind of tile. Any number of these commands, on any number of
    machines, may work on one --out; killed ones are simply started again.
    """
    from asmil import runs
    from asmil.cli import exit_with

    made = runs.extract(settings_from(settings), listener=screen())
    for store in (made.features, *made.also):
        wrote("features", store)
    exit_with(made.outcome)
