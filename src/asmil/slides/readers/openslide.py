"""Slides of scanner vendors, tiled TIFF and DICOM, through OpenSlide."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import openslide
import tifffile

from asmil.errors import SlideError
from asmil.slides.reader import ContentError
from asmil.slides.tiff_tags import check_tables, ome_images, page_orientation, turned_note

CACHE_BYTES = (32 << 20, 256 << 20)
"""Least and most bytes of decoded tiles kept. More than is read again costs time: each tile then has fresh memory."""
CACHE_ROWS = 2
"""Rows of tiles, or of what is read at once, that are kept: row-major reading then decodes each tile once."""

OWN_CODECS = (7, 33003, 33005)
"""Compressions of TIFF that OpenSlide decodes itself, JPEG and JPEG 2000: as stored. All else libtiff draws for it."""


class OpenSlideReader:
    """A file of which OpenSlide knows the format."""

    order = 20

    def __init__(self, path: Path):
        try:
            self._slide = _opened(path)
            properties = dict(self._slide.properties)
        except openslide.OpenSlideError as error:
            vendor = openslide.OpenSlide.detect_format(str(path))
            # of a scanner's own format the first picture is often the label: not for the reader of plain images
            kind = SlideError if vendor in (None, "generic-tiff", "dicom") else ContentError
            fix = "check that the file is complete"
            raise kind(f"OpenSlide cannot open this file of {vendor}", found=str(error), fix=fix) from error
        self.notes = _turned(path)
        self.path, self._open = path, True
        self.vendor = properties.get(openslide.PROPERTY_NAME_VENDOR, "unknown")
        self.level_sizes = self._slide.level_dimensions
        self.downsamples = self._slide.level_downsamples
        mpp_x = _number(properties, openslide.PROPERTY_NAME_MPP_X)
        mpp_y = _number(properties, openslide.PROPERTY_NAME_MPP_Y)
        self.file_mpp = None if mpp_x is None or mpp_y is None else (mpp_x, mpp_y)
        if self.file_mpp is None and (images := ome_images(properties.get(openslide.PROPERTY_NAME_COMMENT, ""))):
            self.file_mpp = images[0].mpp  # OpenSlide does not read OME-XML
        self.objective = _number(properties, openslide.PROPERTY_NAME_OBJECTIVE_POWER)
        self.bounds = self._bounds(properties)

    def _bounds(self, properties: dict[str, str]) -> tuple[int, int, int, int]:
        width, height = self.level_sizes[0]
        x = int(_number(properties, openslide.PROPERTY_NAME_BOUNDS_X) or 0)
        y = int(_number(properties, openslide.PROPERTY_NAME_BOUNDS_Y) or 0)
        w = int(_number(properties, openslide.PROPERTY_NAME_BOUNDS_WIDTH) or width - x)
        h = int(_number(properties, openslide.PROPERTY_NAME_BOUNDS_HEIGHT) or height - y)
        return x, y, min(w, width - x), min(h, height - y)

    @staticmethod
    def detect(path: Path) -> str:
        """Name the vendor format; SlideError where OpenSlide knows none."""
        check_tables(path)
        vendor = openslide.OpenSlide.detect_format(str(path))
        if vendor is None:
            raise SlideError("OpenSlide does not know this format")
        return vendor

    def read_level(self, level: int, level0_xy: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
        """Read uint8 (height, width, 3), transparent and outside as white.

        Raises:
            SlideError: the file is damaged there.
        """
        try:
            image = self._slide.read_region(level0_xy, level, size)
        except openslide.OpenSlideError as error:
            # OpenSlide answers nothing after an error: a fresh handle, so that other places can still be read
            with suppress(openslide.OpenSlideError):
                self._slide = _opened(self.path)
            raise SlideError(
                f"{self.path} cannot be read at {level0_xy}, level {level}",
                found=str(error),
                fix="check that the file is complete",
            ) from error
        # packed by Pillow: a copy of rgba[..., :3] takes ten times as long
        alpha = np.frombuffer(image.tobytes("raw", "A"), np.uint8)
        if alpha.min() == 255:
            return np.frombuffer(image.tobytes("raw", "RGB"), np.uint8).reshape(size[1], size[0], 3)
        rgba, alpha = np.asarray(image), alpha.reshape(size[1], size[0])
        cover = alpha[..., None].astype(np.uint16)
        return ((rgba[..., :3] * cover + 255 * (255 - cover) + 127) // 255).astype(np.uint8)

    def close(self) -> None:
        """Close the file; closing twice is harmless."""
        if self._open:
            self._slide.close()
        self._open = False


def _turned(path: Path) -> tuple[str, ...]:
    """What is said of a TIFF that asks to be shown turned.

    Raises:
        SlideError: libtiff would turn every tile in its place.
    """
    with suppress(tifffile.TiffFileError, ValueError, IndexError), tifffile.TiffFile(path) as tiff:
        pages = [page.aspage() for page in tiff.pages]
        said = {int(page.compression): turn for page in pages if (turn := page_orientation(page)) > 1}
        if drawn := [turn for codec, turn in said.items() if codec not in OWN_CODECS]:
            found, fix = f"orientation {drawn[0]}, which the file asks for", "leave --reader out"
            raise SlideError("OpenSlide would turn each tile of this file in its place", found=found, fix=fix)
        return tuple(sorted({turned_note(turn) for turn in said.values()}))
    return ()


def _opened(path: Path) -> openslide.OpenSlide:
    slide = openslide.OpenSlide(str(path))
    height = _number(dict(slide.properties), "openslide.level[0].tile-height") or 0
    rows = int(CACHE_ROWS * max(height, 512) * slide.dimensions[0] * 4)
    slide.set_cache(openslide.OpenSlideCache(min(max(CACHE_BYTES[0], rows), CACHE_BYTES[1])))
    return slide


def _number(properties: dict[str, str], name: str) -> float | None:
    try:
        return float(properties[name].replace(",", "."))
    except (KeyError, ValueError):
        return None


READER = OpenSlideReader
