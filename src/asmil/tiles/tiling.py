"""Where the tiles of a slide are: the grid laid over the tissue, with all the geometry needed to read and draw it."""

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import shapely
from PIL import Image, ImageDraw

from asmil.errors import ConfigError, ScaleError, TissueError, require_kind
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

MOST_POSITIONS = 4_000_000
"""Of a grid on one slide: six times those of tiles of 112 px on a slide of 100,000 x 80,000. A step of a pixel, which
takes hours and all memory, has more on any slide."""


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
        ConfigError: `slide` or `tissue` is none, or the grid has more than MOST_POSITIONS.
        ScaleError: `mpp` is finer than the slide beyond the tolerance.
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
    side, step = (px * mpp / slide_mpp for px in (tile_px, tile_px - overlap_px))
    xs, ys = (_positions(bounds[axis], bounds[axis + 2], side=side, step=step) for axis in (0, 1))
    _require_few(len(xs) * len(ys), tile_px=tile_px, overlap_px=overlap_px)
    fraction = _tissue_fractions(xs, ys, side=side, polygons=tissue.polygons)
    rows, columns = np.nonzero(fraction >= min_tissue - 1e-9)
    if not len(rows):
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


def _require_few(positions: int, *, tile_px: int, overlap_px: int) -> None:
    if positions <= MOST_POSITIONS:
        return
    step = tile_px - overlap_px
    wanted = math.ceil(step * math.sqrt(positions / MOST_POSITIONS))
    less = f"an overlap of {tile_px - wanted} px or less" if wanted <= tile_px else f"tiles of {wanted} px or more"
    raise ConfigError(
        f"a grid of {positions:,} places for tiles is more than one slide may have",
        found=f"tiles of {tile_px} px, a step of {step} px; at most {MOST_POSITIONS:,} places",
        fix=f"take {less}",
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

    Tiles inside or outside altogether are settled by an index. For the others the outline is clipped to a row of tiles
    once, and what lies left of a tile's sides is summed over its edges: overlapping tiles ask for the same again.
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
        sides = np.concatenate([xs[columns], xs[columns] + side])
        before, after = np.split(_areas_left_of(sides, clipped, origin=(left, float(ys[row]))), 2)
        fraction[row, columns] = (after - before) / side**2
    return np.clip(fraction, 0.0, 1.0)


_EDGES = 256
"""Edges that are summed at once: they and all sides of tiles make a table."""


def _areas_left_of(xs: np.ndarray, area: shapely.Geometry, *, origin: tuple[float, float]) -> np.ndarray:
    """The area left of each x, by Green's theorem: the sum over all edges of the integral of y dx up to there."""
    parts = shapely.get_parts(area)
    rings = shapely.get_rings(shapely.normalize(parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON]))
    points, ring = shapely.get_coordinates(rings, return_index=True)
    points, xs, areas = points - origin, xs - origin[0], np.zeros(len(xs))
    same = ring[1:] == ring[:-1]
    start, end = points[:-1][same], points[1:][same]
    forward = np.where(end[:, 0] > start[:, 0], 1.0, -1.0)  # normalised outlines run clockwise, holes against it
    start, end = (np.where(forward[:, None] > 0, *pair) for pair in ((start, end), (end, start)))
    start, along, forward = (array[end[:, 0] != start[:, 0]] for array in (start, end - start, forward))
    for first in range(0, len(start), _EDGES):
        edges = slice(first, first + _EDGES)
        (x, y), (dx, dy) = start[edges].T[:, :, None], along[edges].T[:, :, None]
        part = np.clip((xs - x) / dx, 0, 1)
        areas += forward[edges] @ (dx * part * (y + dy * part / 2))
    return areas


# A picture of a slide's tissue and tiles: one look says whether they are right.

OUTLINE, HOLE, TILE, COVER = (0, 140, 70), (215, 120, 0), (40, 90, 200), 60 / 255
PICTURE_PX = 1600
MOST_SQUARES = 20_000
"""Tiles of which the borders are drawn; of more every second row and column, or third ... All are shaded."""


def tissue_picture(
    slide: Slide, tissue: Tissue, grid: TileGrid | None = None, *, max_px: int = PICTURE_PX
) -> np.ndarray:
    """Draw the thumbnail with outlines (green), holes (orange) and, where a grid is given, its tiles (blue).

    Returns:
        uint8 (h, w, 3), the long side `max_px` or that of the slide.
    """
    image = Image.fromarray(slide.thumbnail(max_px=max_px))
    scale = np.array([image.width / slide.size[0], image.height / slide.size[1]])
    if grid is not None:
        image = _with_tiles(
            image, grid.level0_xy * scale, step=grid.step_level0_px * scale, side=grid.tile_level0_px * scale
        )
    draw = ImageDraw.Draw(image)
    width = max(1, round(max(image.size) / 600))
    for polygon in tissue.polygons.geoms:
        for ring in shapely.get_rings(polygon):
            colour = OUTLINE if ring.equals_exact(polygon.exterior) else HOLE
            points = shapely.get_coordinates(shapely.simplify(ring, 0.5 / scale.max())) * scale
            draw.line([tuple(point) for point in points.tolist()], fill=colour, width=width)
    return np.asarray(image)


def _with_tiles(image: Image.Image, corners: np.ndarray, *, step: np.ndarray, side: np.ndarray) -> Image.Image:
    """The picture with tiles, in its pixels: shaded, more where several overlap, with their borders."""
    left, top = np.rint(corners).astype(int).T
    right, bottom = np.maximum(np.rint(corners + side).astype(int), np.rint(corners).astype(int) + 1).T
    count = np.zeros((max(image.height, bottom.max()) + 1, max(image.width, right.max()) + 1), np.int64)
    for rows, columns, sign in ((top, left, 1), (bottom, right, 1), (top, right, -1), (bottom, left, -1)):
        np.add.at(count, (rows, columns), sign)
    shade = 1 - (1 - COVER) ** count.cumsum(0).cumsum(1)[: image.height, : image.width, None]
    shaded = Image.fromarray(np.rint(np.asarray(image) * (1 - shade) + np.array(TILE) * shade).astype(np.uint8))
    draw, every = ImageDraw.Draw(shaded), math.ceil(math.sqrt(len(corners) / MOST_SQUARES))
    places = np.rint((corners - corners.min(axis=0)) / step).astype(int)
    for index in np.nonzero((places % every == 0).all(axis=1))[0]:
        draw.rectangle((left[index], top[index], right[index] - 1, bottom[index] - 1), outline=TILE)
    return shaded


def write_tissue_picture(path: str | Path, slide: Slide, tissue: Tissue, *, grid: TileGrid | None = None) -> None:
    """Write `tissue_picture` as a JPEG, atomically."""
    with written_beside(path) as partial:
        Image.fromarray(tissue_picture(slide, tissue, grid)).save(partial, "JPEG", quality=85)
