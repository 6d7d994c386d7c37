"""DICOM whole-slide images that OpenSlide refuses, for example for want of an image type."""

import io
import math
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from asmil.errors import SlideError
from asmil.slides.native import NativeReader, PositionalFile
from asmil.slides.tiff_levels import decode_jpeg, decode_jpeg2000

Header: TypeAlias = Any
"""A `pydicom.Dataset`: pydicom is optional."""

WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
_JPEG = ("1.2.840.10008.1.2.4.50",)
_JPEG2000 = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
_PLAIN = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")
_ITEM, _END = 0xE000FFFE, 0xE0DDFFFE
MAX_EMPTY = 1000
"""Tiles of empty glass to each that is stored: more are a damaged size, and no end of white to read."""


class _Bounded(io.BufferedReader):
    """A file that is never asked for more than it has: a damaged length would be memory of that size."""

    def __init__(self, path: Path):
        super().__init__(io.FileIO(path))
        self._end = path.stat().st_size

    def read(self, size: int | None = -1, /) -> bytes:
        rest = max(0, self._end - self.tell())
        return super().read(rest if size is None or size < 0 else min(size, rest))


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
    """The files of one DICOM series as a pyramid; pydicom finds the frames, imagecodecs decodes them."""

    order = 30

    def __init__(self, path: Path):
        super().__init__(path)
        self.vendor = "dicom"
        first = _header(path)
        found = {instance.size: instance for instance in map(_instance, _series(path, first))}
        levels = [found[size] for size in sorted(found, reverse=True)]
        self._levels, self._files = levels, [PositionalFile(level.path) for level in levels]
        self.level_sizes = tuple(level.size for level in levels)
        self.tile_sizes = tuple((int(level.header.Columns), int(level.header.Rows)) for level in levels)
        width, height = self.level_sizes[0]
        self.downsamples = tuple((width / w + height / h) / 2 for w, h in self.level_sizes)
        self.bounds, self.file_mpp = (0, 0, width, height), _mpp(levels[0].header)
        self.objective = _objective(levels[0].header)

    @staticmethod
    def detect(path: Path) -> str:
        """Name the format; SlideError where the file is no DICOM whole-slide image."""
        header = _header(path)
        flavour = list(header.get("ImageType") or [])[2:3]
        if header.get("SOPClassUID") != WHOLE_SLIDE or flavour not in ([], ["VOLUME"]):
            raise SlideError("it is DICOM, but no level of a whole-slide image", found=", ".join(flavour) or None)
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
                raise SlideError("it has another size", found=f"{tile.shape[1]} x {tile.shape[0]} px")
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


def _header(path: Path) -> Header:
    try:
        with path.open("rb") as file:
            file.seek(128)
            if file.read(4) != b"DICM":
                raise SlideError("it is no DICOM file")
    except OSError as error:
        raise SlideError("it is no DICOM file", found=str(error)) from error
    try:
        import pydicom
    except ImportError as error:
        raise SlideError("the package pydicom is missing", fix="pip install 'asmil[wsi]'") from error
    try:
        # identifiers longer than the standard allows are common; values are checked when they are first used
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with _Bounded(path) as file:
                header = pydicom.dcmread(file, stop_before_pixels=True)
            header.get("SeriesInstanceUID")
            return header
    except (OSError, ValueError, AttributeError, KeyError, pydicom.errors.InvalidDicomError) as error:
        raise SlideError("its DICOM header cannot be read", found=str(error)) from error


def _series(path: Path, first: Header) -> list[Path]:
    """The files of the folder that are levels of the same series."""
    files = [path]
    for other in sorted(path.parent.glob("*.dcm")):
        if other != path:
            try:
                DicomReader.detect(other)
                same = _header(other).get("SeriesInstanceUID") == first.get("SeriesInstanceUID")
            except SlideError:
                continue
            files += [other] * same
    return files


def _instance(path: Path) -> Instance:
    header = _header(path)
    syntax = header.file_meta.TransferSyntaxUID
    if syntax not in _JPEG + _JPEG2000 + _PLAIN:
        raise SlideError("its compression is not known here", found=syntax.name)
    if header.get("BitsAllocated") != 8 or header.get("SamplesPerPixel") not in (1, 3):
        raise SlideError("its pixels are not 8-bit grey or RGB")
    if syntax in _PLAIN and header.get("PlanarConfiguration", 0):
        raise SlideError("its colours are stored apart")
    count = int(header.get("NumberOfFrames", 1))
    columns = math.ceil(header.TotalPixelMatrixColumns / header.Columns)
    rows = math.ceil(header.TotalPixelMatrixRows / header.Rows)
    places = _places(path, header, count)
    groups = header.get("PerFrameFunctionalGroupsSequence")
    if groups and "PlanePositionSlideSequence" in groups[0]:
        positions = [group.PlanePositionSlideSequence[0] for group in groups]
        step = int(header.Rows), int(header.Columns)
        corners = [(p.RowPositionInTotalImagePixelMatrix, p.ColumnPositionInTotalImagePixelMatrix) for p in positions]
        cells = [((int(y) - 1) // step[0], (int(x) - 1) // step[1]) for y, x in corners]
    elif header.get("DimensionOrganizationType") != "TILED_FULL":
        raise SlideError("it does not say where on the slide its frames lie", found="neither positions nor TILED_FULL")
    else:
        cells = [divmod(index, columns) for index in range(count)]
    if rows * columns > (1 if header.get("DimensionOrganizationType") == "TILED_FULL" else MAX_EMPTY) * count:
        found = f"{count} frames of {rows * columns} tiles"
        raise SlideError("it claims to be far larger than it is", found=found, fix="copy or download it again")
    if len(set(cells)) != count or max(cells) >= (rows, columns):
        raise SlideError(
            "it has several focal planes or optical paths", found=f"{count} frames, {rows * columns} tiles"
        )
    return Instance(path, header, dict(zip(cells, places, strict=True)))


def _places(path: Path, header: Header, count: int) -> list[tuple[int, int]]:
    """Offset and length in bytes of each frame."""
    from pydicom import dcmread

    with _Bounded(path) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcmread(file, stop_before_pixels=True)
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
    try:
        spacing = header.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing  # mm: rows, columns
        return 1000 * float(spacing[1]), 1000 * float(spacing[0])
    except (AttributeError, IndexError, TypeError, ValueError):
        return None


def _objective(header: Header) -> float | None:
    try:
        return float(header.OpticalPathSequence[0].ObjectiveLensPower)
    except (AttributeError, IndexError, TypeError, ValueError):
        return None


READER = DicomReader
