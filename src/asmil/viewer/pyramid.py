"""Pixels of slides for a browser: JPEG tiles at powers of two, from few open slides and a bounded memory."""

import io
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from asmil.errors import NotOfferedError
from asmil.runs import picture_of
from asmil.slides import Slide, open_slide

TILE_PX = 512
OPEN_SLIDES = 8
KEPT_BYTES = 256 * 2**20
MAX_REGION_PX = 8192
REGION_PX = 160
WHITE = (255, 255, 255)


@dataclass(frozen=True)
class Picture:
    """Where a slide's pixels are: its file (a scene of it, opened at `mpp`), else a thumbnail, else nowhere.

    `size` (width, height) is that of level 0, or of the sheet that the tiles lie on.
    """

    size: tuple[int, int]
    path: Path | None = None
    scene: int | None = None
    mpp: float | None = None
    thumbnail: Path | None = None

    @property
    def source(self) -> str:
        """What the pixels are read from; the same for all runs."""
        return f"{self.path} {self.scene}" if self.path else str(self.thumbnail)

    @property
    def levels(self) -> range:
        """Levels as deep zoom counts them: the last is level 0 of the slide, the first fits one tile."""
        longest = max(self.size)
        return range(max(0, math.ceil(math.log2(longest / TILE_PX))) + 1)

    def scale(self, level: int) -> int:
        """Level-0 pixels per pixel of a level."""
        return 2 ** (self.levels[-1] - level)


class Pyramid:
    """Cuts JPEGs from pictures; safe for many threads.

    At most `slides` files are open and `kept_bytes` of JPEG are kept, the least recently used are given up first.
    """

    def __init__(self, *, slides: int = OPEN_SLIDES, kept_bytes: int = KEPT_BYTES):
        self._files = _OpenSlides(slides)
        self._kept = _Kept(kept_bytes)

    def tile(self, picture: Picture, level: int, xy: tuple[int, int]) -> bytes:
        """The tile in column x, row y of a level; at the right and lower border smaller than the others.

        Raises:
            NotOfferedError: the picture has no such tile.
            SlideError: the file is damaged there.
        """
        if level not in picture.levels:
            raise NotOfferedError("there is no such level", found=f"{level}, of {len(picture.levels)}")
        scale = picture.scale(level)
        corner = (xy[0] * TILE_PX * scale, xy[1] * TILE_PX * scale)
        left = [math.ceil((length - at) / scale) for length, at in zip(picture.size, corner, strict=True)]
        if min(left) < 1 or min(xy) < 0:
            raise NotOfferedError("there is no such tile", found=f"{xy} on level {level}")
        size_px = (min(left[0], TILE_PX), min(left[1], TILE_PX))
        return self._jpeg(picture, corner, size_px, scale=scale)

    def region(self, picture: Picture, corner: tuple[int, int], side: int) -> bytes:
        """A square of level 0, at most `REGION_PX` wide.

        Raises:
            NotOfferedError: it is outside the slide, or larger than any tile is.
            SlideError: the file is damaged there.
        """
        inside = all(-side < at < length for at, length in zip(corner, picture.size, strict=True))
        if not (0 < side <= MAX_REGION_PX and inside):
            raise NotOfferedError("there is no such part of the slide", found=f"{side} px at {corner}")
        px = min(side, REGION_PX)
        return self._jpeg(picture, corner, (px, px), scale=side / px)

    def thumbnail(self, picture: Picture, *, max_px: int = 96) -> bytes:
        """The whole slide, at most `max_px` long: from the stored thumbnail where there is one."""
        if picture.thumbnail is not None:
            small = Image.fromarray(picture_of(picture.thumbnail, picture.size))
        elif picture.path is not None:
            with self._files.opened(picture) as slide:
                small = Image.fromarray(slide.thumbnail(max_px=2 * max_px))
        else:
            small = Image.new("RGB", (max_px, max_px), WHITE)
        small.thumbnail((max_px, max_px))
        return _jpeg_bytes(small)

    def _jpeg(self, picture: Picture, corner: tuple[int, int], size_px: tuple[int, int], *, scale: float) -> bytes:
        key = (picture.source, corner, size_px, scale)
        if (kept := self._kept.get(key)) is not None:
            return kept
        if picture.path is None:
            return self._kept.put(key, _jpeg_bytes(_from_thumbnail(picture, corner, size_px, scale=scale)))
        with self._files.opened(picture) as slide:
            if (kept := self._kept.get(key)) is not None:  # another client wanted the same and came first
                return kept
            pixels = slide.read(corner, size_px, mpp=slide.mpp * scale)
        return self._kept.put(key, _jpeg_bytes(Image.fromarray(pixels)))

    def look(self, picture: Picture) -> tuple[tuple[int, int], float, str]:
        """Size, mpp and reader of the file of a picture.

        Raises:
            SlideError, ScaleError: it cannot be opened, or its scale is unknown.
        """
        with self._files.opened(picture) as slide:
            return slide.size, slide.mpp, slide.reader


def _from_thumbnail(
    picture: Picture, corner: tuple[int, int], size_px: tuple[int, int], *, scale: float
) -> Image.Image:
    if picture.thumbnail is None:
        return Image.new("RGB", size_px, WHITE)
    with Image.open(picture.thumbnail) as image:
        whole = image.convert("RGB")
    per_px = np.array(whole.size) / picture.size
    low = np.clip(np.array(corner) * per_px, 0, whole.size)
    high = np.clip((np.array(corner) + np.array(size_px) * scale) * per_px, low + 1e-3, whole.size)
    return whole.resize(size_px, Image.Resampling.BILINEAR, box=(*low, *high))


def _jpeg_bytes(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "jpeg", quality=88, subsampling=0)  # nuclei keep their colour
    return buffer.getvalue()


class _Kept:
    """Bytes by key, up to a size."""

    def __init__(self, limit: int):
        self._limit, self._size, self._lock = limit, 0, threading.Lock()
        self._items: OrderedDict[object, bytes] = OrderedDict()

    def get(self, key: object) -> bytes | None:
        with self._lock:
            if key in self._items:
                self._items.move_to_end(key)
            return self._items.get(key)

    def put(self, key: object, value: bytes) -> bytes:
        with self._lock:
            self._size += len(value) - len(self._items.pop(key, b""))
            self._items[key] = value
            while self._size > self._limit and self._items:
                self._size -= len(self._items.popitem(last=False)[1])
        return value


class _OpenSlides:
    """Slides that stay open from one tile to the next, each for one thread at a time."""

    def __init__(self, limit: int, *, opener: Callable[..., Slide] = open_slide):
        self._limit, self._open, self._lock = limit, opener, threading.Lock()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    @contextmanager
    def opened(self, picture: Picture) -> Iterator[Slide]:
        with self._lock:
            entry = self._entries.setdefault(picture.source, _Entry())
            self._entries.move_to_end(picture.source)
            surplus = [self._entries.popitem(last=False)[1] for _ in range(len(self._entries) - self._limit)]
        for old in surplus:
            with old.lock:  # after whoever reads it now
                old.give_up()
        with entry.lock:
            if entry.slide is None:
                entry.slide = self._open(picture.path, scene=picture.scene, mpp=picture.mpp)
            try:
                yield entry.slide
            finally:
                if entry.given_up:  # by another thread, between the two locks: nobody else would close it
                    entry.give_up()


class _Entry:
    def __init__(self) -> None:
        self.lock, self.given_up = threading.Lock(), False
        self.slide: Slide | None = None

    def give_up(self) -> None:
        self.given_up = True
        if self.slide is not None:
            self.slide.close()
            self.slide = None
