"""A slide: pixels at any scale, addressed in level-0 pixels and micrometres per pixel."""

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np

from asmil.errors import ScaleError, SlideError
from asmil.slides.region import Block, Level, cut, finish_region, plan_blocks, plan_region
from asmil.units import MPP_TOLERANCE

if TYPE_CHECKING:
    from asmil.tiles.grid import TileGrid

BLOCK_PX = 1024
MAX_READ_PX = 4096 * 4096
"""Pixels of a level decoded at once; a larger read is made of parts, so that memory stays bounded."""


class Reader(Protocol):
    """What a file in `slides/readers/` offers as READER; `asmil.testing.check_reader` checks it.

    `detect` names the format of a file, or raises SlideError with the reason why this reader refuses it.
    `file_mpp` is what the file says (x, y), believed or not; `bounds` (x, y, width, height) is the scanned
    part in level-0 pixels.
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


class Slide:
    """An open slide; made by `open_slide`, closed by `close` or a `with` block.

    `size` and `bounds` (x, y, width, height: the scanned part, the whole slide for most formats) are in
    level-0 pixels, `mpp` in micrometres per level-0 pixel, `mpp_source` says where it came from. One slide is
    not for several threads.
    """

    def __init__(self, path: Path, source: Reader, *, reader: str, mpp: float, mpp_source: str):
        self.path, self.name, self.reader = path, path.stem, reader
        self.mpp, self.mpp_source = mpp, mpp_source
        self.vendor, self.objective, self.bounds = source.vendor, source.objective, source.bounds
        self.size = source.level_sizes[0]
        self.levels = tuple(
            Level(size, down, mpp * down) for size, down in zip(source.level_sizes, source.downsamples, strict=True)
        )
        self._source = source

    def read(self, level0_xy: Sequence[int] | np.ndarray, size_px: int | tuple[int, int], *, mpp: float) -> np.ndarray:
        """Read a rectangle whose top-left corner is `level0_xy`, at any scale the slide has or is finer than.

        The pixels come from the coarsest level that is fine enough. Where that level is the scale asked for
        they are the file's own; else its exact fractional box is resampled with an antialiasing filter.
        Outside the slide is white.

        Args:
            level0_xy: x, y in level-0 pixels.
            size_px: side, or width and height, of the result in pixels.
            mpp: scale of the result.

        Returns:
            uint8 (height, width, 3).

        Raises:
            ScaleError: `mpp` is finer than level 0.
            SlideError: the file is damaged there, or the size is not positive.
        """
        width, height = (size_px, size_px) if isinstance(size_px, int | np.integer) else size_px
        if width < 1 or height < 1:
            raise SlideError("a region needs a positive size", found=f"{width} x {height} px")
        scale = self._scale(mpp)
        box = (int(level0_xy[0]), int(level0_xy[1]), width * scale, height * scale)
        return self._read_box(box, (int(width), int(height)), self.level_for(mpp))

    def read_tiles(self, grid: "TileGrid", indices: Sequence[int] | np.ndarray | None = None) -> np.ndarray:
        """Read tiles of a grid, uint8 (tiles, tile_px, tile_px, 3), in the order of `indices` (None: all).

        The result is that of `read` tile by tile; neighbours are decoded together, on all cores.

        Raises:
            ScaleError: the grid was made for another scale of this slide.
        """
        if abs(grid.slide_mpp / self.mpp - 1) > 1e-6 or tuple(grid.slide_size) != self.size:
            raise ScaleError(
                "the grid was made for another slide or another mpp of it",
                found=f"{grid.slide_size} px at {grid.slide_mpp:g}, slide {self.size} px at {self.mpp:g}",
                fix="tile the slide again",
            )
        corners = grid.level0_xy if indices is None else grid.level0_xy[np.asarray(indices, dtype=np.int64)]
        tile_px, side, level = grid.tile_px, grid.tile_px * self._scale(grid.mpp), self.level_for(grid.mpp)
        regions = [
            plan_region(self.levels, level, level0_box=(x, y, side, side), out_size=(tile_px, tile_px))
            for x, y in corners.tolist()
        ]
        tiles = np.empty((len(regions), tile_px, tile_px, 3), np.uint8)

        def fill(block: Block) -> None:
            pixels = self._source.read_level(block.level, block.origin_xy, block.size)
            for index in block.members:
                part = cut(block, pixels, regions[index], down=self.levels[level].downsample)
                tiles[index] = finish_region(part, regions[index])

        blocks = plan_blocks(regions, self.levels, block_px=BLOCK_PX)
        workers = min(len(blocks), os.cpu_count() or 1)
        if workers < 2:
            for block in blocks:
                fill(block)
        else:
            with ThreadPoolExecutor(workers) as pool:
                list(pool.map(fill, blocks))
        return tiles

    def thumbnail(self, *, max_px: int = 1024) -> np.ndarray:
        """Read the whole slide with a long side of `max_px`, or its own if smaller: uint8 (h, w, 3)."""
        return self.thumbnail_at(self.mpp * max(1.0, max(self.size) / max_px))

    def thumbnail_at(self, mpp: float) -> np.ndarray:
        """Read the whole of level 0 at `mpp`: uint8 (h, w, 3) covering the slide from edge to edge.

        Sides are rounded to whole pixels: a position maps to level 0 by `size / (w, h)`, not exactly by
        `mpp`.

        Raises:
            ScaleError: `mpp` is finer than level 0.
        """
        scale = self._scale(mpp)
        out = (max(1, round(self.size[0] / scale)), max(1, round(self.size[1] / scale)))
        return self._read_box((0, 0, *self.size), out, self.level_for(mpp))

    def level_for(self, mpp: float) -> int:
        """Index of the coarsest level that is no coarser than `mpp` beyond the tolerance.

        Raises:
            ScaleError: even level 0 is coarser.
        """
        fine = [i for i, level in enumerate(self.levels) if level.mpp <= mpp * (1 + MPP_TOLERANCE)]
        if not fine:
            raise ScaleError(
                f"{self.name} is coarser than the scale asked for",
                found=f"slide {self.mpp:g} um/px (from {self.mpp_source}), asked {mpp:g} um/px",
                fix=f"ask for mpp >= {self.mpp:g} (--mpp is the scale tiles are cut at), or state the "
                "slide's own scale with --slide-mpp if the file is wrong",
            )
        return max(fine, key=lambda i: self.levels[i].downsample)

    def _scale(self, mpp: float) -> float:
        if not (math.isfinite(mpp) and mpp > 0):
            raise ScaleError("a scale is a positive number of um/px", found=mpp)
        return mpp / self.mpp

    def _read_box(self, box: tuple[float, float, float, float], out: tuple[int, int], level: int) -> np.ndarray:
        """Read an exact level-0 box as `out` pixels; in halves where it is too large to decode at once."""
        x, y, width, height = box
        if width * height > MAX_READ_PX * self.levels[level].downsample ** 2 and max(out) > 1:
            if out[0] >= out[1]:
                half = out[0] // 2
                cut_at = width / out[0] * half
                first = self._read_box((x, y, cut_at, height), (half, out[1]), level)
                rest = self._read_box((x + cut_at, y, width - cut_at, height), (out[0] - half, out[1]), level)
                return np.concatenate([first, rest], axis=1)
            half = out[1] // 2
            cut_at = height / out[1] * half
            first = self._read_box((x, y, width, cut_at), (out[0], half), level)
            rest = self._read_box((x, y + cut_at, width, height - cut_at), (out[0], out[1] - half), level)
            return np.concatenate([first, rest], axis=0)
        region = plan_region(self.levels, level, level0_box=box, out_size=out)
        return finish_region(self._source.read_level(level, region.origin_xy, region.size), region).copy()

    def close(self) -> None:
        """Close the file; closing twice is harmless."""
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        width, height = self.size
        return f"Slide({self.name!r}, {width} x {height} px, {self.mpp:g} um/px from {self.mpp_source})"
