"""Tiles: which squares of a slide to look at. Names are loaded when used."""

from typing import TYPE_CHECKING

from asmil.registry import door

if TYPE_CHECKING:
    from asmil.tiles.geojson import EDITED, ORIGIN, Bounds, origin_of, repaired
    from asmil.tiles.masks import TISSUE_METHODS, Thumbnail, mask_polygons
    from asmil.tiles.quality import QUALITY_FLAGS, flag_tiles
    from asmil.tiles.tiling import TileGrid, tile, tissue_picture, write_tissue_picture
    from asmil.tiles.tissue import MAX_HOLE_UM2, MIN_AREA_UM2, SMOOTHING_UM, Tissue, find_tissue
else:
    __all__, __getattr__ = door(__name__)
