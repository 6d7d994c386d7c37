"""From an exact box on level 0 to the pixels of a level that hold it, and from those to the tile."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

NATIVE_TOLERANCE, NATIVE_PX = 5e-3, 1.25
"""A scale (or a whole multiple of one) that is off by less than this share, and these pixels over the tile, is it.

Scanners state .499 or .5015 um/px for .5: to resample for that would cost three times the decoding.
"""

FILTER = Image.Resampling.BICUBIC
FILTER_SUPPORT = 2.0  # source pixels on either side of a sample, per unit of reduction
_EPSILON = 1e-6


@dataclass(frozen=True)
class Level:
    """One image of the pyramid: `size` (width, height) in its pixels, `downsample` against level 0, `mpp`.

    `on_raster`: a read begins at a whole pixel of the level, floor(level-0 position / downsample). Other
    readers interpolate between pixels where the downsample is no integer.
    """

    size: tuple[int, int]
    downsample: float
    mpp: float
    on_raster: bool = False


@dataclass(frozen=True)
class Region:
    """What to read, and how to make the result of it.

    `origin_xy` is in level-0 pixels, `size` (width, height) in pixels of the level. `box` (left, top, right,
    bottom) is the part of what was read, in fractional pixels, that is resampled to `out_size`; None: all of it,
    each `factor` x `factor` pixels averaged.
    """

    level: int
    origin_xy: tuple[int, int]
    size: tuple[int, int]
    out_size: tuple[int, int]
    box: tuple[float, float, float, float] | None = None
    factor: int = 1


def plan_region(
    levels: Sequence[Level],
    level: int,
    *,
    level0_box: tuple[float, float, float, float],
    out_size: tuple[int, int],
) -> Region:
    """The region of `level` from which an exact box (x, y, width, height; level-0 pixels) becomes `out_size`.

    A resampled region carries the pixels around the box that the filter needs, so neighbouring tiles join
    without a seam; at the border of the slide it stops there, so white from outside does not bleed in.
    Pixels that need no resampling lie at most `NATIVE_PX` beside the box.
    """
    down, on_raster = levels[level].downsample, levels[level].on_raster
    x, y, width, height = level0_box
    factor = max(1, round(width / down / out_size[0]))
    drift = [abs(side / down / factor - out) for side, out in zip((width, height), out_size, strict=True)]
    if all(d < min(NATIVE_PX, NATIVE_TOLERANCE * out) for d, out in zip(drift, out_size, strict=True)):
        size = (out_size[0] * factor, out_size[1] * factor)
        if on_raster:
            origin = _level0(round(x / down), down), _level0(round(y / down), down)
            return Region(level, origin, size, out_size, factor=factor)
        if float(x).is_integer() and float(y).is_integer():
            return Region(level, (int(x), int(y)), size, out_size, factor=factor)
    spans = [
        _span(start, side, down=down, on_raster=on_raster, level_px=size, out_px=out)
        for start, side, size, out in zip((x, y), (width, height), levels[level].size, out_size, strict=True)
    ]
    (x0, w, left, right), (y0, h, top, bottom) = spans
    return Region(level, (x0, y0), (w, h), out_size, (left, top, right, bottom))


def whole_pixels(level: Level, corners: np.ndarray, *, side: float, out_px: int) -> list[tuple[int, int]]:
    """Where regions of one size begin in level-0 pixels, if `plan_region` takes their pixels as they are; else none.

    Whether it does depends on the size alone: thousands of tiles are planned in one step.
    """
    plan = plan_region([level], 0, level0_box=(0, 0, side, side), out_size=(out_px, out_px))
    if plan.box is not None or plan.factor != 1 or not len(corners):
        return []
    down = level.downsample
    return [(int(x), int(y)) for x, y in np.ceil(np.round(corners / down) * down - _EPSILON).tolist()]


def _level0(pixel: int, down: float) -> int:
    """The first level-0 position within a pixel of a level."""
    return math.ceil(pixel * down - _EPSILON)


def _span(
    start: float, side: float, *, down: float, on_raster: bool, level_px: int, out_px: int
) -> tuple[int, int, float, float]:
    """Along one axis: origin in level-0 pixels, length in level pixels, and the box within what is read."""
    low, high = start / down, (start + side) / down
    margin = FILTER_SUPPORT * max(1.0, (high - low) / out_px) + 1
    first = min(math.floor(low + _EPSILON), max(0, math.floor(low - margin)))
    last = max(math.ceil(high - _EPSILON), min(level_px, math.ceil(high + margin)))
    if on_raster:
        origin, exact_first = _level0(first, down), float(first)
    else:
        origin = math.floor(first * down + _EPSILON)
        exact_first = origin / down  # a level of downsample 4.0003 has few pixels at integer level-0 positions
    length = max(1, math.ceil(last - exact_first - _EPSILON))
    return origin, length, max(0.0, low - exact_first), min(float(length), high - exact_first)


def finish_region(pixels: np.ndarray, region: Region) -> np.ndarray:
    """Make `out_size` pixels, uint8 (height, width, 3), of what was read for `region`."""
    if region.box is None and region.factor == 1:
        return pixels
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if region.box is None:
        return np.asarray(image.reduce(region.factor))
    return np.asarray(image.resize(region.out_size, FILTER, box=region.box))


@dataclass(frozen=True)
class Block:
    """A rectangle of a level read at once, and the regions (by index) that are cut from it."""

    level: int
    origin_xy: tuple[int, int]
    size: tuple[int, int]
    members: tuple[int, ...]


def plan_blocks(regions: Sequence[Region], levels: Sequence[Level], *, block_px: int) -> list[Block]:
    """Group neighbouring regions, all of one level, into rectangles of about `block_px`, each read once.

    Regions share a block only where their pixels fall on the same raster of the level, so that cutting gives
    exactly what reading one by one gives, and only where the rectangle holds little that nobody asked for.
    """
    groups: dict[tuple, list[int]] = {}
    for index, region in enumerate(regions):
        groups.setdefault(_group(region, index, down=levels[region.level].downsample, block_px=block_px), []).append(
            index
        )
    blocks: list[Block] = []
    for members in groups.values():
        block = _bounding(regions, members, down=levels[regions[members[0]].level].downsample)
        asked = sum(regions[i].size[0] * regions[i].size[1] for i in members)
        if block.size[0] * block.size[1] <= 1.25 * asked:
            blocks.append(block)
        else:
            blocks += [Block(regions[i].level, regions[i].origin_xy, regions[i].size, (i,)) for i in members]
    return blocks


def _group(region: Region, index: int, *, down: float, block_px: int) -> tuple:
    if not float(down).is_integer():
        return (index,)  # OpenSlide interpolates between pixels here: a cut would differ from a read
    step = int(down)
    x, y = region.origin_xy
    return region.level, x % step, y % step, y // (block_px * step), x // (block_px * step)


def _bounding(regions: Sequence[Region], members: Sequence[int], *, down: float) -> Block:
    x0 = min(regions[i].origin_xy[0] for i in members)
    y0 = min(regions[i].origin_xy[1] for i in members)
    width = max(round((regions[i].origin_xy[0] - x0) / down) + regions[i].size[0] for i in members)
    height = max(round((regions[i].origin_xy[1] - y0) / down) + regions[i].size[1] for i in members)
    return Block(regions[members[0]].level, (x0, y0), (width, height), tuple(members))


def cut(block: Block, pixels: np.ndarray, region: Region, *, down: float) -> np.ndarray:
    """The pixels of one region out of its block's."""
    x = round((region.origin_xy[0] - block.origin_xy[0]) / down)
    y = round((region.origin_xy[1] - block.origin_xy[1]) / down)
    return pixels[y : y + region.size[1], x : x + region.size[0]]
