"""The contract of a slide reader, checked on a real file."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from asmil.errors import SlideError
from asmil.slides import Reader


def check_reader(reader: type[Reader], path: str | Path) -> None:
    """Check that a reader class keeps the contract of `asmil.slides.Reader` on a file that it should open.

    Args:
        reader: the class, as in READER of a file in `slides/readers/`.
        path: a slide file of its format.

    Raises:
        SlideError: what of the contract is broken.
    """
    _require(bool(reader.detect(Path(path))), "detect names the format", reader.detect(Path(path)))
    source = reader(Path(path))
    try:
        _check_levels(source)
        for level in range(len(source.level_sizes)):
            _check_pixels(source, level)
    finally:
        source.close()
        source.close()  # closing twice is harmless


def _require(kept: bool, rule: str, found: object) -> None:
    if not kept:
        raise SlideError(f"the reader breaks its contract: {rule}", found=found)


def _check_levels(source: Reader) -> None:
    sizes, downs = source.level_sizes, source.downsamples
    _require(len(sizes) == len(downs) > 0, "every level has a size and a downsample", (sizes, downs))
    _require(downs[0] == 1, "level 0 has downsample 1", downs)
    _require(list(downs) == sorted(downs), "levels go from fine to coarse", downs)
    _require(all(w > 0 and h > 0 for w, h in sizes), "levels have positive sizes", sizes)
    mpp = source.file_mpp
    _require(mpp is None or len(mpp) == 2, "file_mpp is None or (x, y)", mpp)
    x, y, width, height = source.bounds
    inside = x >= 0 and y >= 0 and x + width <= sizes[0][0] and y + height <= sizes[0][1]
    _require(inside, "bounds lie within level 0", source.bounds)


def _check_pixels(source: Any, level: int) -> None:
    down = source.downsamples[level]
    width, height = (min(64, side) for side in source.level_sizes[level])
    pixels = source.read_level(level, (0, 0), (width, height))
    _require(pixels.dtype == np.uint8, "pixels are uint8", pixels.dtype)
    _require(pixels.shape == (height, width, 3), "pixels are (height, width, 3)", pixels.shape)
    again = source.read_level(level, (0, 0), (width, height))
    _require(np.array_equal(pixels, again), "reading twice gives the same pixels", f"level {level}")
    outside = source.read_level(level, (-round(16 * down), -round(16 * down)), (8, 8))
    _require(bool((outside == 255).all()), "outside the slide is white", f"level {level}: {outside.min()}")
    native = hasattr(source, "tile_size")
    if native:
        _require(min(source.tile_size(level)) > 0, "tiles have positive sizes", source.tile_size(level))
        corners, many = [(0, 0), (width // 2, height // 2)], np.empty((2, height, width, 3), np.uint8)
        source.read_regions(level, corners, out=many)
        singly = [source.read_level(level, xy, (width, height)) for xy in corners]
        _require(np.array_equal(many, singly), "reading many rectangles gives the same pixels", f"level {level}")
    if (native or float(down).is_integer()) and width > 8 and height > 8:
        part = source.read_level(level, (math.ceil(3 * down), math.ceil(5 * down)), (width - 3, height - 5))
        _require(np.array_equal(part, pixels[5:, 3:]), "a part is cut from the same raster", f"level {level}")
