"""What a slide reader offers, and the three kinds of refusal."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from asmil.errors import SlideError
from asmil.files import suffix_of


class ContentError(SlideError):
    """A reader knows the format, and what the file holds is no grey or RGB picture of 8 bits, or not one picture.

    The search for a reader ends with it: another would show a part of the content as if it were the slide.
    """


class DamagedSlideError(ContentError):
    """A reader knows the file and finds that pixels of its finest level are lost: no other reader can help."""


EIGHT_BIT_RGB = "convert it to one picture of 8-bit RGB"
"""What to do about content that is no picture of stained tissue."""


@dataclass(frozen=True)
class Scene:
    """One of the pictures that a file holds side by side: its name in the file and `size` (width, height)."""

    name: str
    size: tuple[int, int]


class Reader(Protocol):
    """What a file in `slides/readers/` offers as READER; `asmil.testing.check_reader` checks it.

    `detect` names the format of a file, or raises SlideError with the reason why this reader refuses it: the next
    reader is asked then, unless it is a `ContentError`.
    `file_mpp` is what the file says (x, y), believed or not; `bounds` (x, y, width, height) is the scanned
    part in level-0 pixels.

    A reader may offer more: `order` (readers are tried from low to high; 50 without), `scenes` (a tuple of
    `Scene`; then `__init__` takes `scene`, keyword-only), `notes` (a tuple of sentences on what of the file is
    not used), and `tile_size(level)`, the (width, height) in which the file stores a level. With the last,
    `read_level` returns whole pixels of the level, from floor(x / downsample) on, and there is
    `read_regions(level, corners, *, out)`, which reads what `read_level` gives from each level-0 corner on into
    `out`, uint8 (corners, height, width, 3).
    """

    vendor: str
    level_sizes: tuple[tuple[int, int], ...]
    downsamples: tuple[float, ...]
    file_mpp: tuple[float, float] | None
    objective: float | None
    bounds: tuple[int, int, int, int]

    def __init__(self, path: Path) -> None: ...

    @staticmethod
    def detect(path: Path) -> str: ...

    def read_level(self, level: int, level0_xy: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
        """Read uint8 (height, width, 3); `size` in level pixels; white outside and where transparent."""
        ...

    def close(self) -> None: ...


_SCENE = re.compile(r"(.+)\.scene-(\d+)")


def scene_name(file: str, scene: int) -> str:
    """The slide's name for one scene of a file of several: `<file>.scene-<n>`, the file's name without its suffix."""
    return f"{file}.scene-{scene}"


def has_no_suffix(path: Path) -> bool:
    """Whether a file is called `IM_0001`, or `1.2.840.17`, whose end is a part of a number, as DICOM files are."""
    return suffix_of(path)[1:].isdigit() or not suffix_of(path)


def file_name(slide: str) -> str:
    """The name of the file that a slide is a scene of: what stands before `.scene-<n>`, else the name itself."""
    found = _SCENE.fullmatch(slide)
    return found[1] if found else slide


def scene_number(slide: str) -> int | None:
    """The scene in a slide's name, None where it names none."""
    found = _SCENE.fullmatch(slide)
    return int(found[2]) if found else None
