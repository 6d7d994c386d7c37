"""Where the tiles of a slide are: the grid laid over the tissue, with all the geometry needed to read and draw it."""

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import shapely
from PIL import Image, ImageDraw

from asmil.errors import ScaleError, TissueError, require_kind
from asmil.files import written_beside
from asmil.slides import Slide
from asmil.tiles.tissue import Tissue
from asmil.units import MPP_TOLERANCE

# Where the tiles of a slide are: level-0 positions with all the geometry needed to read and draw them.


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


_EPSILON = 1e-6  # level-0 pixels: rounding of a fractional step


def tile(
    slide: Slide | tuple[tuple[int, int], float],
    tissue: Tissue,
    *,
    mpp: float,
    tile_px: int,
    overlap_px: int = 0,
    min_tissue: float = 0.5,
) -> TileGrid:
    """Choose the tiles of a slide that hold tissue, in row-major order.

    The grid starts at the corner of the scanned part. Its step of `(tile_px - overlap_px) * mpp / slide_mpp`
    level-0 pixels is kept as a fraction and each position rounded by itself, so it never drifts. Tiles lie
    wholly inside.

    Args:
        slide: the slide, or its level-0 size (width, height) and mpp.
        tissue: of the same slide.
        mpp: um/px the tiles are cut at.
        tile_px: side of a tile.
        overlap_px: what neighbouring tiles share.
        min_tissue: least share of a tile's area within the tissue, in (0, 1].

    Raises:
        ConfigError: `slide` or `tissue` is none. ScaleError: `mpp` is finer than the slide beyond the tolerance.
        TissueError: no tile is left, the slide is smaller than a tile, or a setting is out of range.
    """
    require_kind(tissue, Tissue, called="tissue", fix="give what find_tissue or read_tissue returns")
    require_kind(slide, (Slide, tuple), called="a slide", fix="give what open_slide returns")
    if isinstance(slide, Slide):
        size, slide_mpp, bounds = slide.size, slide.mpp, slide.bounds
    else:
        size, slide_mpp = slide
        bounds = (0, 0, *size)
    _check(
        tissue,
        size,
        mpp=mpp,
        slide_mpp=slide_mpp,
        tile_px=tile_px,
        overlap_px=overlap_px,
        min_tissue=min_tissue,
    )
    side = tile_px * mpp / slide_mpp
    step = (tile_px - overlap_px) * mpp / slide_mpp
    xs = _positions(bounds[0], bounds[2], side=side, step=step)
    ys = _positions(bounds[1], bounds[3], side=side, step=step)
    fraction = _tissue_fractions(xs, ys, side=side, polygons=tissue.polygons)
    rows, columns = np.nonzero(fraction >= min_tissue - 1e-9)
    if len(rows) == 0:
        raise _nothing_left(tissue, fraction, min_tissue)
    return TileGrid(
        level0_xy=np.stack([xs[columns], ys[rows]], axis=1),
        tile_px=tile_px,
        mpp=mpp,
        slide_mpp=slide_mpp,
        slide_size=(int(size[0]), int(size[1])),
        tissue_fraction=fraction[rows, columns].astype(np.float32),
        overlap_px=overlap_px,
    )


def _nothing_left(tissue: Tissue, fraction: np.ndarray, min_tissue: float) -> TissueError:
    most = math.floor(fraction.max() * 1000) / 1000  # no share is shown as 1 that is not
    best = f"{tissue.area_um2:.0f} um2 of tissue, the best of {fraction.size} tiles has {most:g}"
    return TissueError(
        "no tile holds enough tissue",
        found=f"{best}, min_tissue is {min_tissue:g}",
        fix="look at the slide; lower min_tissue, use smaller tiles, or draw the tissue in QuPath",
    )


def _check(
    tissue: Tissue,
    size: tuple[int, int],
    *,
    mpp: float,
    slide_mpp: float,
    tile_px: int,
    overlap_px: int,
    min_tissue: float,
) -> None:
    if tuple(tissue.slide_size) != tuple(size):
        raise TissueError("the tissue is that of another slide", found=f"{tissue.slide_size} px, the slide has {size}")
    if tile_px < 1:
        raise TissueError("a tile has at least one pixel", found=f"tile_px {tile_px}")
    if not 0 <= overlap_px < tile_px:
        raise TissueError(
            "the overlap must be at least 0 and less than the tile",
            found=f"overlap_px {overlap_px}, tile_px {tile_px}",
        )
    if not 0 < min_tissue <= 1:
        raise TissueError("min_tissue is a share above 0 and up to 1", found=min_tissue)
    if not 0 < slide_mpp <= mpp * (1 + MPP_TOLERANCE):
        raise ScaleError(
            "the slide is coarser than the scale asked for",
            found=f"slide {slide_mpp:g} um/px, asked {mpp:g}",
            fix=f"ask for mpp >= {slide_mpp:g}, or state the slide's own scale with --slide-mpp if the file is wrong; "
            "a finished run predicts at its own scale alone: leave the slide out",
        )


def _positions(start: int, length: int, *, side: float, step: float) -> np.ndarray:
    """Rounded starts, int64, of the tiles that lie wholly within `length` level-0 pixels from `start`."""
    if side > length + _EPSILON:
        raise TissueError(
            "the slide is smaller than one tile",
            found=f"{length} level-0 px, a tile is {side:g}",
            fix="use a smaller tile_px or a finer mpp",
        )
    count = int((length - side + _EPSILON) // step) + 1
    offsets = np.rint(np.arange(count) * step).astype(np.int64)
    return start + offsets[offsets + side <= length + _EPSILON]


def _tissue_fractions(xs: np.ndarray, ys: np.ndarray, *, side: float, polygons: shapely.MultiPolygon) -> np.ndarray:
    """Exact share of each tile's area inside the polygons, float64 (rows, columns).

    Tiles inside or outside altogether are settled by an index; the others are clipped, one row of tiles at a
    time, so that no tile is clipped against the whole outline of the slide.
    """
    fraction = np.zeros((len(ys), len(xs)))
    if polygons.is_empty:
        return fraction
    parts = shapely.get_parts(polygons)
    boxes = shapely.box(xs[None, :], ys[:, None], xs[None, :] + side, ys[:, None] + side)
    tree = shapely.STRtree(boxes.ravel())
    fraction.ravel()[tree.query(parts, predicate="contains")[1]] = 1.0
    touched = np.zeros(boxes.shape, bool)
    touched.ravel()[tree.query(parts, predicate="intersects")[1]] = True
    partly = touched & (fraction == 0)
    left, right = float(xs[0]), float(xs[-1]) + side
    for row in np.nonzero(partly.any(axis=1))[0]:
        strip = shapely.box(left, ys[row], right, ys[row] + side)
        within = parts[shapely.intersects(parts, strip)]
        clipped = shapely.union_all(shapely.intersection(within, strip))
        columns = np.nonzero(partly[row])[0]
        fraction[row, columns] = shapely.area(shapely.intersection(boxes[row, columns], clipped)) / side**2
    return np.minimum(fraction, 1.0)


# A picture of a slide's tissue and tiles: one look says whether they are right.

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
