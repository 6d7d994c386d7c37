"""Attention over a slide: tiles drawn at their exact places on the thumbnail."""

import math
from collections.abc import Iterable

import matplotlib
import numpy as np
from PIL import Image, ImageDraw
from scipy import sparse
from shapely.geometry.base import BaseGeometry

from asmil.errors import AsmilError
from asmil.tasks import mean_ranks

COLOUR_MAP = "inferno"
SMALLEST_PX = 600
OUTLINE_RGB = (0, 228, 208)
SCALES = ("percentile", "raw")
Masks = tuple[Image.Image, Image.Image]


def percentiles(values: np.ndarray) -> np.ndarray:
    """Rank of each value among `values` in (0, 1]; ties share their mean rank."""
    return mean_ranks(values) / max(len(values), 1)


def times_uniform(attention: np.ndarray) -> np.ndarray:
    """Attention in multiples of 1 / tiles: a number means the same on a slide of 50 or 50 000 tiles."""
    return np.asarray(attention, dtype=np.float64) * len(attention)


def raw_limits(attention: np.ndarray) -> tuple[float, float]:
    """Ends of the raw colour range: 1st and 99th percentile of the slide's attention in multiples of uniform.

    A range from 0 would paint nearly even attention in one colour, a range to the maximum would give all
    colours to one outlier. Attention that does not vary gets the middle colour.
    """
    shown = times_uniform(attention)
    low, high = (float(x) for x in np.percentile(shown, [1, 99])) if len(shown) else (0.0, 2.0)
    return (low, high) if high - low > 1e-9 * abs(high) else (0.0, 2 * high or 2.0)


def heatmap(
    thumbnail: np.ndarray,
    level0_xy: np.ndarray,
    values: np.ndarray,
    *,
    tile_level0_px: float,
    slide_size: tuple[int, int],
    scale: str = "percentile",
    limits: tuple[float, float] | None = None,
    cmap: str = COLOUR_MAP,
    alpha: float = 0.62,
    outlines: Iterable[BaseGeometry] | None = None,
    points: np.ndarray | None = None,
) -> np.ndarray:
    """Draw one value per tile over a thumbnail of the whole slide.

    Tiles keep their fractional borders (a pixel half covered is half coloured); overlaps are averaged. A
    small thumbnail is enlarged first, so that a slide of a few tiles still gives a picture.

    Args:
        thumbnail: uint8 (h, w, 3), the whole of level 0.
        level0_xy: (tiles, 2), top-left corners in level-0 pixels.
        values: (tiles,), for example attention that sums to 1.
        tile_level0_px: side of a tile in level-0 pixels.
        slide_size: (width, height) of level 0.
        scale: "percentile" ranks within the slide; "raw" shows multiples of uniform attention.
        limits: values at the ends of the colour map; default 0 to 1, or `raw_limits` of the values.
        alpha: opacity over the thumbnail, 0 to 1.
        outlines: shapely geometries in level-0 pixels, drawn as lines.
        points: (n, 2) level-0 positions, drawn as dots.

    Returns:
        uint8 (h', w', 3), at least 600 px on its longer side.

    Raises:
        AsmilError: shapes disagree, a value is not finite, or the scale is unknown.
    """
    level0_xy, values = _checked(level0_xy, values, scale=scale)
    base = enlarge(thumbnail)
    picture = colour_tiles(
        base,
        level0_xy,
        values,
        tile_level0_px=tile_level0_px,
        slide_size=slide_size,
        scale=scale,
        limits=limits,
        cmap=cmap,
        alpha=alpha,
    )
    return draw_outlines(picture, slide_size=slide_size, outlines=outlines, points=points)


def colour_tiles(
    base: np.ndarray,
    level0_xy: np.ndarray,
    values: np.ndarray,
    *,
    tile_level0_px: float,
    slide_size: tuple[int, int],
    scale: str,
    limits: tuple[float, float] | None = None,
    cmap: str = COLOUR_MAP,
    alpha: float = 0.62,
) -> np.ndarray:
    """`heatmap` at the size of the picture, without marks: uint8 (h, w, 3)."""
    level0_xy, values = _checked(level0_xy, values, scale=scale)
    shown = percentiles(values) if scale == "percentile" else times_uniform(values)
    low, high = limits or ((0.0, 1.0) if scale == "percentile" else raw_limits(values))
    height, width = base.shape[:2]
    per_px = np.array([width / slide_size[0], height / slide_size[1]])
    cover_x = _coverage(level0_xy[:, 0] * per_px[0], side=tile_level0_px * per_px[0], length=width)
    cover_y = _coverage(level0_xy[:, 1] * per_px[1], side=tile_level0_px * per_px[1], length=height)
    weight = (cover_y.T @ cover_x).toarray()
    total = (cover_y.T @ cover_x.multiply(shown[:, None].astype(np.float32)).tocsr()).toarray()
    mean = np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)
    table = (255 * matplotlib.colormaps[cmap](np.linspace(0, 1, 256))[:, :3] + 0.5).astype(np.uint8)
    entry = np.clip((mean - low) * (255 / max(high - low, 1e-300)) + 0.5, 0, 255).astype(np.uint8)
    opacity = (255 * alpha * np.minimum(weight, 1.0) + 0.5).astype(np.uint8)
    colours, below = Image.fromarray(table[entry]), Image.fromarray(np.ascontiguousarray(base))
    return np.array(Image.composite(colours, below, Image.fromarray(opacity)))


def _checked(level0_xy: np.ndarray, values: np.ndarray, *, scale: str) -> tuple[np.ndarray, np.ndarray]:
    level0_xy, values = np.asarray(level0_xy, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if level0_xy.shape != (len(values), 2) or values.ndim != 1:
        raise AsmilError(
            "a heatmap needs one value and one (x, y) per tile",
            found=f"positions {level0_xy.shape}, values {values.shape}",
            fix="use attention and coordinates of the same feature file",
        )
    if not np.isfinite(values).all():
        raise AsmilError("a heatmap value is not finite", found=f"{(~np.isfinite(values)).sum()} tiles")
    if scale not in SCALES:
        raise AsmilError("there is no such heatmap scale", found=repr(scale), fix="use percentile or raw")
    return level0_xy, values


def enlarge(thumbnail: np.ndarray) -> np.ndarray:
    """The thumbnail, enlarged by a whole factor until its longer side is at least 600 px."""
    thumbnail = np.asarray(thumbnail)[..., :3]
    factor = math.ceil(SMALLEST_PX / max(thumbnail.shape[:2]))
    if factor <= 1:
        return thumbnail
    size = (thumbnail.shape[1] * factor, thumbnail.shape[0] * factor)
    return np.asarray(Image.fromarray(thumbnail).resize(size, Image.Resampling.BICUBIC))


def _coverage(start: np.ndarray, *, side: float, length: int) -> sparse.csr_matrix:
    """(tiles, length): the share of each pixel that each tile covers along one axis."""
    pixel = np.floor(start)[:, None] + np.arange(math.ceil(side) + 1)
    end = (start + side)[:, None]
    share = np.clip(np.minimum(end, pixel + 1) - np.maximum(start[:, None], pixel), 0.0, 1.0)
    tile = np.broadcast_to(np.arange(len(start))[:, None], pixel.shape)
    inside = (pixel >= 0) & (pixel < length) & (share > 0)
    entries = (share[inside].astype(np.float32), (tile[inside], pixel[inside].astype(np.int64)))
    return sparse.csr_matrix(entries, shape=(len(start), length))


def draw_outlines(
    picture: np.ndarray,
    *,
    slide_size: tuple[int, int],
    outlines: Iterable[BaseGeometry] | None = None,
    points: np.ndarray | None = None,
    colour: tuple[int, int, int] = OUTLINE_RGB,
) -> np.ndarray:
    """Draw outlines and points (level-0 pixels) on a uint8 picture (h, w, 3) of the whole slide."""
    masks = mark_masks(picture.shape[:2], slide_size=slide_size, outlines=outlines, points=points)
    return ink(picture, masks, colour=colour)


def mark_masks(
    shape: tuple[int, ...],
    *,
    slide_size: tuple[int, int],
    outlines: Iterable[BaseGeometry] | None = None,
    points: np.ndarray | None = None,
) -> Masks | None:
    """Opacity (h, w) of the dark halo and of the line of outlines and points; None where there are none."""
    if outlines is None and points is None:
        return None
    height, width = shape[:2]
    fine = 2  # drawn at twice the size and reduced: smooth lines
    thick = max(round(fine * max(width, height) / 250), 2 * fine)
    line, halo = Image.new("L", (width * fine, height * fine)), Image.new("L", (width * fine, height * fine))
    on_line, on_halo = ImageDraw.Draw(line), ImageDraw.Draw(halo)
    per_px = np.array([width / slide_size[0], height / slide_size[1]]) * fine
    for ring in (ring for geometry in outlines or () for ring in _rings(geometry)):
        path = [tuple(xy) for xy in ring * per_px]
        on_halo.line(path, fill=150, width=thick + 2 * fine, joint="curve")
        on_line.line(path, fill=255, width=thick, joint="curve")
    for x, y in np.asarray(points if points is not None else np.empty((0, 2)), dtype=np.float64) * per_px:
        for draw, fill, radius in ((on_halo, 150, 1.3 * thick + fine), (on_line, 255, 1.3 * thick)):
            draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=fill)
    return halo.resize((width, height), Image.Resampling.BOX), line.resize((width, height), Image.Resampling.BOX)


def ink(picture: np.ndarray, masks: Masks | None, *, colour: tuple[int, int, int] = OUTLINE_RGB) -> np.ndarray:
    """Draw the marks of `mark_masks` on a uint8 picture (h, w, 3)."""
    if masks is None:
        return picture
    image = Image.fromarray(np.ascontiguousarray(picture))
    for mask, rgb in zip(masks, ((20, 20, 24), colour), strict=True):
        image.paste(rgb, (0, 0, *image.size), mask)
    return np.array(image)


def _rings(geometry: BaseGeometry) -> Iterable[np.ndarray]:
    for part in getattr(geometry, "geoms", [geometry]):
        if part.geom_type == "Polygon" and not part.is_empty:
            yield from (np.asarray(ring.coords)[:, :2] for ring in (part.exterior, *part.interiors))
        elif part.geom_type in ("LineString", "LinearRing") and not part.is_empty:
            yield np.asarray(part.coords)[:, :2]


def colour_stops(cmap: str = COLOUR_MAP, *, n: int = 9) -> list[str]:
    """Colours along a colour map as "#rrggbb", for a legend outside the picture."""
    return [matplotlib.colors.to_hex(matplotlib.colormaps[cmap](x)) for x in np.linspace(0, 1, n)]
