"""The scenes and levels of a tiled TIFF: where each tile lies in the file, and how it is decoded."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import ModuleType

import numpy as np
from tifffile import TiffFile, TiffPageSeries

from asmil.errors import SlideError
from asmil.slides.reader import EIGHT_BIT_RGB, ContentError
from asmil.slides.tiff_tags import OmeImage, Page, aperio_number, ome_images, page_orientation, tag_mpp, turned_note

# Decoding one tile of a TIFF, for the compressions that slides use.

Codec = Callable[[bytes, np.ndarray | None], np.ndarray]
"""Data of a tile to uint8 (height, width, 3) or grey (height, width), into the second argument where possible; with
alpha as the last of 4 or 2 samples."""

Unpack = Callable[[bytes], bytes]

JPEG, APERIO_YCBCR, APERIO_RGB, JPEG2000, WEBP = 7, 33003, 33005, 34712, 50001
_JPEG2000 = (APERIO_YCBCR, APERIO_RGB, JPEG2000)
_PLAIN = {
    **{1: None, 5: "lzw_decode", 8: "zlib_decode", 32946: "zlib_decode", 50000: "zstd_decode"},
    **{34925: "lzma_decode", 32773: "packbits_decode"},
}
_PICTURES = {34933: "png_decode", 50001: "webp_decode", 50002: "jpegxl_decode", 52546: "jpegxl_decode"}
"""Compressions whose data are a picture of their own."""
_COLOURS = {1: "GRAYSCALE", 2: "RGB", 6: "YCBCR"}
"""TIFF PhotometricInterpretation: grey with black as 0, RGB, YCbCr."""
_SAMPLES = {0: 1, 1: 1, 2: 3, 3: 1, 4: 1, 5: 4, 6: 3, 8: 3}
"""Samples of a pixel by PhotometricInterpretation; what a file has more is alpha, or a channel of something else."""
_ALPHA = {1: "premultiplied", 2: "alpha"}
"""TIFF ExtraSamples: the colours are multiplied by alpha already, or are not."""


def require_picture(page: Page) -> None:
    """Ask of a page (of tifffile) whether it holds a picture, however it is stored.

    Raises:
        ContentError: other pixels than those of 8 bits, or channels beside the colours.
    """
    depths = page.bitspersample if isinstance(page.bitspersample, tuple) else (page.bitspersample,)
    if max(depths) > 8 or page.sampleformat in (2, 3):  # signed, or of floating point
        raise ContentError("its pixels are not of 8 bits", found=str(page.dtype), fix=EIGHT_BIT_RGB)
    samples, colours = page.samplesperpixel, _SAMPLES.get(int(page.photometric), 3)
    if samples < colours or (samples > colours and _extra(page) is None):
        found = f"{samples} samples, photometric {int(page.photometric)}"
        fix = f"{EIGHT_BIT_RGB}; fluorescence has no such picture"
        raise ContentError("its channels are no grey or RGB picture", found=found, fix=fix)


def _extra(page: Page) -> str | None:
    """What the one sample beside the colours is: alpha, or unsaid beside RGB; None where it is something else."""
    more = page.samplesperpixel - _SAMPLES.get(int(page.photometric), 3)
    kind = int(page.extrasamples[0]) if page.extrasamples else 0
    if more != 1 or (kind == 0 and int(page.photometric) not in (2, 6)):
        return None
    return _ALPHA.get(kind, "unsaid")


def codec_of(page: Page) -> Codec:
    """How the tiles of a page (of tifffile) are decoded.

    Raises:
        SlideError: the page is of a compression or layout that is not known here. ContentError: it is no picture.
    """
    require_picture(page)
    imagecodecs = require_imagecodecs()
    compression, photometric, samples = int(page.compression), int(page.photometric), page.samplesperpixel
    if str(page.dtype) != "uint8" or photometric not in _COLOURS:
        found = f"{page.bitspersample} bits, photometric {photometric}"
        raise SlideError("its colours are stored in a way that is not known here", found=found)
    apart = samples > 1 and int(page.planarconfig) != 1
    if page.fillorder != 1 or (apart and photometric == 6):
        raise SlideError("its bits or the planes of YCbCr are stored apart")
    if apart:
        samples, photometric = 1, 1  # the data are those of one plane
    if compression == JPEG and samples in (1, 3):
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
    if compression in _PICTURES and photometric != 6:
        decode = getattr(imagecodecs, _PICTURES[compression])
        if compression == WEBP:
            decode = partial(decode, hasalpha=samples == 4)
        return lambda data, _: np.squeeze(decode(data))
    raise SlideError("its compression is not known here", found=f"{compression}, photometric {photometric}")


def require_imagecodecs() -> ModuleType:
    """The package that decodes tiles; SlideError where it is missing: OpenSlide is asked then."""
    try:
        import imagecodecs
    except ImportError as error:
        fix = "pip install 'asmil[wsi]' (OpenSlide reads such files too, several times slower)"
        raise SlideError("the package imagecodecs is missing", fix=fix) from error
    return imagecodecs


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
    return tile[..., 0] if shape[2] == 1 else tile


def on_white(tile: np.ndarray, extra: str | None) -> np.ndarray:
    """The picture, uint8 (h, w, 3) or grey (h, w), of samples whose last is `extra`: white where it is transparent."""
    colours = tile[..., 0] if tile.shape[2] == 2 else tile[..., :3]
    if extra not in _ALPHA.values():
        return colours
    alpha = tile[..., -1] if tile.shape[2] == 2 else tile[..., -1:]
    if alpha.min() == 255:
        return colours
    cover = alpha.astype(np.uint32)
    shown = colours * np.uint32(255) if extra == "premultiplied" else colours * cover
    return ((np.minimum(shown + 255 * (255 - cover), 255 * 255) + 127) // 255).astype(np.uint8)


_ASSOCIATED = {"label", "macro", "thumbnail", "overview"}
_COLOUR_NAME = re.compile(r"\s*(r|g|b|red|green|blue|(channel|ch|c)?[\s:_-]*[\d:]*)\s*", re.IGNORECASE)
"""Names of channels that can be red, green and blue: the colours, and names that say nothing."""
_REDUCED, _MASK = 1, 4  # bits of NewSubfileType: a smaller copy of another page; which pixels of it hold something
_STACKS = ("imagej", "qpi", "lsm", "fluoview", "stk", "micromanager", "nih")
"""Kinds of files, as tifffile names them, whose pages are the channels, planes and times of one image."""


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
    """One image of the pyramid: `size` and `tile_px` (width, height); three planes are red, green and blue.

    `extra` is what a sample or plane beside the colours is: alpha, premultiplied or unsaid.
    """

    size: tuple[int, int]
    tile_px: tuple[int, int]
    planes: tuple[Plane, ...]
    extra: str | None = None


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
        SlideError: the first image is not tiled, or is stored in a way that is not known here. ContentError: it is no
            picture.
    """
    if not tiff.is_ome and any(getattr(tiff, f"is_{kind}") for kind in _STACKS):
        shape = zip(tiff.series[0].axes, tiff.series[0].shape, strict=True)
        if others := [f"{axis} {n}" for axis, n in shape if axis in "CT" and n > 1]:
            found = f"axes {', '.join(others)}"
            raise ContentError("it holds several channels or times", found=found, fix=EIGHT_BIT_RGB)
    require_picture(tiff.pages[0].aspage())
    scenes = _ome_scenes(tiff) if tiff.is_ome else _page_scenes(tiff, aperio=vendor == "aperio")
    if not scenes:
        raise SlideError("it is not tiled")
    if not (turned := turned_note(page_orientation(tiff.pages[0].aspage()))):
        return scenes
    return [replace(scene, note="; ".join(filter(None, [scene.note, turned]))) for scene in scenes]


def _level(pages: Sequence[Page]) -> TiffLevel:
    first = pages[0].keyframe
    apart = first.samplesperpixel if int(first.planarconfig) != 1 else 1
    planes = []
    for page in pages:
        codec = codec_of(page.keyframe)
        # frames of a series keep only what differs from their key frame
        offsets, counts = np.array(page.dataoffsets, np.int64), np.array(page.databytecounts, np.int64)
        for own, length in zip(np.array_split(offsets, apart), np.array_split(counts, apart), strict=True):
            planes.append(Plane(own, np.where(own > 0, length, 0), codec))
    size, tile = (first.imagewidth, first.imagelength), (first.tilewidth, first.tilelength)
    expected = -(-size[0] // tile[0]) * -(-size[1] // tile[1])
    if any(len(plane.offsets) != expected or len(plane.counts) != expected for plane in planes):
        raise SlideError("its table of tiles is incomplete", found=f"{len(planes[0].offsets)} of {expected} tiles")
    return TiffLevel(size, tile, tuple(planes), _extra(first))


def _page_scenes(tiff: TiffFile, *, aperio: bool) -> list[TiffScene]:
    """Scenes of top-level pages: a page that is no smaller copy begins a scene; the copies follow, or are SubIFDs.

    Copies may also come before what they are of, or in between: pages that are marked as such, of the scene's shape.
    """
    pyramids: list[list[Page]] = []
    for page in (page.aspage() for page in tiff.pages):
        if not page.is_tiled or page.subfiletype & _MASK:
            continue  # thumbnail, label and macro of Aperio; strips; masks of a cloud-optimised TIFF
        first = pyramids[-1][0] if pyramids else page
        marked = (page.subfiletype | first.subfiletype) & _REDUCED and not aperio
        if pyramids and marked and _is_smaller(first, page):
            pyramids[-1].insert(0, page)
        elif pyramids and (aperio or page.subfiletype & _REDUCED or _is_fraction(page, pyramids[-1][-1])):
            pyramids[-1] += [page] * _is_smaller(page, first)
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
    largest = max((series.keyframe.imagewidth for series in tiff.series), default=0)
    scenes: list[TiffScene] = []
    refused: dict[str, SlideError] = {}
    for number, series in enumerate(tiff.series):
        image = described[number] if number < len(described) else OmeImage(series.name, None, None)
        if is_associated(image.name) and series.keyframe.imagewidth < largest:
            continue
        try:
            planes, note = _ome_planes(series, image)
            require_picture(series.keyframe)
            if not series.keyframe.is_tiled:
                continue
            chosen = [[level.pages[i] for i in planes] for level in series.levels]
            if any(page is None or page.parent is not tiff for pages in chosen for page in pages):
                raise ContentError("its images are spread over several files", fix="put them into one file")
            levels = _pyramid(chosen)
        except SlideError as error:
            refused[image.name or f"image {number}"] = error
            continue
        mpp = image.mpp or tag_mpp(series.keyframe)
        scenes.append(TiffScene(image.name or f"image {number}", levels, mpp, image.objective, note))
    if not scenes and refused:
        raise next(iter(refused.values()))
    lost = [f"{name} is not read: {error.what} ({error.found})" for name, error in refused.items()]
    return [replace(scene, note="; ".join(filter(None, [scene.note, *lost]))) for scene in scenes]


def require_colours(channels: Sequence[str]) -> None:
    """Raise a `ContentError` where three channels are named as something else than red, green and blue."""
    if others := [name for name in channels if not _COLOUR_NAME.fullmatch(name)]:
        raise ContentError("its channels are not red, green and blue", found=", ".join(others), fix=EIGHT_BIT_RGB)


def is_associated(name: str) -> bool:
    """Whether an image is named as label, macro ...: as a word, not as a part of one (macrophages)."""
    return not _ASSOCIATED.isdisjoint(word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name))


def _ome_planes(series: TiffPageSeries, image: OmeImage) -> tuple[list[int], str]:
    """Which pages of each level are read: the middle one of a stack, and three for RGB that is stored apart.

    Raises:
        ContentError: there are other channels or several times.
    """
    shape = dict(zip(series.axes, series.shape, strict=True))
    pages = {axis: n for axis, n in shape.items() if axis not in "YXS"}
    if pages == {"I": image.size_c}:
        pages = {"C": image.size_c}  # libvips writes a page for each band, and does not say which is which
    if any(axis not in "ZC" for axis in pages) or pages.get("C", 3) != 3 or ("C" in pages and "S" in shape):
        found = ", ".join(f"{axis} {n}" for axis, n in pages.items())
        fix = f"{EIGHT_BIT_RGB}; fluorescence has no such picture"
        raise ContentError("it is not one RGB picture or a stack of them", found=f"axes {found}", fix=fix)
    if "C" in pages:
        require_colours(image.channels)
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
        if not any(plane.counts.any() for plane in level.planes):
            yield number, f"none of {len(level.planes[0].counts)} tiles is stored"
        elif lost:
            yield number, f"{lost} of {len(level.planes[0].counts)} tiles lie beyond the end of the file"
