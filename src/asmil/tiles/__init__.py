"""Tiles: which squares of a slide to look at."""

from asmil.tiles.grid import TileGrid
from asmil.tiles.masks import TISSUE_METHODS
from asmil.tiles.picture import tissue_picture, write_tissue_picture
from asmil.tiles.quality import QUALITY_FLAGS, flag_tiles
from asmil.tiles.tiling import tile
from asmil.tiles.tissue import Tissue, find_tissue

__all__ = [
    "QUALITY_FLAGS",
    "TISSUE_METHODS",
    "TileGrid",
    "Tissue",
    "find_tissue",
    "flag_tiles",
    "tile",
    "tissue_picture",
    "write_tissue_picture",
]
