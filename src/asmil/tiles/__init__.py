"""Tiles: which squares of a slide to look at."""

from asmil.tiles.grid import TileGrid
from asmil.tiles.tiling import tile
from asmil.tiles.tissue import TISSUE_METHODS, Tissue, find_tissue

__all__ = ["TISSUE_METHODS", "TileGrid", "Tissue", "find_tissue", "tile"]
