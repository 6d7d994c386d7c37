"""Decoding one tile of a TIFF, for the compressions that slides use."""

from collections.abc import Callable
from functools import partial

import numpy as np

from asmil.errors import SlideError
from asmil.slides.tiff_tags import Page

Codec = Callable[[bytes, np.ndarray | None], np.ndarray]
"""Data of a tile to uint8 (height, width, 3) or grey (height, width), into the second argument where possible."""

Unpack = Callable[[bytes], bytes]

JPEG, APERIO_YCBCR, APERIO_RGB, JPEG2000 = 7, 33003, 33005, 34712
_JPEG2000 = (APERIO_YCBCR, APERIO_RGB, JPEG2000)
_PLAIN = {1: None, 5: "lzw_decode", 8: "zlib_decode", 32946: "zlib_decode", 50000: "zstd_decode"}
_COLOURS = {1: "GRAYSCALE", 2: "RGB", 6: "YCBCR"}
"""TIFF PhotometricInterpretation: grey with black as 0, RGB, YCbCr."""


def codec_of(page: Page) -> Codec:
    """How the tiles of a page (of tifffile) are decoded.

    Raises:
        SlideError: the page is not 8-bit grey or RGB, or of a compression that is not known here.
    """
    try:
        import imagecodecs
    except ImportError as error:
        fix = "pip install 'asmil[wsi]' (OpenSlide reads such files too, several times slower)"
        raise SlideError("the package imagecodecs is missing", fix=fix) from error
    compression, photometric, samples = int(page.compression), int(page.photometric), page.samplesperpixel
    if str(page.dtype) != "uint8" or samples not in (1, 3) or photometric not in _COLOURS:
        found = f"{samples} samples of {page.dtype}, photometric {photometric}"
        raise SlideError("its pixels are not 8-bit grey or RGB", found=found)
    if (samples == 3 and int(page.planarconfig) != 1) or page.fillorder != 1:
        raise SlideError("its planes or bits are stored apart")
    if compression == JPEG:
        # the tag decides, as in libtiff: Aperio stores RGB without the marker that would say so
        tables, colours = page.jpegtables, _COLOURS[photometric]
        return lambda data, out: decode_jpeg(data, tables=tables, colours=colours, out=out)
    if compression in _JPEG2000 and (photometric != 6 or compression == APERIO_YCBCR):
        ycbcr = samples == 3 and compression == APERIO_YCBCR
        return lambda data, _: decode_jpeg2000(data, ycbcr=ycbcr)
    if compression in _PLAIN and photometric != 6 and page.predictor in (1, 2):
        shape = (page.tilelength, page.tilewidth, samples)
        decoder = _PLAIN[compression]
        unpack: Unpack = getattr(imagecodecs, decoder) if decoder else bytes
        return partial(_plain, unpack, shape, page.predictor == 2)
    raise SlideError("its compression is not known here", found=f"{compression}, photometric {photometric}")


def decode_jpeg(data: bytes, *, tables: bytes | None = None, colours: str, out: np.ndarray | None = None) -> np.ndarray:
    """Decode JPEG to uint8 (h, w, 3), into `out` where given; `colours` are those of the data, whatever they say.

    Raises:
        SlideError: the end is missing.
    """
    import imagecodecs

    if b"\xff\xd9" not in data[-64:]:
        raise SlideError("the JPEG data have no end")  # libjpeg would fill the rest with grey
    return imagecodecs.jpeg8_decode(data, tables=tables, colorspace=colours, outcolorspace="RGB", out=out)


def decode_jpeg2000(data: bytes, *, ycbcr: bool = False) -> np.ndarray:
    """Decode JPEG 2000 to uint8 (h, w, 3) or grey (h, w); `ycbcr`: the three planes are Y, Cb and Cr."""
    import imagecodecs

    pixels = imagecodecs.jpeg2k_decode(data, numthreads=1)
    if not ycbcr:
        return pixels
    from PIL import Image

    return np.asarray(Image.fromarray(pixels, "YCbCr").convert("RGB"))


def _plain(
    unpack: Unpack, shape: tuple[int, int, int], differences: bool, data: bytes, _: np.ndarray | None
) -> np.ndarray:
    tile = np.frombuffer(unpack(data), np.uint8)[: shape[0] * shape[1] * shape[2]].reshape(shape)
    tile = np.cumsum(tile, axis=1, dtype=np.uint8) if differences else tile
    return tile if shape[2] == 3 else tile[..., 0]
