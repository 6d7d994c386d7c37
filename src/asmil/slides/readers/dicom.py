"""DICOM whole-slide images: the files of a series as one slide."""

import io
import math
import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from asmil.errors import SlideError, blaming
from asmil.files import BoundedFile, composed, suffix_of
from asmil.slides.native import NativeReader, PositionalFile
from asmil.slides.reader import EIGHT_BIT_RGB, ContentError, has_no_suffix
from asmil.slides.tiff_levels import decode_jpeg, decode_jpeg2000, require_imagecodecs

Header: TypeAlias = Any
"""A `pydicom.Dataset`: pydicom is optional."""

WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
_JPEG = ("1.2.840.10008.1.2.4.50",)
_JPEG2000 = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
_PLAIN = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")
_ITEM, _END = 0xE000FFFE, 0xE0DDFFFE
MAX_EMPTY = 1000
"""Tiles of empty glass to each that is stored: more are a damaged size, and no end of white to read."""


# The series in a folder.

_DETAILS = 0x52000000  # from here on a header is about the frames
_UID = re.compile(r"(.*[_-])?\d+(\.\d+){4,}")
"""A name that says nothing: the number of a series, alone or after its modality."""


@dataclass(frozen=True)
class Series:
    """The whole-slide files of one SeriesInstanceUID in a folder, the finest level first; `container`: of the glass."""

    uid: str
    files: tuple[Path, ...]
    levels: tuple[Path, ...]
    container: str


def series_in(folder: Path) -> list[Series]:
    """The series of whole-slide images in a folder, each with all its files; other DICOM files belong to none.

    Raises:
        SlideError: pydicom is missing, or the folder cannot be read.
    """
    try:
        return _series_in(folder.absolute(), folder.stat().st_mtime_ns)
    except OSError as error:
        raise SlideError("the folder of a DICOM file cannot be read", found=str(error)) from error


@lru_cache(maxsize=8)
def _series_in(folder: Path, changed: int) -> list[Series]:
    """`changed`: when a file came or went; each of them is opened once for all slides of the folder."""
    found: dict[str, list[tuple[int, Path, Header]]] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not is_dicom(path):
            continue
        try:
            header = _header(path, until=_DETAILS)
        except SlideError:
            continue  # what is wrong with it is said when it is opened itself
        if header.get("SOPClassUID") == WHOLE_SLIDE:
            uid = str(header.get("SeriesInstanceUID") or path)
            columns = int(header.get("TotalPixelMatrixColumns") or 0) if _flavour(header) in ("", "VOLUME") else 0
            found.setdefault(uid, []).append((-columns, path, header))
    series = []
    for uid, files in found.items():
        files.sort(key=lambda entry: entry[:2])
        levels = tuple(path for columns, path, _ in files if columns)
        container = composed(str(files[0][2].get("ContainerIdentifier") or "").strip())
        kept = "" if container.lower() in ("unknown", "none") else container
        series.append(Series(uid, tuple(path for _, path, _ in files), levels, kept))
    return sorted(_with_labels(series), key=lambda one: one.files[0])


def _with_labels(several: list[Series]) -> list[Series]:
    """A label or overview with a series of its own is of the slide of the same glass; without one, of the only slide
    that there is."""
    slides = [one for one in several if one.levels]
    for label in (one for one in several if not one.levels):
        own = [n for n, one in enumerate(slides) if label.container == one.container or not label.container]
        if len(own) == 1:
            slides[own[0]] = replace(slides[own[0]], files=slides[own[0]].files + label.files)
        else:
            slides.append(label)
    return slides


def series_of(path: Path) -> Series:
    """The series that a file belongs to, or that alone is in a folder.

    Raises:
        SlideError: it is of no whole-slide image. ContentError: a folder of several series.
    """
    if not path.is_dir():
        _header(path, until=_DETAILS)
        here = path.absolute()
        for series in series_in(path.parent):
            if here in series.files:
                return series
        raise SlideError("it is DICOM, but no whole-slide image")
    several = series_in(path)
    if not several:
        raise SlideError("the folder has no whole-slide image of DICOM")
    if len(several) > 1:
        found = ", ".join(series.files[0].name for series in several[:5])
        fix = "give a file of the series that is meant, or the folder to --slides: each becomes a slide"
        raise ContentError(f"the folder holds {len(several)} series of DICOM", found=found, fix=fix)
    return several[0]


def dicom_name(path: Path) -> str | None:
    """The name of a slide of several DICOM files: that of their folder, or the ContainerIdentifier where the folder
    has several series, or a number for a name. None where the path is the name, or nothing better is known."""
    unsaid = has_no_suffix(path) and path.is_file()
    if not unsaid and suffix_of(path) != ".dcm" and not _UID.fullmatch(path.name):
        return None
    try:
        series = series_of(path)
    except SlideError:
        return None
    folder = path if path.is_dir() else path.parent.absolute()
    if len(series.files) > 1 and len(series_in(folder)) == 1 and not _UID.fullmatch(folder.name):
        return composed(folder.name)
    container = series.container if path.is_dir() or len(series.files) > 1 else ""
    return container or (composed(path.name) if unsaid else None)


@dataclass(frozen=True)
class Instance:
    """One file of a series, one level: its header, and the place (offset, bytes) of each frame by (row, column)."""

    path: Path
    header: Header
    frames: dict[tuple[int, int], tuple[int, int]]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the level."""
        return int(self.header.TotalPixelMatrixColumns), int(self.header.TotalPixelMatrixRows)


class DicomReader(NativeReader):
    """The files of one DICOM series as a pyramid; pydicom finds the frames, imagecodecs decodes them.

    Any of its files stands for the series, also that of a label, and so does a folder that holds no other.
    """

    order = 15

    def __init__(self, path: Path):
        super().__init__(path)
        self.vendor = "dicom"
        require_imagecodecs()
        levels = _levels(series_of(path))
        self._levels, self._files = levels, [PositionalFile(level.path) for level in levels]
        self.level_sizes = tuple(level.size for level in levels)
        self.tile_sizes = tuple((int(level.header.Columns), int(level.header.Rows)) for level in levels)
        self.file_mpp, self.objective = _mpp(levels[0].header), _objective(levels[0].header)

    @staticmethod
    def detect(path: Path) -> str:
        """Name the format; SlideError where the file is of no DICOM whole-slide image."""
        if not series_of(path).levels:
            fix = "put the files of all levels of the series into one folder"
            raise ContentError("of this DICOM series there is no level here", found="a label or an overview", fix=fix)
        return "dicom"

    def decode(self, level: int, row: int, column: int, *, out: np.ndarray | None = None) -> np.ndarray | None:
        """Decode one frame, uint8 (frame height, frame width, 3); None where the file has none.

        Raises:
            SlideError: the frame is damaged; says which.
        """
        instance, (width, height) = self._levels[level], self.tile_sizes[level]
        place = instance.frames.get((row, column))
        if place is None:
            return None
        try:
            tile = _decode(self._files[level].read(*place), instance.header)
            if tile.shape[:2] != (height, width):
                tile = _padded(tile, self.tile_sizes[level], (column, row), size=self.level_sizes[level])
        except (RuntimeError, ValueError, OSError, SlideError) as error:
            where = f"level {level}, frame ({column}, {row})"
            raise SlideError(f"{instance.path} is damaged at {where}", found=str(error)) from error
        tile = np.repeat(tile[..., None], 3, axis=-1) if tile.ndim == 2 else tile
        if out is None:
            return tile
        out[...] = tile
        return out

    def close(self) -> None:
        """Close the files; closing twice is harmless."""
        super().close()
        for file in self._files:
            file.close()


def _flavour(header: Header) -> str:
    """The third value of ImageType: VOLUME of a level; empty where it is not said."""
    return str(next(iter(list(header.get("ImageType") or [])[2:]), ""))


def is_dicom(path: Path) -> bool:
    """Whether it is a file that begins as one of DICOM."""
    if path.is_file():  # of a pipe there would be no end
        with path.open("rb") as file:
            return file.seek(128) == 128 and file.read(4) == b"DICM"
    return False


@contextmanager
def _dataset(path: Path, *, until: int | None = None) -> Iterator[tuple[Header, io.BufferedReader]]:
    """The header of a file before its pixels, or before a tag, and the file at the place where reading ended."""
    try:
        if not is_dicom(path):
            raise SlideError("it is no DICOM file")
    except OSError as error:
        raise SlideError("it is no DICOM file", found=str(error)) from error
    try:
        import pydicom
    except ImportError as error:
        raise SlideError("the package pydicom is missing", fix="pip install 'asmil[wsi]'") from error
    # identifiers longer than the standard allows are common; values are checked when they are first used
    broken = blaming(SlideError, "its DICOM header cannot be read", fix="copy or download the file again")
    with broken, warnings.catch_warnings(), BoundedFile(path) as file:
        warnings.simplefilter("ignore")
        if until is None:
            header = pydicom.dcmread(file, stop_before_pixels=True)
        else:
            header = pydicom.filereader.read_partial(file, lambda tag, vr, length: tag >= until)
        header.get("SeriesInstanceUID")
        yield header, file


def _header(path: Path, *, until: int) -> Header:
    with _dataset(path, until=until) as (header, _):
        return header


def _levels(series: Series) -> list[Instance]:
    """The levels of a series, from fine to coarse.

    Raises:
        ContentError: two files are of one size: focal planes, optical paths or parts, of which one would be a guess.
    """
    found: dict[tuple[int, int], Instance] = {}
    for instance in map(_instance, series.levels):
        other = found.setdefault(instance.size, instance)
        if other.header.get("SOPInstanceUID") != instance.header.get("SOPInstanceUID"):
            names = f"{other.path.name} and {instance.path.name}, {instance.size[0]} x {instance.size[1]} px"
            fix = "leave the files of one focal plane and one optical path in the folder"
            raise ContentError("two files of the DICOM series hold the same level", found=names, fix=fix)
    return [found[size] for size in sorted(found, reverse=True)]


def _instance(path: Path) -> Instance:
    with _dataset(path) as (header, file):
        syntax = header.file_meta.TransferSyntaxUID
        if header.get("BitsAllocated") != 8 or header.get("SamplesPerPixel") not in (1, 3):
            found = f"{header.get('SamplesPerPixel')} samples of {header.get('BitsAllocated')} bits"
            raise ContentError("its pixels are not 8-bit grey or RGB", found=found, fix=EIGHT_BIT_RGB)
        if syntax not in _JPEG + _JPEG2000 + _PLAIN:
            raise SlideError("its compression is not known here", found=syntax.name)
        if syntax in _PLAIN and header.get("PlanarConfiguration", 0):
            raise SlideError("its colours are stored apart")
        cells = _cells(header)
        places = _places(file, header, len(cells))
    return Instance(path, header, dict(zip(cells, places, strict=True)))


def _cells(header: Header) -> list[tuple[int, int]]:
    """Row and column of each frame."""
    count, full = int(header.get("NumberOfFrames", 1)), header.get("DimensionOrganizationType") == "TILED_FULL"
    columns = math.ceil(header.TotalPixelMatrixColumns / header.Columns)
    rows = math.ceil(header.TotalPixelMatrixRows / header.Rows)
    found, fix = f"{count} frames, {rows * columns} tiles", "write one focal plane and one optical path"
    if count > min(rows * columns, 1 << 21):  # of 256 px on 370,000 x 370,000 px; they are listed before one is read
        raise ContentError("it claims to have several focal planes or optical paths", found=found, fix=fix)
    groups = header.get("PerFrameFunctionalGroupsSequence")
    if groups and "PlanePositionSlideSequence" in groups[0]:
        positions = [group.PlanePositionSlideSequence[0] for group in groups]
        step = int(header.Rows), int(header.Columns)
        corners = [(p.RowPositionInTotalImagePixelMatrix, p.ColumnPositionInTotalImagePixelMatrix) for p in positions]
        cells = [((int(y) - 1) // step[0], (int(x) - 1) // step[1]) for y, x in corners]
    elif not full:
        what = "it does not say where on the slide its frames lie"
        raise ContentError(what, found="neither positions nor TILED_FULL", fix="convert the slide to DICOM again")
    else:
        cells = [divmod(index, columns) for index in range(count)]
    if rows * columns > (1 if full else MAX_EMPTY) * count:
        raise ContentError("it claims to be far larger than it is", found=found, fix="copy or download it again")
    if len(set(cells)) != count or max(cells) >= (rows, columns):
        raise ContentError("it has several focal planes or optical paths", found=found, fix=fix)
    return cells


def _places(file: io.BufferedReader, header: Header, count: int) -> list[tuple[int, int]]:
    """Offset and length in bytes of each frame, of a file at the tag of its pixels."""
    file.seek(file.tell() + (12 if not header.is_implicit_VR else 8))
    if header.file_meta.TransferSyntaxUID in _PLAIN:
        length = int(header.Rows) * int(header.Columns) * int(header.SamplesPerPixel)
        return [(file.tell() + index * length, length) for index in range(count)]
    places = []
    while True:
        head = file.read(8)
        tag, length = struct.unpack("<II", head) if len(head) == 8 else (_END, 0)
        if tag != _ITEM:
            break
        places.append((file.tell(), length))
        file.seek(length, 1)
    if len(places) - 1 != count:  # the first item is the table of offsets
        raise SlideError(
            "it is cut short, or its frames are in parts", found=f"{len(places) - 1} parts, {count} frames"
        )
    return places[1:]


def _padded(tile: np.ndarray, frame: tuple[int, int], place: tuple[int, int], *, size: tuple[int, int]) -> np.ndarray:
    """A frame that is smaller than its header says, in white up to its size (width, height): wsidicomizer cuts those
    at the border of derived levels to what it has.

    Raises:
        SlideError: it is larger, or pixels of the level are missing.
    """
    found = tile.shape[1], tile.shape[0]
    needed = [min(side, end - number * side) for side, number, end in zip(frame, place, size, strict=True)]
    if any(have < need or have > side for have, need, side in zip(found, needed, frame, strict=True)):
        raise SlideError("it has another size", found=f"{found[0]} x {found[1]} px")
    whole = np.full((frame[1], frame[0], *tile.shape[2:]), 255, np.uint8)
    whole[: found[1], : found[0]] = tile
    return whole


def _decode(data: bytes, header: Header) -> np.ndarray:
    syntax = header.file_meta.TransferSyntaxUID
    if syntax in _PLAIN:
        shape = (int(header.Rows), int(header.Columns), int(header.SamplesPerPixel))
        pixels = np.frombuffer(data, np.uint8).reshape(shape)
        return pixels if shape[2] == 3 else pixels[..., 0]
    if syntax in _JPEG2000:
        return decode_jpeg2000(data)
    # a JFIF header means YCbCr, whatever the DICOM header says; many programs write RGB there
    rgb = header.PhotometricInterpretation == "RGB" and b"JFIF" not in data[:32]
    return decode_jpeg(data, colours="RGB" if rgb else "YCBCR")


def _mpp(header: Header) -> tuple[float, float] | None:
    """Scale (x, y): of all frames, of the first, of the picture, or from the size of what was imaged; all in mm."""
    groups = [header.get(f"{whose}FunctionalGroupsSequence") for whose in ("Shared", "PerFrame")]
    measures = [group[0].get("PixelMeasuresSequence") for group in groups if group]
    for holder in [*(measure[0] for measure in measures if measure), header]:
        spacing = holder.get("PixelSpacing")
        if spacing and len(spacing) == 2:  # rows, columns
            return 1000 * float(spacing[1]), 1000 * float(spacing[0])
    width, height = header.get("ImagedVolumeWidth"), header.get("ImagedVolumeHeight")
    if width and height:
        sides = header.TotalPixelMatrixColumns, header.TotalPixelMatrixRows
        return 1000 * float(width) / sides[0], 1000 * float(height) / sides[1]
    return None


def _objective(header: Header) -> float | None:
    try:
        return float(header.OpticalPathSequence[0].ObjectiveLensPower)
    except (AttributeError, IndexError, TypeError, ValueError):
        return None


READER = DicomReader
