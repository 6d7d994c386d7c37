"""Where the tissue of a slide is: found on a thumbnail, kept as polygons that QuPath opens and edits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import shapely

from asmil.errors import TissueError, require_kind
from asmil.slides import Slide
from asmil.tiles.geojson import Bounds
from asmil.tiles.masks import TISSUE_METHODS, Thumbnail, mask_polygons

THUMBNAIL_MPP = 8.0
THUMBNAIL_PX = (512, 2048)
"""Long side of the thumbnail: about at least, about at most (never finer than the slide)."""

MIN_AREA_UM2 = 2_500.0
"""Specks below this (50 um across) are dust; the smallest fields met (200 um squares) are 16 times larger."""

MAX_HOLE_UM2 = 16_000.0
"""Holes below this (140 um across: a fat cell, a lumen, a vessel) belong to the tissue around them."""

SMOOTHING_UM = 4.0

SMALL_FIELD_UM2 = 4 * MIN_AREA_UM2
"""In fields below this (100 um across) a piece is no dust that takes up a quarter of them."""


@dataclass(frozen=True)
class Tissue:
    """The tissue of one slide as valid polygons in level-0 pixels, and how it was found.

    `origin` is the corner of the scanned part, from which QuPath counts. `content` is a hash of the slide file it was
    found on, empty where that is not known.
    """

    polygons: shapely.MultiPolygon
    slide_size: tuple[int, int]
    slide_mpp: float
    settings: Mapping[str, object] = field(default_factory=dict)
    origin: tuple[int, int] = (0, 0)
    content: str = ""

    @property
    def area_um2(self) -> float:
        """Area in square micrometres."""
        return float(self.polygons.area) * self.slide_mpp**2

    def save(self, path: str | Path) -> None:
        """Write QuPath GeoJSON, atomically: one annotation "Tissue" per polygon, in level-0 pixels from `origin`."""
        from asmil.tiles.geojson import write_tissue

        write_tissue(self, path)

    @classmethod
    def load(
        cls, path: str | Path, *, slide_size: tuple[int, int], slide_mpp: float, bounds: Bounds | None = None
    ) -> "Tissue":
        """Read GeoJSON as written by `save` or exported by QuPath.

        Annotations of class Tissue (and its subclasses) count, or unclassified ones where none has it; areas of class
        Ignore* are cut out; other classes and detections are passed over. `settings` are those the tissue was found
        with where the outline is still as found, else {"method": "file"}. Of a slide whose scanned part (`bounds`) is
        not all of it, coordinates are counted from the corner of that part, as QuPath does (`origin_of`).

        Raises:
            TissueError: unreadable, without areas of tissue, or reaching outside the slide.
        """
        from asmil.tiles.geojson import read_tissue

        return read_tissue(path, slide_size=slide_size, slide_mpp=slide_mpp, bounds=bounds)


def find_tissue(
    slide: Slide,
    *,
    method: str = "otsu",
    threshold: float | None = None,
    min_area_um2: float = MIN_AREA_UM2,
    max_hole_um2: float = MAX_HOLE_UM2,
    smoothing_um: float = SMOOTHING_UM,
) -> Tissue:
    """Find the tissue of a slide on a thumbnail of about 8 um/px; the same on every machine.

    Only the scanned part (`slide.bounds`) is looked at. No tissue is a result, not an error: `tile` refuses
    it.

    Args:
        slide: the slide.
        method: one of `TISSUE_METHODS`.
        threshold: of the method, in its own unit (otsu: chroma 0-255, saturation: 0-1, entropy: bits); None: found.
        min_area_um2: smaller pieces are left out.
        max_hole_um2: smaller holes are filled.
        smoothing_um: standard deviation of the smoothing before.

    Raises:
        ConfigError: `slide` is none. TissueError: a negative or infinite parameter.
        UnknownPartError: no such method.
    """
    require_kind(slide, Slide, called="a slide", fix="give what open_slide returns")
    for name, value in (("min_area_um2", min_area_um2), ("max_hole_um2", max_hole_um2), ("smoothing_um", smoothing_um)):
        if not 0 <= value < np.inf:
            raise TissueError(f"{name} is not negative", found=f"{value:g}")
    if threshold is not None and not 0 <= threshold < np.inf:
        raise TissueError("the threshold of tissue is not negative", found=f"{threshold:g}", fix="leave it out")
    rgb = slide.thumbnail_at(thumbnail_mpp(slide))
    height, width = rgb.shape[:2]
    px_size = slide.size[0] / width, slide.size[1] / height
    px_um2 = px_size[0] * px_size[1] * slide.mpp**2
    scanned = _scanned(slide, (height, width))
    thumbnail = Thumbnail.of(rgb, mpp=px_um2**0.5, smoothing_um=smoothing_um)
    mask = TISSUE_METHODS[method](thumbnail, threshold=threshold) & scanned
    area_um2 = float(scanned.sum()) * px_um2
    if area_um2 < SMALL_FIELD_UM2:
        min_area_um2 = min(min_area_um2, area_um2 / 4)
    mask = _large(mask, min_area_um2 / px_um2)
    if mask.any():  # glass without tissue is no hole in it
        mask = ~_large(~mask, max_hole_um2 / px_um2) & scanned
    settings = {
        "method": method,
        "threshold": threshold,
        "min_area_um2": min_area_um2,
        "max_hole_um2": max_hole_um2,
        "smoothing_um": smoothing_um,
    }
    return Tissue(mask_polygons(mask, px_size=px_size), slide.size, slide.mpp, settings, slide.bounds[:2])


def thumbnail_mpp(slide: Slide) -> float:
    """The scale at which tissue is looked for, in um/px: about 8, unless the slide is very small or very large.

    Of a large slide it is a level's scale or a whole multiple of it, at most 1.4 times as coarse: to average pixels is
    ten times cheaper than to resample them.
    """
    long_um = max(slide.size) * slide.mpp
    wanted = max(min(THUMBNAIL_MPP, long_um / THUMBNAIL_PX[0]), long_um / THUMBNAIL_PX[1], slide.mpp)
    if long_um <= wanted * THUMBNAIL_PX[0] * 2:
        return wanted
    level = slide.levels[slide.level_for(1.4 * wanted)]
    return level.mpp * max(1, round(wanted / level.mpp))


def _scanned(slide: Slide, shape: tuple[int, int]) -> np.ndarray:
    x, y, width, height = slide.bounds
    scale = shape[1] / slide.size[0], shape[0] / slide.size[1]
    mask = np.zeros(shape, bool)
    columns = slice(round(x * scale[0]), round((x + width) * scale[0]))
    mask[round(y * scale[1]) : round((y + height) * scale[1]), columns] = True
    return mask


def _large(mask: np.ndarray, min_px: float) -> np.ndarray:
    """Keep the connected parts of at least `min_px` pixels."""
    from scipy import ndimage

    labels, _ = ndimage.label(mask)
    keep = np.bincount(labels.ravel()) >= min_px
    keep[0] = False
    return keep[labels]
