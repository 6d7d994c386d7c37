"""Readers that decode the tiles of a file themselves: each once, kept for the neighbours, cut to any rectangle."""

import math
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from asmil.errors import SlideError
from asmil.machine import each

CACHE_BYTES = (16 << 20, 256 << 20)
"""Least and most bytes of decoded tiles kept."""

CACHE_ROWS = 4
"""Rows of tiles kept, so that threads that read row by row find what they share; more only costs fresh memory."""

_EPSILON = 1e-6
Key = tuple[int, int, int]


def _bytes(tile: np.ndarray | None) -> int:
    return 0 if tile is None else tile.nbytes


class TileCache:
    """The decoded tiles last used, up to a number of bytes; a tile that two threads want is decoded by one."""

    def __init__(self, max_bytes: int):
        self.max_bytes = max_bytes
        self._bytes = 0
        self._tiles: OrderedDict[Key, Future[np.ndarray | None]] = OrderedDict()
        self._lock = threading.Lock()

    def __contains__(self, key: Key) -> bool:
        return key in self._tiles

    def get(self, key: Key, decode: Callable[[], np.ndarray | None]) -> np.ndarray | None:
        """The tile of a key (level, row, column); what `decode` raises is raised to all who asked."""
        with self._lock:
            known = self._tiles.get(key)
            if known is not None:
                self._tiles.move_to_end(key)
            else:
                mine = self._tiles[key] = Future()
        if known is not None:
            return known.result()
        try:
            tile = decode()
        except BaseException as error:
            with self._lock:
                self._tiles.pop(key, None)
            mine.set_exception(error)
            raise
        mine.set_result(tile)
        with self._lock:
            self._bytes += _bytes(tile)
            while self._bytes > self.max_bytes:
                oldest = next((k for k, future in self._tiles.items() if future.done()), None)
                if oldest is None:
                    break
                self._bytes -= _bytes(self._tiles.pop(oldest).result())
        return tile

    def clear(self) -> None:
        """Forget all tiles."""
        with self._lock:
            self._tiles.clear()
            self._bytes = 0


@lru_cache(maxsize=4096)
def _spans(start: int, length: int, *, tile: int, end: int) -> tuple[tuple[int, slice, slice], ...]:
    """Along one axis, of the tiles that share pixels with a span: number, where they go in the span, where in the tile.

    `tile` is a tile's length; at `end` the level ends, its last tile may not. Tiles of a grid share rows and columns.
    """
    first, stop = max(start, 0), min(start + length, end)
    spans = []
    for number in range(first // tile, -(-stop // tile)) if first < stop else ():
        low, high = max(first, number * tile), min(stop, (number + 1) * tile)
        spans.append((number, slice(low - start, high - start), slice(low - number * tile, high - number * tile)))
    return tuple(spans)


class NativeReader:
    """Base of readers that know the tiles of their file: they fill the fields below and offer `decode`.

    `tile_sizes` are (width, height) by level. Several threads may read at once. Positions fall on whole
    pixels of a level: level-0 position x is pixel floor(x / downsample).
    """

    vendor: str
    level_sizes: tuple[tuple[int, int], ...]
    tile_sizes: tuple[tuple[int, int], ...]
    file_mpp: tuple[float, float] | None = None
    objective: float | None = None

    def __init__(self, path: Path):
        self.path, self._cache, self._own = path, TileCache(CACHE_BYTES[0]), threading.local()

    @cached_property
    def downsamples(self) -> tuple[float, ...]:
        """Of each level, the mean of both sides."""
        width, height = self.level_sizes[0]
        return tuple((width / w + height / h) / 2 for w, h in self.level_sizes)

    @property
    def bounds(self) -> tuple[int, int, int, int]:
        """All of level 0."""
        return (0, 0, *self.level_sizes[0])

    def decode(self, level: int, row: int, column: int, *, out: np.ndarray | None = None) -> np.ndarray | None:
        """Decode one whole tile, uint8 (tile height, tile width, 3), into `out` where given.

        None where the file has no such tile: it is background.

        Raises:
            SlideError: the tile is damaged.
        """
        raise NotImplementedError

    def tile_size(self, level: int) -> tuple[int, int]:
        """Width and height of the tiles of a level."""
        return self.tile_sizes[level]

    def read_level(self, level: int, level0_xy: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
        """Read uint8 (height, width, 3); white outside and where the file has no tile.

        Raises:
            SlideError: the file is damaged there.
        """
        self._bound_cache(level)
        out = np.empty((size[1], size[0], 3), np.uint8)
        for place, part, within in self._pieces(level, level0_xy, out):
            tile = self._tile(level, *place)
            part[...] = 255 if tile is None else tile[within]
        return out

    def read_regions(self, level: int, corners: Sequence[tuple[int, int]], *, out: np.ndarray) -> None:
        """Read rectangles that begin at these level-0 positions into `out`, uint8 (rectangles, height, width, 3).

        The pixels are those of `read_level`. Each tile of the file is decoded once, into memory that the core
        still has at hand when it copies from there to all rectangles that the tile touches; one that is just a
        rectangle is decoded in its place. Kept are only the tiles that the rectangles of a next call would share,
        where they go on row by row.

        Raises:
            SlideError: the file is damaged there.
        """
        self._bound_cache(level)
        if whole := self._whole_tiles(level, corners, out):
            each(lambda index: self._decode_into(level, whole[index], out[index]), range(len(whole)))
            return
        wanted: dict[tuple[int, int], list[tuple[np.ndarray, tuple[slice, slice]]]] = {}
        shared = 0  # the row of tiles in which the last row of rectangles begins
        for corner, pixels in zip(corners, out, strict=True):
            pieces = self._pieces(level, corner, pixels)
            shared = max([shared, *(row for (row, _), _, _ in pieces[:1])])
            for place, part, within in pieces:
                wanted.setdefault(place, []).append((part, within))

        def fill(place: tuple[int, int]) -> None:
            parts, key = wanted[place], (level, *place)
            direct = len(parts) == 1 and parts[0][0].shape == out.shape[1:] == self._shape(level)
            if key in self._cache or (place[0] >= shared and not direct):
                tile = self._tile(*key)
            else:
                tile = self.decode(*key, out=parts[0][0] if direct else self._scratch(level))
            for part, within in parts:
                if tile is not part:
                    part[...] = 255 if tile is None else tile[within]

        each(fill, sorted(wanted), chunk=1)

    def _whole_tiles(self, level: int, corners: Sequence[tuple[int, int]], out: np.ndarray) -> list[tuple[int, int]]:
        """(Row, column) of each rectangle, where all are whole tiles of the file within the level; else nothing."""
        wide, high = self.tile_sizes[level]
        if out.shape[1:] != self._shape(level) or not len(corners):
            return []
        first = np.floor(np.asarray(corners) / self.downsamples[level] + _EPSILON).astype(np.int64)
        tile = np.array([wide, high])
        fits = (first >= 0) & (first % tile == 0) & (first + tile <= self.level_sizes[level])
        return [(row, column) for column, row in (first // tile).tolist()] if fits.all() else []

    def _decode_into(self, level: int, place: tuple[int, int], part: np.ndarray) -> None:
        row, column = place
        key = (level, row, column)
        tile = self._tile(*key) if key in self._cache else self.decode(*key, out=part)
        if tile is not part:
            part[...] = 255 if tile is None else tile

    def _pieces(
        self, level: int, level0_xy: tuple[int, int], out: np.ndarray
    ) -> list[tuple[tuple[int, int], np.ndarray, tuple[slice, slice]]]:
        """(Row, column) of each tile that a rectangle shows, the part of `out` it goes to, and where it is in the tile.

        `out` is made white where the rectangle leaves the level.
        """
        x, y = (math.floor(side / self.downsamples[level] + _EPSILON) for side in level0_xy)
        (height, width), (wide, high), (level_w, level_h) = (
            out.shape[:2],
            self.tile_sizes[level],
            self.level_sizes[level],
        )
        if x < 0 or y < 0 or x + width > level_w or y + height > level_h:
            out[...] = 255
        columns, rows = _spans(x, width, tile=wide, end=level_w), _spans(y, height, tile=high, end=level_h)
        return [
            ((row, column), out[to_y, to_x], (from_y, from_x))
            for row, to_y, from_y in rows
            for column, to_x, from_x in columns
        ]

    def _tile(self, level: int, row: int, column: int) -> np.ndarray | None:
        return self._cache.get((level, row, column), lambda: self.decode(level, row, column))

    def _shape(self, level: int) -> tuple[int, int, int]:
        wide, high = self.tile_sizes[level]
        return high, wide, 3

    def _scratch(self, level: int) -> np.ndarray:
        """Memory of the calling thread for one tile of a level."""
        found: np.ndarray | None = getattr(self._own, "tile", None)
        if found is None or found.shape != self._shape(level):
            self._own.tile = found = np.empty(self._shape(level), np.uint8)
        return found

    def _bound_cache(self, level: int) -> None:
        wide, high = self.tile_sizes[level]
        rows = CACHE_ROWS * high * (self.level_sizes[level][0] + wide) * 3
        self._cache.max_bytes = min(max(CACHE_BYTES[0], rows), CACHE_BYTES[1])

    def close(self) -> None:
        """Let go of the decoded tiles; closing twice is harmless."""
        self._cache.clear()


class PositionalFile:
    """A file read at any place by several threads at once, without a position that they would share."""

    def __init__(self, path: Path):
        self._file = path.open("rb", buffering=0)
        self._lock = threading.Lock()
        self.size = os.fstat(self._file.fileno()).st_size

    def read(self, offset: int, count: int) -> bytes:
        """Read `count` bytes; SlideError where the file ends before."""
        if hasattr(os, "pread"):
            data = os.pread(self._file.fileno(), count, offset)
        else:  # Windows
            with self._lock:
                self._file.seek(offset)
                data = self._file.read(count)
        if len(data) < count:
            raise SlideError("the file ends within the tile", found=f"{len(data)} of {count} bytes")
        return data

    def close(self) -> None:
        """Close the file; closing twice is harmless."""
        self._file.close()
