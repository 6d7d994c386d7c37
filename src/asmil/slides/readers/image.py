"""Plain images (PNG, JPEG, untiled TIFF) as slides of one level."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from asmil.errors import SlideError
from asmil.files import BoundedFile, suffix_of
from asmil.slides.reader import EIGHT_BIT_RGB, ContentError
from asmil.slides.tiff_tags import check_tables, ome_images, resolution_mpp, turned_note, unit_of_imagej

MAX_IMAGE_PX = 1 << 30
"""An image is held in memory whole: 3 GiB at this size. Pillow's own limit of .18e9 px is for web servers."""

TURN = Image.Transpose
STORED = {
    **{2: TURN.FLIP_LEFT_RIGHT, 3: TURN.ROTATE_180, 4: TURN.FLIP_TOP_BOTTOM, 5: TURN.TRANSPOSE},
    **{6: TURN.ROTATE_90, 7: TURN.TRANSVERSE, 8: TURN.ROTATE_270},
}
"""By orientation of EXIF, what takes a picture that was turned as it says back to how it is stored."""

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")


class ImageReader:
    """An image that Pillow decodes, read into memory whole."""

    order = 90
    objective = None

    def __init__(self, path: Path):
        self.path = path
        try:
            with _no_bomb_limit(), BoundedFile(path) as file, Image.open(file) as image:
                _check(path, image)
                self.vendor = f"image ({image.format})"
                self.file_mpp = _tiff_mpp(image)
                pages = getattr(image, "n_frames", 1)
                self.notes = (f"of {pages} pictures in the file the first is read, whole",) * (pages > 1)
                turned = exif_orientation(image)
                if said := turned_note(turned):
                    self.notes += (said,)
                self._pixels = _rgb(image if image.format != "TIFF" else _as_stored(image, turned))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise SlideError(
                f"{path} cannot be decoded", found=str(error), fix="check that the file is complete"
            ) from error
        height, width = self._pixels.shape[:2]
        self.level_sizes, self.downsamples = ((width, height),), (1.0,)
        self.bounds = (0, 0, width, height)

    @staticmethod
    def detect(path: Path) -> str:
        """Name the image format; SlideError where Pillow knows none of ours."""
        check_tables(path)
        if suffix_of(path) == ".mrxs":
            found, fix = "an overview in JPEG", f"put the folder {path.stem} with its .dat files beside it"
            raise ContentError("the pixels of this MIRAX slide are missing", found=found, fix=fix)
        try:
            with _no_bomb_limit(), BoundedFile(path) as file, Image.open(file, formats=FORMATS) as image:
                return str(image.format)
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            reason = "not one of " + ", ".join(FORMATS)
            raise SlideError(reason if isinstance(error, UnidentifiedImageError) else str(error)) from error

    def read_level(self, level: int, level0_xy: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
        """Read uint8 (height, width, 3), white outside the image."""
        if level != 0:
            raise SlideError("an image has one level", found=f"level {level}")
        (x, y), (width, height) = level0_xy, size
        image_width, image_height = self.level_sizes[0]
        left, top = max(x, 0), max(y, 0)
        right, bottom = min(x + width, image_width), min(y + height, image_height)
        if (left, top, right, bottom) == (x, y, x + width, y + height):
            return self._pixels[y:bottom, x:right]
        pixels = np.full((height, width, 3), 255, np.uint8)
        if left < right and top < bottom:
            pixels[top - y : bottom - y, left - x : right - x] = self._pixels[top:bottom, left:right]
        return pixels

    def close(self) -> None:
        """Let go of the pixels."""
        self._pixels = np.empty((0, 0, 3), np.uint8)


@contextmanager
def _no_bomb_limit() -> Iterator[None]:
    """Lift Pillow's limit while one header is read: `_check` applies ours, with a message."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _check(path: Path, image: Image.Image) -> None:
    if image.width * image.height > MAX_IMAGE_PX:
        raise SlideError(
            f"{path.name} is too large to be read as one image",
            found=f"{image.width} x {image.height} px, the limit is {MAX_IMAGE_PX:.2g} px",
            fix="convert it to a tiled, pyramidal TIFF (for example `vips tiffsave --tile --pyramid`)",
        )
    # Pillow keeps the upper byte of 16-bit colours, which of a camera's 12 bits is black
    packed = [str(tile.args) for tile in getattr(image, "tile", ()) if ";16" in str(tile.args)]
    if image.mode.startswith(("I", "F")) or packed:
        found = f"pixels of type {(packed or [image.mode])[0]}"
        raise ContentError("it is not an 8-bit image", found=found, fix=EIGHT_BIT_RGB)


def exif_orientation(image: Image.Image) -> int:
    """How viewers of photographs are to turn it (EXIF), 1 where that is not said."""
    # EXIF that is damaged says none
    with suppress(OSError, SyntaxError, ValueError, KeyError, TypeError, struct.error):
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    return 1


def _as_stored(image: Image.Image, orientation: int) -> Image.Image:
    """A TIFF as its rows are stored, which Pillow turns; no other reader of slides does, nor QuPath."""
    image.load()
    back = STORED.get(orientation)
    return image if back is None else image.transpose(back)


def _rgb(image: Image.Image) -> np.ndarray:
    if "A" in image.getbands() or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, rgba)
    return np.asarray(image.convert("RGB"))


def _tiff_mpp(image: Image.Image) -> tuple[float, float] | None:
    """Scale from a TIFF's resolution. PNG and JPEG carry the resolution of a print, which is not believed."""
    tags = getattr(image, "tag_v2", None)
    if image.format != "TIFF" or tags is None:
        return None
    text = str(tags.get(270, ""))
    with suppress(UnicodeError):  # Pillow reads it as Latin-1, in which the micrometre of OME is another unit
        text = text.encode("latin-1").decode("utf-8")
    if images := ome_images(text):
        return images[0].mpp
    unit = unit_of_imagej(text) or tags.get(296, 2)
    return resolution_mpp(float(tags.get(282, 0) or 0), float(tags.get(283, 0) or 0), unit)


READER = ImageReader
