"""The scenes and levels of a tiled TIFF: where each tile lies in the file, and how it is decoded."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from tifffile import TiffFile, TiffPageSeries

from asmil.errors import SlideError
from asmil.slides.tiff_tags import OmeImage, Page, aperio_number, ome_images, tag_mpp

# Decoding one tile of a TIFF, for the compressions that slides use.

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


_ASSOCIATED = ("label", "macro", "thumbnail", "overview")
_REDUCED = 1  # bit of NewSubfileType: a smaller copy of another page


@dataclass(frozen=True)
class Plane:
    """Tiles of one page: offset and length in bytes of each, row by row, and their codec."""

    offsets: np.ndarray
    counts: np.ndarray
    codec: Codec

    def lost(self, file_bytes: int) -> int:
        """How many tiles lie, in part or whole, beyond the end of the file."""
        return int(((self.offsets + self.counts > file_bytes) & (self.counts > 0)).sum())


@dataclass(frozen=True)
class TiffLevel:
    """One image of the pyramid: `size` and `tile_px` (width, height); three planes are red, green and blue."""

    size: tuple[int, int]
    tile_px: tuple[int, int]
    planes: tuple[Plane, ...]


@dataclass(frozen=True)
class TiffScene:
    """A pyramid, from fine to coarse, and what the file says of its scale; `note` where more lies behind it."""

    name: str
    levels: tuple[TiffLevel, ...]
    mpp: tuple[float, float] | None
    objective: float | None
    note: str = ""


def tiff_scenes(tiff: TiffFile, vendor: str) -> list[TiffScene]:
    """The pyramids of a file of tifffile that OpenSlide calls `vendor`.

    Raises:
        SlideError: the first image is not tiled, or is stored in a way that is not known here.
    """
    scenes = _ome_scenes(tiff) if tiff.is_ome else _page_scenes(tiff, aperio=vendor == "aperio")
    if not scenes:
        raise SlideError("it is not tiled")
    return scenes


def _level(pages: Sequence[Page]) -> TiffLevel:
    first = pages[0].keyframe
    planes = []
    for page in pages:
        # frames of a series keep only what differs from their key frame
        offsets, counts = np.array(page.dataoffsets, np.int64), np.array(page.databytecounts, np.int64)
        planes.append(Plane(offsets, np.where(offsets > 0, counts, 0), codec_of(page.keyframe)))
    size, tile = (first.imagewidth, first.imagelength), (first.tilewidth, first.tilelength)
    expected = -(-size[0] // tile[0]) * -(-size[1] // tile[1])
    if any(len(plane.offsets) != expected or len(plane.counts) != expected for plane in planes):
        raise SlideError("its table of tiles is incomplete", found=f"{len(planes[0].offsets)} of {expected} tiles")
    return TiffLevel(size, tile, tuple(planes))


def _page_scenes(tiff: TiffFile, *, aperio: bool) -> list[TiffScene]:
    """Scenes of top-level pages: a page that is no smaller copy begins a scene; the copies follow, or are SubIFDs."""
    pyramids: list[list[Page]] = []
    for page in (page.aspage() for page in tiff.pages):
        if not page.is_tiled:
            continue  # thumbnail, label and macro of Aperio; strips
        if pyramids and (aperio or page.subfiletype & _REDUCED or _is_fraction(page, pyramids[-1][-1])):
            pyramids[-1] += [page] * _is_smaller(page, pyramids[-1][0])
        else:
            inner = (sub.aspage() for sub in page.pages or ())
            pyramids.append([page, *(sub for sub in inner if sub.is_tiled and _is_smaller(sub, page))])
    if not pyramids or not tiff.pages[0].aspage().is_tiled:
        return []
    scenes = []
    for number, pages in enumerate(pyramids):
        text = pages[0].description or ""
        if aperio:
            value, objective = aperio_number(text, "MPP"), aperio_number(text, "AppMag")
            mpp = None if value is None else (value, value)
        else:
            mpp, objective = tag_mpp(pages[0]), None
        scenes.append(TiffScene(f"page {number}", _pyramid([[page] for page in pages]), mpp, objective))
    return scenes


def _is_smaller(page: Page, finest: Page) -> bool:
    """Whether a page can be a smaller copy: of the same shape to a pixel or five per cent."""
    width, height = page.imagewidth, page.imagelength
    expected = finest.imagelength * width / finest.imagewidth
    return width < finest.imagewidth and abs(height - expected) <= max(1.0, 0.05 * expected)


def _is_fraction(page: Page, finer: Page) -> bool:
    """Whether a page without a mark is still the next level: a half, a third, ... a 32nd of the one before."""
    factor = round(finer.imagewidth / page.imagewidth)
    off = abs(page.imagewidth * factor - finer.imagewidth), abs(page.imagelength * factor - finer.imagelength)
    return 2 <= factor <= 32 and max(off) < factor


def _pyramid(levels: Sequence[Sequence[Page]]) -> tuple[TiffLevel, ...]:
    return tuple(sorted((_level(pages) for pages in levels), key=lambda level: -level.size[0]))


def _ome_scenes(tiff: TiffFile) -> list[TiffScene]:
    """Scenes of an OME-TIFF: its images, without label, macro and overview, each with its SubIFD levels."""
    described = ome_images(tiff.ome_metadata or "")
    scenes, refused = [], None
    for number, series in enumerate(tiff.series):
        image = described[number] if number < len(described) else OmeImage(series.name, None, None)
        associated = any(word in image.name.lower() for word in _ASSOCIATED)
        if associated or not series.keyframe.is_tiled:
            continue
        try:
            planes, note = _ome_planes(series)
            chosen = [[level.pages[i] for i in planes] for level in series.levels]
            if any(page is None or page.parent is not tiff for pages in chosen for page in pages):
                raise SlideError("its images are spread over several files")
            levels = _pyramid(chosen)
        except SlideError as error:
            refused = refused or error
            continue
        mpp = image.mpp or tag_mpp(series.keyframe)
        scenes.append(TiffScene(image.name or f"image {number}", levels, mpp, image.objective, note))
    if not scenes and refused:
        raise refused
    return scenes


def _ome_planes(series: TiffPageSeries) -> tuple[list[int], str]:
    """Which pages of each level are read: the middle one of a stack, and three for RGB that is stored apart."""
    shape = dict(zip(series.axes, series.shape, strict=True))
    pages = {axis: n for axis, n in shape.items() if axis not in "YXS"}
    if any(axis not in "ZC" for axis in pages) or pages.get("C", 3) != 3 or ("C" in pages and "S" in shape):
        found = ", ".join(f"{axis} {n}" for axis, n in pages.items())
        raise SlideError("it is not one RGB picture or a stack of them", found=f"axes {found}")
    depth = pages.get("Z", 1)
    index = np.arange(int(np.prod(list(pages.values()) or [1]))).reshape(list(pages.values()) or [1])
    if "Z" in pages:
        index = np.take(index, depth // 2, axis=list(pages).index("Z"))
    note = f"the middle of {depth} focal planes is read" if depth > 1 else ""
    return [int(i) for i in index.ravel()], note


def lost_levels(scene: TiffScene, file_bytes: int) -> Iterator[tuple[int, str]]:
    """Levels with tiles beyond the end of the file, each with a sentence."""
    for number, level in enumerate(scene.levels):
        lost = max(plane.lost(file_bytes) for plane in level.planes)
        if lost:
            yield number, f"{lost} of {len(level.planes[0].counts)} tiles lie beyond the end of the file"
