"""Readers that decode the tiles of a file themselves: each once, kept for the neighbours, cut to any rectangle."""

import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import numpy as np

CACHE_BYTES = (16 << 20, 256 << 20)
"""Least and most bytes of decoded tiles kept."""

CACHE_ROWS = 4
"""Rows of tiles kept, so that threads that read row by row find what they share; more only costs fresh memory."""

_EPSILON = 1e-6
Key = tuple[int, int, int]


class TileCache:
    """The decoded tiles last used, up to a number of bytes; a tile that two threads want is decoded by one."""

    def __init__(self, max_bytes: int):
        self.max_bytes = max_bytes
        self._bytes = 0
        self._tiles: OrderedDict[Key, Future[np.ndarray]] = OrderedDict()
        self._lock = threading.Lock()

    def __contains__(self, key: Key) -> bool:
        return key in self._tiles

    def get(self, key: Key, decode: Callable[[], np.ndarray]) -> np.ndarray:
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
            self._bytes += tile.nbytes
            while self._bytes > self.max_bytes:
                oldest = next((k for k, future in self._tiles.items() if future.done()), None)
                if oldest is None:
                    break
                self._bytes -= self._tiles.pop(oldest).result().nbytes
        return tile

    def clear(self) -> None:
        """Forget all tiles."""
        with self._lock:
            self._tiles.clear()
            self._bytes = 0


class NativeReader:
    """Base of readers that know the tiles of their file: they fill the fields below and offer `decode`.

    `tile_sizes` are (width, height) by level. Several threads may read at once. Positions fall on whole
    pixels of a level: level-0 position x is pixel floor(x / downsample).
    """

    vendor: str
    level_sizes: tuple[tuple[int, int], ...]
    downsamples: tuple[float, ...]
    tile_sizes: tuple[tuple[int, int], ...]
    file_mpp: tuple[float, float] | None = None
    objective: float | None = None
    bounds: tuple[int, int, int, int]

    def __init__(self, path: Path):
        self.path, self._cache = path, TileCache(CACHE_BYTES[0])

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

    def read_level(
        self, level: int, level0_xy: tuple[int, int], size: tuple[int, int], *, out: np.ndarray | None = None
    ) -> np.ndarray:
        """Read uint8 (height, width, 3), into `out` where given; white outside and where the file has no tile.

        Raises:
            SlideError: the file is damaged there.
        """
        x, y = (math.floor(side / self.downsamples[level] + _EPSILON) for side in level0_xy)
        width, height = size
        (tile_w, tile_h), (level_w, level_h) = self.tile_sizes[level], self.level_sizes[level]
        self._cache.max_bytes = min(max(CACHE_BYTES[0], CACHE_ROWS * tile_h * (level_w + tile_w) * 3), CACHE_BYTES[1])
        out = np.empty((height, width, 3), np.uint8) if out is None else out
        right, bottom = min(x + width, level_w), min(y + height, level_h)
        if x < 0 or y < 0 or x + width > right or y + height > bottom:
            out[...] = 255
        elif self._is_one_tile(level, (x, y), size) and (level, y // tile_h, x // tile_w) not in self._cache:
            if self.decode(level, y // tile_h, x // tile_w, out=out) is None:
                out[...] = 255
            return out
        for row in range(max(y, 0) // tile_h, -(-bottom // tile_h)):
            for column in range(max(x, 0) // tile_w, -(-right // tile_w)):
                left, top = column * tile_w, row * tile_h
                x0, y0 = max(x, left), max(y, top)
                x1, y1 = min(right, left + tile_w), min(bottom, top + tile_h)
                tile = self._tile(level, row, column)
                part = tile[y0 - top : y1 - top, x0 - left : x1 - left] if tile.size else 255
                out[y0 - y : y1 - y, x0 - x : x1 - x] = part
        return out

    def _is_one_tile(self, level: int, xy: tuple[int, int], size: tuple[int, int]) -> bool:
        tile = self.tile_sizes[level]
        return size == tile and xy[0] % tile[0] == 0 and xy[1] % tile[1] == 0

    def _tile(self, level: int, row: int, column: int) -> np.ndarray:
        """The decoded tile, empty for background."""

        def decode() -> np.ndarray:
            tile = self.decode(level, row, column)
            return np.empty(0, np.uint8) if tile is None else tile

        return self._cache.get((level, row, column), decode)

    def close(self) -> None:
        """Let go of the decoded tiles; closing twice is harmless."""
        self._cache.clear()
