"""Attention over a slide: tiles drawn at their exact places on the thumbnail."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont
from scipy import sparse
from shapely.geometry.base import BaseGeometry

from asmil.errors import AsmilError
from asmil.figures.style import INK, MUTED, SMALL_PT, TEXT_PT

COLOUR_MAP = "inferno"
SMALLEST_PX = 600
OUTLINE_RGB = (0, 228, 208)
LEGENDS = {"percentile": "attention percentile within the slide", "raw": "attention, times uniform"}


def percentiles(values: np.ndarray) -> np.ndarray:
    """Rank of each value among `values` in (0, 1]; ties share their mean rank."""
    _, position, counts = np.unique(values, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(counts) - (counts - 1) / 2
    return mean_rank[position] / max(len(values), 1)


def times_uniform(attention: np.ndarray) -> np.ndarray:
    """Attention in multiples of 1 / tiles: a number means the same on a slide of 50 or 50 000 tiles."""
    return np.asarray(attention, dtype=np.float64) * len(attention)


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
        limits: values at the ends of the colour map; default 0 to 1, or 0 to the largest raw value.
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
    shown = percentiles(values) if scale == "percentile" else times_uniform(values)
    low, high = limits or ((0.0, 1.0) if scale == "percentile" else (0.0, float(shown.max(initial=1e-12))))
    height, width = base.shape[:2]
    per_px = np.array([width / slide_size[0], height / slide_size[1]])
    cover_x = _coverage(level0_xy[:, 0] * per_px[0], side=tile_level0_px * per_px[0], length=width)
    cover_y = _coverage(level0_xy[:, 1] * per_px[1], side=tile_level0_px * per_px[1], length=height)
    weight = (cover_y.T @ cover_x).toarray()
    total = (cover_y.T @ cover_x.multiply(shown[:, None]).tocsr()).toarray()
    mean = np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)
    colours = matplotlib.colormaps[cmap](Normalize(low, high, clip=True)(mean))[..., :3] * 255
    opacity = alpha * np.minimum(weight, 1.0)[..., None]
    picture = (base * (1 - opacity) + np.asarray(colours) * opacity + 0.5).astype(np.uint8)
    return draw_outlines(picture, slide_size=slide_size, outlines=outlines, points=points)


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
    if scale not in LEGENDS:
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
    entries = (share[inside], (tile[inside], pixel[inside].astype(np.int64)))
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
    if outlines is None and points is None:
        return picture
    height, width = picture.shape[:2]
    fine = 2  # drawn at twice the size and reduced: smooth lines
    thick = max(round(fine * max(width, height) / 250), 2 * fine)
    line, halo = Image.new("L", (width * fine, height * fine)), Image.new("L", (width * fine, height * fine))
    per_px = np.array([width / slide_size[0], height / slide_size[1]]) * fine
    for ring in (ring for geometry in outlines or () for ring in _rings(geometry)):
        path = [tuple(xy) for xy in ring * per_px]
        ImageDraw.Draw(halo).line(path, fill=150, width=thick + 2 * fine, joint="curve")
        ImageDraw.Draw(line).line(path, fill=255, width=thick, joint="curve")
    for x, y in np.asarray(points if points is not None else np.empty((0, 2)), dtype=np.float64) * per_px:
        for mask, fill, radius in ((halo, 150, 1.3 * thick + fine), (line, 255, 1.3 * thick)):
            ImageDraw.Draw(mask).ellipse([x - radius, y - radius, x + radius, y + radius], fill=fill)
    result = picture.astype(np.float64)
    for mask, rgb in ((halo, (20, 20, 24)), (line, colour)):
        opacity = np.asarray(mask.resize((width, height), Image.Resampling.BOX), dtype=np.float64)[..., None] / 255
        result = result * (1 - opacity) + np.array(rgb) * opacity
    return (result + 0.5).astype(np.uint8)


def _rings(geometry: BaseGeometry) -> Iterable[np.ndarray]:
    for part in getattr(geometry, "geoms", [geometry]):
        if part.geom_type == "Polygon" and not part.is_empty:
            yield from (np.asarray(ring.coords)[:, :2] for ring in (part.exterior, *part.interiors))
        elif part.geom_type in ("LineString", "LinearRing") and not part.is_empty:
            yield np.asarray(part.coords)[:, :2]


def scale_bar_um(width_um: float) -> float:
    """A round length (1, 2 or 5 times a power of ten, in um) of about a fifth of the picture's width."""
    power = 10.0 ** math.floor(math.log10(width_um / 5))
    return max(step * power for step in (1, 2, 5) if step * power <= width_um / 5)


def length_text(um: float) -> str:
    """A length with its unit: "200 um", "2 mm" (with the micro sign)."""
    return f"{um / 1000:g} mm" if um >= 1000 else f"{um:g} µm"


def colour_stops(cmap: str = COLOUR_MAP, *, n: int = 9) -> list[str]:
    """Colours along a colour map as "#rrggbb", for a legend outside the picture."""
    return [matplotlib.colors.to_hex(matplotlib.colormaps[cmap](x)) for x in np.linspace(0, 1, n)]


def heatmap_figure(
    thumbnail: np.ndarray,
    level0_xy: np.ndarray,
    values: np.ndarray,
    *,
    tile_level0_px: float,
    slide_size: tuple[int, int],
    slide_mpp: float | None = None,
    title: str = "",
    outlines: Sequence[BaseGeometry] | None = None,
    points: np.ndarray | None = None,
    cmap: str = COLOUR_MAP,
) -> Figure:
    """The slide, its percentile map and its raw map side by side, with colour bars and a scale bar in um.

    Arguments as for `heatmap`; `slide_mpp` None leaves the scale bar out.
    """
    marks: dict[str, Any] = {"outlines": outlines, "points": points}
    plain = draw_outlines(enlarge(thumbnail), slide_size=slide_size, **marks)
    shape = plain.shape[0] / plain.shape[1]
    figure = Figure(figsize=(12.6, max(2.4, 4.0 * shape + 1.0)), dpi=120, layout="constrained", facecolor="white")
    axes = figure.subplots(1, 3)
    axes[0].imshow(plain)
    tops = {"percentile": 1.0, "raw": float(times_uniform(values).max(initial=1e-12))}
    for panel, (scale, top) in zip(axes[1:], tops.items(), strict=True):
        place: dict[str, Any] = {"tile_level0_px": tile_level0_px, "slide_size": slide_size}
        panel.imshow(heatmap(thumbnail, level0_xy, values, scale=scale, cmap=cmap, **place, **marks))
        mappable = ScalarMappable(Normalize(0, top), cmap=cmap)
        bar = figure.colorbar(mappable, ax=panel, location="bottom", fraction=0.05, pad=0.03, aspect=40)
        bar.set_label(LEGENDS[scale], color=MUTED, size=SMALL_PT)
        bar.ax.tick_params(colors=MUTED, labelsize=SMALL_PT)
        bar.outline.set_visible(False)  # type: ignore[operator]
    for panel in axes:
        panel.set_axis_off()
    if slide_mpp:
        _draw_scale_bar(axes[0], plain.shape, um_per_px=slide_size[0] * slide_mpp / plain.shape[1])
    # slide names are data: "$" must not start matplotlib's formulas
    figure.suptitle(title, color=INK, size=TEXT_PT + 2, x=0.01, ha="left", parse_math=False)
    return figure


def _draw_scale_bar(axes, shape: tuple[int, ...], *, um_per_px: float) -> None:
    um = scale_bar_um(shape[1] * um_per_px)
    y, x = shape[0] * 1.035, um / um_per_px
    axes.plot([0, x], [y, y], color=INK, linewidth=2.5, solid_capstyle="butt", clip_on=False)
    axes.text(x * 1.06, y, length_text(um), va="center", color=INK, size=SMALL_PT + 1)
    axes.set_ylim(shape[0] * 1.07, 0)


def tile_strip(
    tiles: Sequence[np.ndarray] | np.ndarray,
    captions: Sequence[str] = (),
    *,
    tile_px: int = 128,
    gap_px: int = 4,
) -> np.ndarray:
    """Tiles in one row, each with a caption on its lower edge.

    Args:
        tiles: uint8 (n, h, w, 3), or a sequence of such pictures of any size.
        captions: one line per tile, or none.

    Returns:
        uint8 (tile_px, width, 4) with transparent gaps.
    """
    strip = np.zeros((tile_px, max(len(tiles), 1) * (tile_px + gap_px) - gap_px, 4), dtype=np.uint8)
    font = ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf", size=tile_px / 8)
    for i, tile in enumerate(tiles):
        picture = Image.fromarray(np.asarray(tile)[..., :3]).resize((tile_px, tile_px), Image.Resampling.BICUBIC)
        if i < len(captions):
            top = round(tile_px * 0.82)
            band = Image.new("RGB", (tile_px, tile_px - top), (24, 26, 28))
            ImageDraw.Draw(band).text((tile_px * 0.04, tile_px * 0.015), captions[i], fill="white", font=font)
            picture.paste(band, (0, top))
        left = i * (tile_px + gap_px)
        strip[:, left : left + tile_px, :3] = np.asarray(picture)
        strip[:, left : left + tile_px, 3] = 255
    return strip
