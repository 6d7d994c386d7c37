"""Methods that tell tissue from glass on a thumbnail; each gives a mask and has one threshold."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import shapely
from PIL import Image, ImageFilter

from asmil.registry import FunctionRegistry
from asmil.tiles.quality import black_ink, coloured_ink

# A mask's outline as polygons, exactly along the edges of its pixels.


def mask_polygons(mask: np.ndarray, *, px_size: tuple[float, float] = (1.0, 1.0)) -> shapely.MultiPolygon:
    """Trace a boolean mask (h, w) into valid polygons; pixels touching at a corner only stay apart.

    Args:
        mask: boolean (h, w).
        px_size: width and height of a mask pixel in the units of the result.
    """
    padded = np.pad(np.asarray(mask, bool), 1)
    horizontal = padded[1:, 1:-1] != padded[:-1, 1:-1]  # (h + 1, w): edge from (x, y) to (x + 1, y)
    vertical = padded[1:-1, 1:] != padded[1:-1, :-1]  # (h, w + 1): edge from (x, y) to (x, y + 1)
    rows, starts, ends = _runs(horizontal, _ends(vertical.T).T)
    columns, tops, bottoms = _runs(vertical.T, _ends(horizontal).T)
    lines = np.concatenate(
        [
            np.stack([starts, rows, ends, rows], axis=1).reshape(-1, 2, 2),
            np.stack([columns, tops, columns, bottoms], axis=1).reshape(-1, 2, 2),
        ]
    )
    if len(lines) == 0:
        return shapely.MultiPolygon()
    faces = shapely.get_parts(shapely.polygonize(shapely.linestrings(lines.astype(float))))
    inside = shapely.get_coordinates(shapely.point_on_surface(faces)).astype(int)
    tissue = faces[np.asarray(mask, bool)[inside[:, 1], inside[:, 0]]]
    return shapely.transform(shapely.multipolygons(tissue), lambda xy: xy * px_size)


def _ends(edges: np.ndarray) -> np.ndarray:
    """Whether a vertex has an edge along the second axis: (n, m) edges, (n, m + 1) vertices."""
    return np.pad(edges, ((0, 0), (0, 1))) | np.pad(edges, ((0, 0), (1, 0)))


def _runs(edges: np.ndarray, crossing: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Join unit edges along the second axis into runs that end where an edge across meets them."""
    before, after = np.pad(edges, ((0, 0), (1, 0)))[:, :-1], np.pad(edges, ((0, 0), (0, 1)))[:, 1:]
    line, start = np.nonzero(edges & (~before | crossing[:, :-1]))
    _, last = np.nonzero(edges & (~after | crossing[:, 1:]))
    return line, start, last + 1


TISSUE_METHODS = FunctionRegistry("tissue method")

CHROMA_LIMITS = (7.0, 10.0)
SATURATION_LIMITS = (0.06, 0.20)
ENTROPY_LIMITS = (1.05, 1.6)
"""Otsu's threshold is believed within these only: a slide all of tissue or of glass has no valley. One bit is two grey
levels: the edge between two panes of a stitched scan, not a texture."""

CELL_UM = 32.0
GREY_BIN = 12
DARK = 165
"""Entropy: cells this wide, grey levels this wide, so that the noise of a camera falls into one or two of them; dense
tissue is smooth at this scale, but darker than glass, dust and shadows ever are."""


@dataclass(frozen=True)
class Thumbnail:
    """A slide at `mpp` um/px, smoothed and balanced so that glass is white: `channels` float32 (h, w), 0-255."""

    channels: tuple[np.ndarray, np.ndarray, np.ndarray]
    mpp: float
    smoothing_px: float

    @classmethod
    def of(cls, rgb: np.ndarray, *, mpp: float, smoothing_um: float) -> "Thumbnail":
        """Smooth uint8 (h, w, 3) over `smoothing_um`; glass is the brightest hundredth of each channel."""
        sigma = max(0.7, smoothing_um / mpp)
        smooth = Image.fromarray(rgb).filter(ImageFilter.GaussianBlur(sigma))
        counts = np.reshape(smooth.histogram(), (3, 256)).cumsum(axis=1)
        glass = np.clip((counts < 0.99 * counts[:, -1:]).sum(axis=1), 225, 255)
        scales = np.minimum(np.arange(256)[None] * (255 / glass[:, None]), 255).astype(np.float32)
        planes = [table[np.asarray(plane)] for table, plane in zip(scales, smooth.split(), strict=True)]
        return cls((planes[0], planes[1], planes[2]), mpp, sigma)

    @cached_property
    def brightest(self) -> np.ndarray:
        """The largest channel, float32 (h, w)."""
        red, green, blue = self.channels
        return np.maximum(np.maximum(red, green), blue)

    @cached_property
    def chroma(self) -> np.ndarray:
        """The largest channel minus the smallest, float32 (h, w)."""
        red, green, blue = self.channels
        # Plane by plane: a reduction over an axis of length 3 is ten times slower.
        return self.brightest - np.minimum(np.minimum(red, green), blue)

    def without(self, ink: np.ndarray) -> np.ndarray:
        """What is not within the soft edges of `ink`, boolean (h, w)."""
        from scipy import ndimage

        return ~ndimage.maximum_filter(ink, 2 * int(np.ceil(2 * self.smoothing_px)) + 1)


def _otsu_within(values: np.ndarray, limits: tuple[float, float]) -> float:
    if values.max() <= limits[0]:
        return limits[0]
    from skimage.filters import threshold_otsu

    return float(np.clip(threshold_otsu(values), *limits))


@TISSUE_METHODS.register
def otsu(thumbnail: Thumbnail, *, threshold: float | None = None) -> np.ndarray:
    """Tissue is what has colour: Otsu's threshold on the chroma against the glass, within absolute limits.

    Chroma is the largest minus the smallest channel (0-255). Glass, dust, black borders and black pen have none; blue,
    green and red pen is taken out. N. Otsu, IEEE Trans. SMC 1979.

    Returns:
        boolean (h, w).
    """
    limit = _otsu_within(thumbnail.chroma, CHROMA_LIMITS) if threshold is None else threshold
    return (thumbnail.chroma > limit) & thumbnail.without(coloured_ink(*thumbnail.channels))


@TISSUE_METHODS.register
def saturation(thumbnail: Thumbnail, *, threshold: float | None = None) -> np.ndarray:
    """Tissue is well saturated, or a paler part that hangs on to such: Otsu's threshold, and half of it by hysteresis.

    Saturation is chroma over the brightest channel (0-1). Pale stroma and the walls of fat cells are kept where they
    belong to tissue, pale dirt by itself is not. J. Canny, IEEE Trans. PAMI 1986 (hysteresis).

    Returns:
        boolean (h, w).
    """
    share = thumbnail.chroma / np.maximum(thumbnail.brightest, 64)  # a dark pixel's hue is mostly noise
    limit = _otsu_within(share, SATURATION_LIMITS) if threshold is None else threshold
    share *= thumbnail.without(coloured_ink(*thumbnail.channels))
    from skimage.filters import apply_hysteresis_threshold

    return apply_hysteresis_threshold(share, limit / 2, limit)


@TISSUE_METHODS.register
def entropy(thumbnail: Thumbnail, *, threshold: float | None = None) -> np.ndarray:
    """Tissue is what has texture, with or without colour, or is dark: Otsu's threshold on the entropy of grey (bits).

    For pale, unstained or fatty tissue. The histogram is of 3 x 3 cells of 32 um around each cell, and a cell counts
    where all windows with it do, so that gaps are closed and the outline is not moved; pen of any colour, black
    included, is taken out. C. Shannon, Bell System Technical Journal 1948.

    Returns:
        boolean (h, w).
    """
    red, green, blue = thumbnail.channels
    grey = 0.299 * red + 0.587 * green + 0.114 * blue
    cell = max(2, round(CELL_UM / thumbnail.mpp))
    rows, columns = (-(-n // cell) for n in grey.shape)
    bins = 256 // GREY_BIN + 1
    # Rounded from white on, so that glass lies in the middle of its bin and not at an edge that noise crosses
    index = ((255 - grey) / GREY_BIN + 0.5).astype(np.int64)
    index += (np.arange(grey.shape[0])[:, None] // cell * columns + np.arange(grey.shape[1]) // cell) * bins
    counts = np.bincount(index.ravel(), minlength=rows * columns * bins).reshape(rows, columns, bins)
    from scipy import ndimage

    share = ndimage.uniform_filter(counts.astype(np.float32), (3, 3, 0), mode="nearest")
    share /= share.sum(axis=2, keepdims=True)
    bits = -(share * np.log2(np.maximum(share, 1e-9))).sum(axis=2)
    bits = ndimage.minimum_filter(bits, 3)
    limit = _otsu_within(bits, ENTROPY_LIMITS) if threshold is None else threshold
    fine = Image.fromarray(bits.astype(np.float32)).resize((columns * cell, rows * cell), Image.Resampling.BILINEAR)
    ink = coloured_ink(red, green, blue) | black_ink(red, green, blue)
    texture = np.asarray(fine)[: grey.shape[0], : grey.shape[1]]
    return ((texture > limit) | (grey < DARK)) & thumbnail.without(ink)


@TISSUE_METHODS.register
def whole(thumbnail: Thumbnail, *, threshold: float | None = None) -> np.ndarray:
    """Everything is tissue: for fields already cut out by hand, and stains that no rule here knows."""
    return np.ones(thumbnail.brightest.shape, bool)
