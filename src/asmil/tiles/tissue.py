"""Where the tissue of a slide is: found on a thumbnail, kept as polygons that QuPath opens and edits."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from scipy import ndimage
from skimage.filters import threshold_otsu

from asmil.errors import TissueError
from asmil.registry import FunctionRegistry
from asmil.slides import Slide
from asmil.tiles.outline import mask_polygons

TISSUE_METHODS = FunctionRegistry("tissue method")

THUMBNAIL_MPP = 8.0
THUMBNAIL_PX = (512, 4096)
"""Long side of the thumbnail: at least, at most (never finer than the slide)."""

MIN_AREA_UM2 = 2_500.0
"""Specks below this (50 um across) are dust; the smallest fields met (200 um squares) are 16 times larger."""

MAX_HOLE_UM2 = 16_000.0
"""Holes below this (140 um across: a fat cell, a lumen, a vessel) belong to the tissue around them."""

SMOOTHING_UM = 4.0
CHROMA_LIMITS = (7.0, 10.0)
"""Otsu's threshold is believed within these only: a slide all of tissue or of glass has no valley."""


@dataclass(frozen=True)
class Tissue:
    """The tissue of one slide as valid polygons in level-0 pixels, and how it was found."""

    polygons: shapely.MultiPolygon
    slide_size: tuple[int, int]
    slide_mpp: float
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def area_um2(self) -> float:
        """Area in square micrometres."""
        return float(self.polygons.area) * self.slide_mpp**2

    def save(self, path: str | Path) -> None:
        """Write QuPath GeoJSON, atomically: one annotation "Tissue" per polygon, in level-0 pixels."""
        from asmil.tiles.geojson import write_tissue

        write_tissue(self, path)

    @classmethod
    def load(cls, path: str | Path, *, slide_size: tuple[int, int], slide_mpp: float) -> "Tissue":
        """Read GeoJSON as written by `save` or exported by QuPath.

        Annotations of class Tissue count, or unclassified ones where none has it; other classes are passed
        over.

        Raises:
            TissueError: unreadable, without areas of tissue, or reaching outside the slide.
        """
        from asmil.tiles.geojson import read_tissue

        return read_tissue(path, slide_size=slide_size, slide_mpp=slide_mpp)


def find_tissue(
    slide: Slide,
    *,
    method: str = "otsu",
    min_area_um2: float = MIN_AREA_UM2,
    max_hole_um2: float = MAX_HOLE_UM2,
) -> Tissue:
    """Find the tissue of a slide on a thumbnail of about 8 um/px; the same on every machine.

    Only the scanned part (`slide.bounds`) is looked at. No tissue is a result, not an error: `tile` refuses
    it.

    Raises:
        TissueError: a negative area.
        UnknownPartError: no such method.
    """
    if min_area_um2 < 0 or max_hole_um2 < 0:
        raise TissueError("areas are not negative", found=f"{min_area_um2:g} and {max_hole_um2:g} um2")
    rgb = slide.thumbnail_at(thumbnail_mpp(slide))
    height, width = rgb.shape[:2]
    px_size = slide.size[0] / width, slide.size[1] / height
    px_um2 = px_size[0] * px_size[1] * slide.mpp**2
    scanned = _scanned(slide, (height, width))
    mask = TISSUE_METHODS[method](rgb, mpp=px_um2**0.5) & scanned
    mask = _large(mask, min_area_um2 / px_um2)
    mask = ~_large(~mask, max_hole_um2 / px_um2) & scanned
    settings = {"method": method, "min_area_um2": min_area_um2, "max_hole_um2": max_hole_um2}
    return Tissue(mask_polygons(mask, px_size=px_size), slide.size, slide.mpp, settings)


def thumbnail_mpp(slide: Slide) -> float:
    """The scale at which tissue is looked for, in um/px: 8, unless the slide is very small or very large."""
    long_um = max(slide.size) * slide.mpp
    wanted = min(THUMBNAIL_MPP, long_um / THUMBNAIL_PX[0])
    return max(wanted, long_um / THUMBNAIL_PX[1], slide.mpp)


def _scanned(slide: Slide, shape: tuple[int, int]) -> np.ndarray:
    x, y, width, height = slide.bounds
    scale = shape[1] / slide.size[0], shape[0] / slide.size[1]
    mask = np.zeros(shape, bool)
    columns = slice(round(x * scale[0]), round((x + width) * scale[0]))
    mask[round(y * scale[1]) : round((y + height) * scale[1]), columns] = True
    return mask


def _large(mask: np.ndarray, min_px: float) -> np.ndarray:
    """Keep the connected parts of at least `min_px` pixels."""
    labels, _ = ndimage.label(mask)
    keep = np.bincount(labels.ravel()) >= min_px
    keep[0] = False
    return keep[labels]


@TISSUE_METHODS.register
def otsu(rgb: np.ndarray, *, mpp: float) -> np.ndarray:
    """Tissue is what has colour: Otsu's threshold on the chroma against the glass, within absolute limits.

    Chroma is the largest minus the smallest channel, each relative to the glass (the brightest of the slide),
    smoothed over 4 um. Glass, dust, black borders and black pen have none; strong blue and green pen is taken
    out. N. Otsu, IEEE Trans. SMC 1979.

    Args:
        rgb: uint8 (h, w, 3).
        mpp: um per pixel of `rgb`.

    Returns:
        boolean (h, w).
    """
    sigma = max(0.7, SMOOTHING_UM / mpp)
    channels = []
    for c in range(3):
        smooth = ndimage.gaussian_filter(rgb[..., c].astype(np.float32), sigma)
        glass = np.float32(np.clip(np.percentile(smooth, 99), 225.0, 255.0))
        channels.append(np.minimum(smooth * (255 / glass), 255))
    red, green, blue = channels
    # Plane by plane: a reduction over an axis of length 3 is ten times slower.
    chroma = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    limit = CHROMA_LIMITS[0]
    if chroma.max() > limit:
        limit = float(np.clip(threshold_otsu(chroma), *CHROMA_LIMITS))
    pen = (green - red > 30.0) & (chroma > 60.0)  # haematoxylin, eosin and DAB have more red than green
    pen = ndimage.maximum_filter(pen, 2 * int(np.ceil(2 * sigma)) + 1)  # and its soft edges
    return (chroma > limit) & ~pen


@TISSUE_METHODS.register
def whole(rgb: np.ndarray, *, mpp: float) -> np.ndarray:
    """Everything is tissue: for fields already cut out by hand, and stains that no rule here knows."""
    return np.ones(rgb.shape[:2], bool)
