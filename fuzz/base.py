"""What a subject of fuzzing is."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TILES, DIM, SLIDES = 60, 24, 24
Draw = random.Random


class Lost(Exception):
    """Something that was in the file is not in what was read of it, and nothing was said."""


@dataclass(frozen=True)
class Subject:
    """`write` makes valid files in an empty folder, `damage` spoils them, `read` reads all of them.

    `read` raises an AsmilError, or returns: "refused" where the file was set aside and named, else "read". It raises
    `Lost` where something went without a word. `seconds` of the processor are what a case may take, and
    `share` of the cases that are asked for are run.
    """

    write: Callable[[Path], None]
    damage: Callable[[Path, Draw], None]
    read: Callable[[Path], str]
    seconds: float = 2.0
    share: float = 1.0


def one_of(damage: Callable[[Path, Draw], None], pattern: str = "*") -> Callable[[Path, Draw], None]:
    """Damage to one of the files of a folder."""
    return lambda folder, draw: damage(draw.choice(sorted(folder.rglob(pattern))), draw)
