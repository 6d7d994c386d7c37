"""What became of one slide."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

UNSTAINED = "unstained"
"""Among the flags of a result: tiles that were encoded as they are, as their stain could not be normalised."""


@dataclass(frozen=True)
class SlideResult:
    """What became of one slide, `path`, whose name is `name`.

    "ok": its feature files were written; "kept": they were there; "skipped": there is nothing on it to encode;
    "failed": something is wrong with it. `reason` says why, and of an "ok" slide what there is to know: a level that is
    damaged, other scenes in its file. `tiles` is the number of tiles in its files, `flags` how many of the tiles
    that were read have each quality flag. `seconds` lasted from opening it to its files, other slides being on their
    way beside it; `waiting` is its tiles' share of the seconds in which the encoders had no pixels to work on. They may
    have waited since before it was opened; over a run these shares add up to all the waiting there was.
    """

    name: str
    path: Path
    result: Literal["ok", "kept", "skipped", "failed"]
    reason: str = ""
    tiles: int = 0
    seconds: float = 0.0
    waiting: float = 0.0
    reader: str = ""
    flags: dict[str, int] = field(default_factory=dict)
