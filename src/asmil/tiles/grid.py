"""Where the tiles of a slide are: level-0 positions with all the geometry needed to read and draw them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class TileGrid:
    """Tiles of one slide.

    `level0_xy` int64 (tiles, 2) are the top-left corners in level-0 pixels, (x, y). A tile is `tile_px` pixels wide
    at `mpp` micrometres per pixel, so `tile_level0_px = tile_px * mpp / slide_mpp` level-0 pixels (not always an
    integer: the reader resamples from the exact box). `tissue_fraction` float32 (tiles,) is the exact share of each
    tile's area inside the tissue polygons.
    """

    level0_xy: np.ndarray
    tile_px: int
    mpp: float
    slide_mpp: float
    slide_size: tuple[int, int]
    tissue_fraction: np.ndarray
    overlap_px: int = 0

    def __len__(self) -> int:
        return len(self.level0_xy)

    @property
    def tile_um(self) -> float:
        """Side of a tile in micrometres."""
        return self.tile_px * self.mpp

    @property
    def tile_level0_px(self) -> float:
        """Side of a tile in level-0 pixels."""
        return self.tile_um / self.slide_mpp

    @property
    def step_level0_px(self) -> float:
        """Distance of neighbouring tiles in level-0 pixels."""
        return (self.tile_px - self.overlap_px) * self.mpp / self.slide_mpp

    @cached_property
    def um_xy(self) -> np.ndarray:
        """Top-left corners in micrometres, float64 (tiles, 2)."""
        return self.level0_xy * self.slide_mpp
