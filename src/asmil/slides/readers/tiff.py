"""Tiled TIFF (Aperio SVS, OME-TIFF, generic pyramids), decoded tile by tile without a detour."""

import math
import struct
from functools import lru_cache
from pathlib import Path

import numpy as np

from asmil.errors import SlideError
from asmil.slides.native import NativeReader, PositionalFile
from asmil.slides.reader import ContentError, DamagedSlideError, Scene
from asmil.slides.tiff_levels import TiffLevel, TiffScene, lost_levels, on_white, tiff_scenes
from asmil.slides.tiff_tags import check_tables

VENDORS = ("aperio", "generic-tiff")
"""What OpenSlide calls the TIFF whose tiles are a plain grid; other vendors' overlap, or lie elsewhere."""
SCANNERS = ("ndpi", "bif", "scn", "philips")
"""What tifffile calls TIFF of vendors in which the first picture is often a label, and tiles may overlap."""


class TiffReader(NativeReader):
    """A TIFF whose native tiles tifffile locates and imagecodecs decodes; several threads may read."""

    order = 10

    def __init__(self, path: Path, *, scene: int = 0):
        super().__init__(path)
        self.vendor, scenes = _parse(path)
        self.scenes = tuple(Scene(found.name, found.levels[0].size) for found in scenes)
        chosen = scenes[scene]
        self.file_mpp, self.objective = chosen.mpp, chosen.objective
        self._file = PositionalFile(path)
        try:
            self._levels, self.notes = self._readable(chosen)
        except SlideError:
            self.close()
            raise
        self.level_sizes = tuple(level.size for level in self._levels)
        self.tile_sizes = tuple(level.tile_px for level in self._levels)

    @staticmethod
    def detect(path: Path) -> str:
        """Name the vendor; SlideError where the file is no TIFF of plain tiles in a known compression."""
        return _parse(path)[0]

    def _readable(self, scene: TiffScene) -> tuple[tuple[TiffLevel, ...], tuple[str, ...]]:
        """The levels that can be read, by the table of tiles and one tile of each; a note for each other."""
        lost = dict(lost_levels(scene, self._file.size))
        if 0 in lost:
            raise DamagedSlideError(f"{self.path} is cut short", found=lost[0], fix="copy or download it again")
        self._levels = scene.levels
        for number, level in enumerate(scene.levels):
            if number in lost:
                continue
            filled = np.flatnonzero(level.planes[0].counts)
            columns = math.ceil(level.size[0] / level.tile_px[0])
            try:
                for index in filled[:1]:
                    self.decode(number, *divmod(int(index), columns))
            except SlideError as error:
                if number == 0:
                    raise
                lost[number] = f"{error.what}: {error.found}"
        notes = [
            f"level {number} ({scene.levels[number].size[0]} x {scene.levels[number].size[1]} px) is not used: {why}"
            for number, why in sorted(lost.items())
        ]
        kept = tuple(level for number, level in enumerate(scene.levels) if number not in lost)
        return kept, tuple([scene.note] * bool(scene.note) + notes)

    def decode(self, level: int, row: int, column: int, *, out: np.ndarray | None = None) -> np.ndarray | None:
        """Decode one whole tile, uint8 (tile height, tile width, 3), into `out` where given.

        None where the file has no such tile: it is background.

        Raises:
            SlideError: the tile is damaged; says which, and where it lies.
        """
        source = self._levels[level]
        (width, height), planes = source.tile_px, source.planes
        index = row * math.ceil(source.size[0] / width) + column
        if not planes[0].counts[index]:
            return None
        try:
            direct = out if len(planes) == 1 and out is not None and out.flags.c_contiguous else None
            parts = [
                plane.codec(self._file.read(int(plane.offsets[index]), int(plane.counts[index])), direct)
                for plane in planes
            ]
            tile = parts[0] if len(parts) == 1 else np.stack(parts, -1)
            if source.extra is not None:
                tile = on_white(tile, source.extra)
            if tile.shape[:2] != (height, width):
                raise SlideError("it has another size", found=f"{tile.shape[1]} x {tile.shape[0]} px")
        except (RuntimeError, ValueError, OSError, SlideError) as error:  # imagecodecs raises RuntimeErrors
            down = self._levels[0].size[0] / source.size[0]
            corner = round(column * width * down), round(row * height * down)
            raise SlideError(
                f"{self.path} is damaged at level {level}, tile ({column}, {row}), from level-0 pixel {corner} on",
                found=str(error),
                fix="copy or download it again",
            ) from error
        if tile.ndim == 2:
            tile = np.repeat(tile[..., None], 3, axis=-1)
        if out is None or tile is out:
            return tile
        out[...] = tile
        return out

    def close(self) -> None:
        """Close the file; closing twice is harmless."""
        super().close()
        self._file.close()


def _parse(path: Path) -> tuple[str, list[TiffScene]]:
    """The vendor and scenes of a file; asked for twice, to detect and to open, and then read once."""
    try:
        state = path.stat()
    except OSError as error:
        raise SlideError("it is no TIFF", found=str(error)) from error
    if path.is_dir():
        raise SlideError("it is a folder")
    return _parsed(path.absolute(), state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=4)
def _parsed(path: Path, size: int, changed: int) -> tuple[str, list[TiffScene]]:
    import openslide
    import tifffile

    check_tables(path)
    try:
        with tifffile.TiffFile(path) as tiff:
            vendor = openslide.OpenSlide.detect_format(str(path)) or "generic-tiff"
            scanner = [name for name in SCANNERS if getattr(tiff, f"is_{name}")]
            if vendor == "generic-tiff" and scanner:
                what = "it is a scanner's own TIFF, and OpenSlide does not know it as such"
                raise ContentError(what, found=scanner[0], fix="copy it again, or export it as pyramidal TIFF")
            if vendor not in VENDORS:
                raise SlideError(f"left to OpenSlide, which knows it as {vendor}")
            return vendor, tiff_scenes(tiff, vendor)
    except (tifffile.TiffFileError, OSError) as error:
        raise SlideError("it is no TIFF", found=str(error)) from error
    except (RuntimeError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, struct.error) as error:
        raise SlideError("its TIFF structure cannot be read", found=repr(error)) from error


READER = TiffReader
