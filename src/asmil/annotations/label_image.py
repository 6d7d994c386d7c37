"""Label images: masks whose pixel values are classes, decoded piece by piece and traced into polygons.

A mask may be as large as its slide and comes from anywhere: what is decoded at once is bounded, and so is what a file
may claim to hold.
"""

import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np
import shapely
import tifffile
from PIL import Image

from asmil.annotations.drawing import Drawing
from asmil.errors import AnnotationError
from asmil.files import BoundedFile, suffix_of
from asmil.slides import exif_orientation, page_orientation, tag_mpp
from asmil.tiles import mask_polygons

SUFFIXES = (".png", ".tif", ".tiff")
FINE_PX = 8.0
"""Level-0 pixels of the slide that a pixel of a large mask may span: 2 um at 40x."""
WHOLE_PX = 1 << 26
"""Pixels decoded at once, and up to which a mask is read at its own resolution."""
MOST_PX = 1 << 36
MOST_CLASSES = 32

_LOSSY = (6, 7)  # TIFF's two kinds of JPEG
_DAMAGED = (OSError, ValueError, SyntaxError, LookupError, TypeError, RuntimeError, zlib.error)


@dataclass(frozen=True)
class MaskLabels:
    """What label images mean: `names` of pixel values (others are called by their number; 0 is nothing), and `mpp`,
    their um per pixel where they do not cover their slide from edge to edge."""

    names: Mapping[int, str] = field(default_factory=lambda: MappingProxyType({}))
    mpp: float | None = None

    @classmethod
    def parsed(cls, texts: list[str], *, mpp: float | None = None) -> "MaskLabels":
        """From texts such as `255=tumor`.

        Raises:
            AnnotationError: a text that is not `<pixel value>=<class>`.
        """
        pairs = [text.partition("=") for text in texts]
        if wrong := [a + b + c for a, b, c in pairs if not (a.strip().isdecimal() and c.strip())]:
            raise AnnotationError("a class of a mask is <pixel value>=<name>", found=", ".join(wrong), fix="255=tumor")
        return cls({int(value): name.strip() for value, _, name in pairs}, mpp)


@dataclass(frozen=True)
class _Level:
    """Pixels at one resolution, unread: a page of a TIFF, or an image of Pillow."""

    size: tuple[int, int]
    source: Image.Image | tifffile.TiffPage

    @property
    def pixels(self) -> int:
        return self.size[0] * self.size[1]

    def pieces(self) -> Iterator[tuple[int, int, np.ndarray]]:
        """x, y and pixels (h, w) of parts that make up the level; parts a file leaves out are of value 0."""
        if isinstance(self.source, Image.Image):
            yield 0, 0, np.asarray(self.source)
        elif self.pixels <= WHOLE_PX:
            yield 0, 0, self.source.asarray()
        else:
            for piece, (*_, y, x, _), _ in self.source.segments(maxworkers=1):
                if piece is not None:
                    yield x, y, piece[0, : self.size[1] - y, : self.size[0] - x, 0]


def add_label_image(
    drawing: Drawing, labels: MaskLabels, *, slide_size: tuple[int, int] | None, slide_mpp: float | None
) -> None:
    """Add the areas of each pixel value, in level-0 pixels of a slide of this size and um per pixel.

    Raises:
        AnnotationError: no label image (several channels, many values, lossy), damaged, larger than can be read, of
            another shape than its slide, or of unknown scale.
    """
    for name in labels.names.values():
        drawing.add_class(name)
    try:
        with _opened(drawing.path) as (levels, stated_mpp):
            size = levels[0].size
            mpp = labels.mpp or (None if slide_size else stated_mpp)
            scale = _scale(drawing.path, size, mpp=mpp, slide_size=slide_size, slide_mpp=slide_mpp)
            areas = _traced(drawing.path, _chosen(levels, scale), scale=scale * size)
    except _DAMAGED as error:
        found = f"{type(error).__name__}: {error}"
        raise AnnotationError(f"{drawing.path} cannot be decoded", found=found, fix="write it again") from error
    for value, parts in sorted(areas.items()):
        name = labels.names.get(value, str(value))
        drawing.add_class(name)
        drawing.add_area(name, shapely.simplify(shapely.union_all(parts), 0))  # without corners where pieces met


@contextmanager
def _opened(path: Path) -> Iterator[tuple[list[_Level], float | None]]:
    """Levels from fine to coarse, and the um per pixel of the first, where it is stated."""
    if suffix_of(path) == ".png":
        with BoundedFile(path) as file:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                try:
                    image = Image.open(file, formats=["PNG"])
                except Image.DecompressionBombError as error:
                    raise _too_large(path, error) from error
            if image.mode not in ("1", "L", "P", "I", "I;16"):
                raise _no_labels(path, f"pixels of type {image.mode}")
            if image.width * image.height > WHOLE_PX:
                raise _too_large(path, f"{image.width} x {image.height} px")
            _check_upright(path, exif_orientation(image))
            yield [_Level(image.size, image)], None
        return
    with tifffile.TiffFile(path) as file:
        pages = list(_pyramid(file))
        for page in pages:
            _check_page(path, page)
        mpp = tag_mpp(pages[0])
        yield [_Level((page.imagewidth, page.imagelength), page) for page in pages], None if mpp is None else mpp[0]


def _pyramid(file: tifffile.TiffFile) -> Iterator[tifffile.TiffPage]:
    """The first page and, from fine to coarse, those of the same shape that are smaller, wherever they are kept."""
    first, *others = [page.aspage() for page in file.pages]
    inner = [page.aspage() for page in first.pages] if first.pages is not None else []
    yield first
    for page in sorted([*others, *inner], key=lambda page: -page.imagewidth):
        down = first.imagewidth / page.imagewidth
        if down > 1 and abs(first.imagelength / down - page.imagelength) <= 1 + 1 / down:
            yield page


def _check_page(path: Path, page: tifffile.TiffPage) -> None:
    if page.samplesperpixel != 1 or page.imagedepth != 1 or np.dtype(page.dtype or float).kind not in "bui":
        raise _no_labels(path, f"{page.samplesperpixel} channels of {page.dtype}")
    if page.compression in _LOSSY:
        raise _no_labels(path, "JPEG, which blurs values into one another")
    by_tifffile = page.bitspersample == 1 and page.software.startswith("tifffile")  # which stores true as 1
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and not by_tifffile:
        found, fix = "the file says that 0 is white", "write it as whole numbers of 8 bits, with 0 as black"
        raise AnnotationError(f"whether {path.name} is meant turned over cannot be told", found=found, fix=fix)
    _check_upright(path, page_orientation(page))
    piece = int(np.prod(page.chunks))
    stored = max(page.databytecounts, default=0)
    if page.imagewidth * page.imagelength > MOST_PX or piece > WHOLE_PX:
        raise _too_large(path, f"{page.imagewidth} x {page.imagelength} px in pieces of {piece} px")
    if stored > 2 * piece * page.bitspersample // 8 + 65536:  # decoders expand what there is, whatever is declared
        raise _too_large(path, f"{stored} bytes for a piece of {piece} px")


def _check_upright(path: Path, turn: int) -> None:
    """A slide lies as it is stored; of a mask that viewers turn, nobody knows on which of the two it was drawn."""
    if turn > 1:
        found = f"orientation {turn}: the file asks to be shown turned, slides are read as they are stored"
        fix = "write the mask as its slide is stored, without that tag"
        raise AnnotationError(f"which way {path.name} is meant to lie cannot be told", found=found, fix=fix)


def _scale(
    path: Path, size: tuple[int, int], *, mpp: float | None, slide_size: tuple[int, int] | None, slide_mpp: float | None
) -> np.ndarray:
    """Level-0 pixels of the slide per pixel of the mask, (x, y)."""
    if mpp is not None and slide_mpp is not None:
        return np.full(2, mpp / slide_mpp)
    if slide_size is None:
        raise AnnotationError(
            f"the scale of {path.name} is unknown",
            found="neither the slide's size nor the um per pixel of both",
            fix="give --mask-mpp, the micrometres per pixel of the masks, and --slide-mpp where the features lack it",
        )
    scale = np.divide(slide_size, size)
    if abs(scale[0] / scale[1] - 1) > 2 / min(size) + 1e-3:
        raise AnnotationError(
            f"{path.name} has another shape than its slide",
            found=f"{size[0]} x {size[1]} px on a slide of {slide_size[0]} x {slide_size[1]} level-0 pixels",
            fix="is it of this slide? Give --mask-mpp where it covers another part of the glass",
        )
    return scale


def _chosen(levels: list[_Level], scale: np.ndarray) -> _Level:
    """The first level where it is small, else the coarsest that is fine enough and has no values of its own."""
    first = levels[0]
    if first.pixels <= WHOLE_PX:
        return first
    fine = [level for level in levels if scale[0] * first.size[0] / level.size[0] <= FINE_PX]
    return fine[-1] if fine and not _is_blended(fine[-1]) else first


def _is_blended(level: _Level) -> bool:
    """Whether a coarse level seems to be of means of classes: a value of borders alone, 128 between 0 and 255, fills no
    3 x 3 pixels anywhere."""
    found, filling = set[int](), set[int]()
    for _, _, piece in level.pieces():
        found.update(np.unique(piece).tolist())
        if len(found - filling) > MOST_CLASSES:
            return True
        for value in found - filling:
            mask = piece == value
            rows = mask[:-2] & mask[1:-1] & mask[2:]
            if (rows[:, :-2] & rows[:, 1:-1] & rows[:, 2:]).any():
                filling.add(value)
    return found != filling


def _traced(path: Path, level: _Level, *, scale: np.ndarray) -> dict[int, list[shapely.MultiPolygon]]:
    """Polygons by pixel value; `scale` is the extent of the level in level-0 pixels of the slide."""
    px_size, areas = scale / level.size, dict[int, list[shapely.MultiPolygon]]()
    for x, y, piece in level.pieces():
        merged = _merged(piece, px_size[0]) if level.pixels > WHOLE_PX else 1
        values = np.unique(piece) if piece.any() else np.empty(0, piece.dtype)
        if len(areas.keys() | set(values.tolist()) - {0}) > MOST_CLASSES:
            raise _no_labels(path, f"more than {MOST_CLASSES} pixel values")
        for value in values[values != 0].tolist():
            mask = _coarser(piece == value, merged)
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            if not len(rows):
                continue
            top, left = rows[0], columns[0]
            traced = mask_polygons(mask[top : rows[-1] + 1, left : columns[-1] + 1])
            corner = np.array([x + left * merged, y + top * merged])
            areas.setdefault(int(value), []).append(
                shapely.transform(traced, lambda xy, corner=corner, by=merged: (xy * by + corner) * px_size)
            )
    return areas


def _merged(piece: np.ndarray, px_size: float) -> int:
    """How many pixels of a mask without a coarse level are put together, so that pieces still meet at whole pixels."""
    fits = [by for by in (8, 4, 2) if by * px_size <= FINE_PX and not (piece.shape[0] % by or piece.shape[1] % by)]
    return fits[0] if fits else 1


def _coarser(mask: np.ndarray, by: int) -> np.ndarray:
    """True where at least half of by x by pixels are."""
    if by == 1:
        return mask
    height, width = mask.shape
    return mask.reshape(height // by, by, width // by, by).mean((1, 3)) >= 0.5


def _no_labels(path: Path, found: str) -> AnnotationError:
    fix = "a mask has one channel of whole numbers, one for each class (not for each object), stored without loss"
    return AnnotationError(f"{path.name} is a picture, not a mask of classes", found=found, fix=fix)


def _too_large(path: Path, found: object) -> AnnotationError:
    fix = "write it as a tiled TIFF with a pyramid (tiles of 512 px), or at a coarser resolution"
    return AnnotationError(f"{path.name} is too large to be decoded in one piece", found=found, fix=fix)
