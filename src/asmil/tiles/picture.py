"""A picture of a slide's tissue and tiles: one look says whether they are right."""

from pathlib import Path

import numpy as np
import shapely
from PIL import Image, ImageDraw

from asmil.files import written_beside
from asmil.slides import Slide
from asmil.tiles.grid import TileGrid
from asmil.tiles.tissue import Tissue

OUTLINE, HOLE, TILE = (0, 140, 70), (215, 120, 0), (40, 90, 200, 60)
PICTURE_PX = 1600


def tissue_picture(
    slide: Slide, tissue: Tissue, grid: TileGrid | None = None, *, max_px: int = PICTURE_PX
) -> np.ndarray:
    """Draw the thumbnail with outlines (green), holes (orange) and, where a grid is given, its tiles (blue).

    Returns:
        uint8 (h, w, 3), the long side `max_px` or that of the slide.
    """
    image = Image.fromarray(slide.thumbnail(max_px=max_px))
    scale = np.array([image.width / slide.size[0], image.height / slide.size[1]])
    draw = ImageDraw.Draw(image, "RGBA")
    if grid is not None:
        for left, top in grid.level0_xy * scale:
            right, bottom = (left, top) + grid.tile_level0_px * scale
            draw.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), fill=TILE, outline=TILE[:3])
    width = max(1, round(max(image.size) / 600))
    for polygon in tissue.polygons.geoms:
        for ring in shapely.get_rings(polygon):
            colour = OUTLINE if ring.equals_exact(polygon.exterior) else HOLE
            points = shapely.get_coordinates(shapely.simplify(ring, 0.5 / scale.max())) * scale
            draw.line([tuple(point) for point in points.tolist()], fill=colour, width=width)
    return np.asarray(image)


def write_tissue_picture(path: str | Path, slide: Slide, tissue: Tissue, *, grid: TileGrid | None = None) -> None:
    """Write `tissue_picture` as a JPEG, atomically."""
    with written_beside(path) as partial:
        Image.fromarray(tissue_picture(slide, tissue, grid)).save(partial, "JPEG", quality=85)
