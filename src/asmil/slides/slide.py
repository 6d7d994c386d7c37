"""A slide: pixels at any scale, addressed in level-0 pixels and micrometres per pixel."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from asmil.errors import ScaleError, SlideError, blaming
from asmil.machine import each
from asmil.slides.reader import Reader, Scene, scene_name
from asmil.slides.region import Block, Level, Region, cut, finish_region, plan_blocks, plan_region, whole_pixels
from asmil.units import MPP_TOLERANCE, row_numbers

if TYPE_CHECKING:
    from asmil.tiles import TileGrid

BLOCK_PX = 512
"""Side of what is read at once through readers that do not say how a file is tiled: larger needs fresh memory."""
MAX_READ_PX = 4096 * 4096
"""Pixels of a level decoded at once; a larger read is made of parts, so that memory stays bounded."""


class Slide:
    """An open slide; made by `open_slide`, closed by `close` or a `with` block.

    `size` and `bounds` (x, y, width, height: the scanned part, the whole slide for most formats) are in
    level-0 pixels, `mpp` in micrometres per level-0 pixel, `mpp_source` says where it came from. `reader` opened
    it; `passed_over` has, by reader tried before, the reason why not. `scene` of `scenes` is shown; `scene_note`
    says which there are where there are several and none was named; `notes` says that, and what of the file
    cannot be used. One slide is not for several threads: reading uses all cores by itself.
    """

    def __init__(
        self,
        path: Path,
        source: Reader,
        *,
        name: str,
        reader: str,
        mpp: float,
        mpp_source: str,
        scene: int | None = None,
        passed_over: Mapping[str, str] | None = None,
    ):
        found: tuple[Scene, ...] = getattr(source, "scenes", ())
        self.path, self.reader, self.passed_over = path, reader, dict(passed_over or {})
        self.scene, self.scenes = scene or 0, max(1, len(found))
        self.name = name if scene is None or self.scenes == 1 else scene_name(name, self.scene)
        self.scene_note = several_scenes(found) if scene is None and self.scenes > 1 else ""
        self.notes = [note for note in (self.scene_note, *getattr(source, "notes", ())) if note]
        self.mpp, self.mpp_source = mpp, mpp_source
        self.vendor, self.objective, self.bounds = source.vendor, source.objective, source.bounds
        self.size = source.level_sizes[0]
        self._tile_size: Callable[[int], tuple[int, int]] | None = getattr(source, "tile_size", None)
        self.levels = tuple(
            Level(size, down, mpp * down, on_raster=self._tile_size is not None)
            for size, down in zip(source.level_sizes, source.downsamples, strict=True)
        )
        self._source: Any = source
        self._damaged: set[int] = set()

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
        out = int(width), int(height)
        return self._on_level_for(mpp, lambda level: self._read_box(box, out, level))

    def read_tiles(
        self,
        grid: "TileGrid",
        indices: Sequence[int] | np.ndarray | None = None,
        *,
        out: np.ndarray | None = None,
    ) -> np.ndarray:
        """Read tiles of a grid, uint8 (tiles, tile_px, tile_px, 3), in the order of `indices` (a mask too; None: all).

        The result is that of `read` tile by tile; what neighbours share is decoded once, on all cores. It is
        written into `out` where given (of just that shape; pinned memory, for example).

        Raises:
            ConfigError: `indices` are neither numbers of tiles nor a mask of them.
            ScaleError: the grid was made for another scale of this slide.
            SlideError: the file is damaged there, or `out` has another shape.
        """
        if abs(grid.slide_mpp / self.mpp - 1) > 1e-6 or tuple(grid.slide_size) != self.size:
            raise ScaleError(
                "the grid was made for another slide or another mpp of it",
                found=f"{grid.slide_size} px at {grid.slide_mpp:g}, slide {self.size} px at {self.mpp:g}",
                fix="tile the slide again",
            )
        corners = grid.level0_xy if indices is None else grid.level0_xy[row_numbers(indices, of=len(grid))]
        tile_px, side = grid.tile_px, grid.tile_px * self._scale(grid.mpp)
        tiles = _buffer(out, (len(corners), tile_px, tile_px, 3))

        def read(level: int) -> np.ndarray:
            if self._tile_size and (origins := whole_pixels(self.levels[level], corners, side=side, out_px=tile_px)):
                self._source.read_regions(level, origins, out=tiles)
                return tiles
            regions = [
                plan_region(self.levels, level, level0_box=(x, y, side, side), out_size=(tile_px, tile_px))
                for x, y in corners.tolist()
            ]
            (self._fill_singly if self._tile_size else self._fill_blocks)(tiles, regions)
            return tiles

        return self._on_level_for(grid.mpp, read)

    def _fill_singly(self, tiles: np.ndarray, regions: Sequence[Region]) -> None:
        """Read each region by itself: the reader keeps the decoded tiles that neighbours share."""

        def fill(index: int) -> None:
            region = regions[index]
            pixels = self._source.read_level(region.level, region.origin_xy, region.size)
            tiles[index] = finish_region(pixels, region)

        each(fill, sorted(range(len(regions)), key=lambda i: regions[i].origin_xy[::-1]))

    def _fill_blocks(self, tiles: np.ndarray, regions: Sequence[Region]) -> None:
        """Read rectangles that hold many regions, and cut the regions from them."""

        def fill(block: Block) -> None:
            pixels = self._source.read_level(block.level, block.origin_xy, block.size)
            for index in block.members:
                part = cut(block, pixels, regions[index], down=self.levels[block.level].downsample)
                tiles[index] = finish_region(part, regions[index])

        each(fill, plan_blocks(regions, self.levels, block_px=BLOCK_PX))

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
        return self._on_level_for(mpp, lambda level: self._read_box((0, 0, *self.size), out, level))

    def level_for(self, mpp: float) -> int:
        """Index of the coarsest sound level that is no coarser than `mpp` beyond the tolerance.

        Raises:
            ScaleError: even level 0 is coarser.
        """
        sound = [(i, level) for i, level in enumerate(self.levels) if i not in self._damaged]
        fine = [i for i, level in sound if level.mpp <= mpp * (1 + MPP_TOLERANCE)]
        if not fine:
            raise ScaleError(
                f"{self.name} is coarser than the scale asked for",
                found=f"slide {self.mpp:g} um/px (from {self.mpp_source}), asked {mpp:g} um/px",
                fix=f"ask for mpp >= {self.mpp:g} (--mpp is the scale tiles are cut at), or state the "
                "slide's own scale with --slide-mpp if the file is wrong",
            )
        return max(fine, key=lambda i: self.levels[i].downsample)

    def _on_level_for(self, mpp: float, read: Callable[[int], np.ndarray]) -> np.ndarray:
        """Read from the level for a scale; from the next finer one, with a note, where that is damaged."""
        while True:
            level = self.level_for(mpp)
            try:
                with blaming(SlideError, f"{self.path} is damaged at level {level}", fix="copy or download it again"):
                    return read(level)
            except SlideError as error:
                if level == 0:
                    raise
                self._damaged.add(level)
                self.notes.append(f"level {level} is damaged, a finer one is read instead: {error.what}")

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
        if region.box is None:
            return self._read_banded(region)
        pixels = self._read_banded(replace(region, box=None, factor=1, out_size=region.size))
        return finish_region(pixels, region)

    def _read_banded(self, region: Region) -> np.ndarray:
        """Read whole pixels, or averages of them, in bands of whole tiles on all cores."""
        (x0, y0), (width, height), down = region.origin_xy, region.size, self.levels[region.level].downsample
        if not (self._tile_size or float(down).is_integer()):
            return finish_region(self._source.read_level(region.level, region.origin_xy, region.size), region)
        rows, factor = self._tile_size(region.level)[1] if self._tile_size else BLOCK_PX, region.factor
        first = math.floor(y0 / down + 1e-6)
        step = max(1, rows // factor) * factor
        lead = -first % rows // factor * factor or step  # so that the bands after the first begin with a tile
        edges = [0, *range(lead, height, step), height]
        pixels = np.empty((region.out_size[1], region.out_size[0], 3), np.uint8)

        def fill(band: tuple[int, int]) -> None:
            y = y0 if band[0] == 0 else math.ceil((first + band[0]) * down - 1e-6)
            part = self._source.read_level(region.level, (x0, y), (width, band[1] - band[0]))
            pixels[band[0] // factor : band[1] // factor] = finish_region(part, region)

        each(fill, list(pairwise(edges)))
        return pixels

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


def several_scenes(scenes: Sequence[Scene]) -> str:
    """Which scenes a file holds, and that the first is read."""
    found = "; ".join(f"{i}: {s.name}, {s.size[0]} x {s.size[1]} px" for i, s in enumerate(scenes))
    return f"the file holds {len(scenes)} scenes ({found}); scene 0 is read, as none was named"


def _buffer(out: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
    if out is None:
        return np.empty(shape, np.uint8)
    if out.shape != shape or out.dtype != np.uint8:
        raise SlideError("the buffer for tiles does not fit", found=f"{out.dtype} {out.shape}, needed uint8 {shape}")
    return out
