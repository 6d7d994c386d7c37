"""OME-Zarr (NGFF 0.4 and 0.5): a folder of chunked pyramids, decoded chunk by chunk."""

import json
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from asmil.errors import SlideError
from asmil.slides.native import NativeReader
from asmil.slides.reader import EIGHT_BIT_RGB, ContentError, Scene
from asmil.slides.tiff_levels import is_associated, require_colours
from asmil.slides.tiff_tags import UM_PER_UNIT, ome_images

Group: TypeAlias = Any
"""A `zarr.Group`: zarr is optional."""

MAX_CHUNK_PX = 1 << 26
MAX_EMPTY = 1000
"""Chunks of empty glass to each that is stored: more are a damaged shape, and no end of white to read."""
_METADATA = (".zattrs", "zarr.json")


class OmeZarrReader(NativeReader):
    """A multiscale image of NGFF, or one of several side by side (bioformats2raw layout)."""

    order = 40

    def __init__(self, path: Path, *, scene: int = 0):
        super().__init__(path)
        self.detect(path)
        import zarr

        try:
            groups = _image_paths(path)
            groups, pyramids = _slides_among(
                path, groups, [zarr.open_group(path / inner, mode="r") for inner in groups]
            )
        except (OSError, KeyError, ValueError, TypeError, IndexError, StopIteration) as error:
            raise SlideError(f"{path} is not a valid OME-Zarr", found=repr(error)) from error
        self.vendor = "ome-zarr"
        self.scenes = tuple(Scene(name or path.stem, p.size_of(0)) for name, p in zip(groups, pyramids, strict=True))
        self._image = image = pyramids[scene]
        self.level_sizes = tuple(image.size_of(level) for level in range(len(image.arrays)))
        self.tile_sizes = tuple(image.chunk_of(level) for level in range(len(image.arrays)))
        self.file_mpp, self.notes = image.mpp, image.notes

    @staticmethod
    def detect(path: Path) -> str:
        """Name the NGFF version; SlideError where the folder is no OME-Zarr, or zarr is not installed."""
        if not path.is_dir():
            raise SlideError("it is no folder")
        found = _ngff(path)
        if "plate" in found or "well" in found:
            raise SlideError("it is a plate of wells, not a slide", fix="give one image of it")
        if not _image_paths(path):
            raise SlideError("the folder has no multiscale image of OME-Zarr")
        try:
            import zarr  # noqa: F401
        except ImportError as error:
            raise SlideError("the package zarr is missing", fix="pip install 'asmil[zarr]'") from error
        return f"ome-zarr {found.get('version', '0.4')}"

    def decode(self, level: int, row: int, column: int, *, out: np.ndarray | None = None) -> np.ndarray | None:
        """Decode one chunk, uint8 (chunk height, chunk width, 3), white beyond the border.

        Raises:
            SlideError: the chunk is damaged; says which.
        """
        (width, height), (level_w, level_h) = self.tile_sizes[level], self.level_sizes[level]
        x, y = column * width, row * height
        try:
            part = self._image.read(level, slice(x, min(x + width, level_w)), slice(y, min(y + height, level_h)))
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            where = f"level {level}, chunk ({column}, {row})"
            raise SlideError(f"{self.path} is damaged at {where}", found=repr(error)) from error
        if out is None:
            out = np.empty((height, width, 3), np.uint8)
        if part.shape[:2] != (height, width):
            out[...] = 255
        out[: part.shape[0], : part.shape[1]] = part
        return out


def _stored_chunks(array: Group, *, enough: int) -> int:
    """How many chunks of an array are stored; `enough`, or a few more, where they are as many.

    zarr's own count compares every chunk that there could be with every one that there is.
    """
    a_file = math.prod(array.shards) // math.prod(array.chunks) if array.shards else 1
    stored = 0
    for _, _, files in os.walk(Path(array.store.root) / array.path):
        if stored >= enough:
            break
        stored += a_file * sum(name not in (*_METADATA, ".zarray") for name in files)
    return stored


INDEX_BYTES, CHECK_BYTES = 16, 4
"""Of the index at the end of a shard: for each of its chunks, and its checksum."""


_SHARD = re.compile(r"(c\.)?\d+(\.\d+)*")
"""The name of a shard's file. Beside them lie what file managers and file servers leave: .DS_Store, desktop.ini."""


def _is_known_empty(shard: Path) -> bool:
    """Whether its index says of every chunk that there is none: a writer may keep such a shard, a full disk cannot."""
    index = shard.read_bytes()[:-CHECK_BYTES]
    return bool(index) and len(index) % INDEX_BYTES == 0 and not index.strip(b"\xff")


def _require_filled(array: Group) -> None:
    """Refuse shards that hold no chunk, as a full disk leaves them: zarr, which would write none, reads them as black.

    Raises:
        SlideError: there are some; the first is named.
    """
    if not getattr(array, "shards", None):
        return  # an emptied chunk is an error when it is read
    index = INDEX_BYTES * (math.prod(array.shards) // math.prod(array.chunks)) + CHECK_BYTES
    folder = Path(array.store.root) / array.path
    files = (Path(inner) / name for inner, _, names in os.walk(folder) for name in names if _SHARD.fullmatch(name))
    if empty := sorted(file for file in files if file.stat().st_size <= index and not _is_known_empty(file)):
        found = f"{len(empty)} of the files of {array.path or folder.name}, as {empty[0].relative_to(folder)}"
        raise SlideError("it has shards without pixels", found=found, fix="copy or write it again")


class _Pyramid:
    """The arrays of one multiscale image, and where x, y and colour are among their axes."""

    def __init__(self, group: Group):
        found = dict(group.attrs)
        image = found.get("ome", found)["multiscales"][0]
        axes = [axis if isinstance(axis, dict) else {"name": axis} for axis in image["axes"]]
        self.names = [axis["name"] for axis in axes]
        self.arrays = [group[dataset["path"]] for dataset in image["datasets"]]
        self._check()
        channels = found.get("ome", found).get("omero", {}).get("channels", ())
        if len(channels) == 3:
            require_colours([str(channel.get("label", "")) for channel in channels])
        shape = dict(zip(self.names, self.arrays[0].shape, strict=True))
        depth = shape.get("z", 1)
        self.notes = (f"the middle of {depth} focal planes is read",) if depth > 1 else ()
        self.mpp = self._scale(image, axes)

    def _check(self) -> None:
        for array in self.arrays:
            shape = dict(zip(self.names, array.shape, strict=True))
            if not {"x", "y"} <= set(shape) or shape.get("c", 1) not in (1, 3) or shape.get("t", 1) != 1:
                raise ContentError("it is not one grey or RGB picture", found=f"axes {shape}", fix=EIGHT_BIT_RGB)
            if not min(array.shape):
                raise SlideError("a level has no pixels", found=f"axes {shape}", fix="copy or write it again")
            if str(array.dtype) != "uint8":
                raise ContentError("its pixels are not of 8 bits", found=str(array.dtype), fix=EIGHT_BIT_RGB)
        if math.prod(self.chunk_of(0)) > MAX_CHUNK_PX:
            raise SlideError("it is not stored in chunks", found=f"{self.chunk_of(0)} px", fix="write it in chunks")
        for array in self.arrays:
            stored = _stored_chunks(array, enough=array.nchunks // MAX_EMPTY - 100)
            if array.nchunks > MAX_EMPTY * (100 + stored):
                found = f"{stored} of {array.nchunks} chunks"
                raise SlideError("it claims to be far larger than it is", found=found, fix="copy or write it again")
            _require_filled(array)

    def _scale(self, image: dict, axes: list[dict]) -> tuple[float, float] | None:
        mpp = []
        for name in "xy":
            axis = self.names.index(name)
            factor = UM_PER_UNIT.get(axes[axis].get("unit", ""))
            steps = [
                transform["scale"][axis]
                for holder in (image["datasets"][0], image)
                for transform in holder.get("coordinateTransformations", ())
                if transform["type"] == "scale"
            ]
            if factor is None or not steps:
                return None
            mpp.append(math.prod(steps) * factor)
        return mpp[0], mpp[1]

    def size_of(self, level: int) -> tuple[int, int]:
        """Width and height of a level."""
        return self._xy(self.arrays[level].shape)

    def chunk_of(self, level: int) -> tuple[int, int]:
        """Width and height of its chunks."""
        return self._xy(self.arrays[level].chunks)

    def _xy(self, values: Sequence[int]) -> tuple[int, int]:
        return int(values[self.names.index("x")]), int(values[self.names.index("y")])

    def read(self, level: int, x: slice, y: slice) -> np.ndarray:
        """Read uint8 (h, w, 3); the first moment and the middle focal plane."""
        array = self.arrays[level]
        middle = {"z": array.shape[self.names.index("z")] // 2 if "z" in self.names else 0}
        index = tuple({"x": x, "y": y, "c": slice(None)}.get(name, middle.get(name, 0)) for name in self.names)
        kept = [name for name in self.names if name in "xyc"]
        pixels = np.asarray(array[index])
        if "c" not in kept:
            pixels, kept = pixels[..., None], [*kept, "c"]
        pixels = pixels.transpose([kept.index(name) for name in "yxc"])
        return np.broadcast_to(pixels, (*pixels.shape[:2], 3))


def _ngff(path: Path) -> dict:
    """The OME attributes of a Zarr group, empty where it has none; read as text, so that zarr is not needed."""
    for name in _METADATA:
        try:
            found = json.loads((path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        for key in ("attributes",) * (name == "zarr.json") + ("ome",):
            found = found.get(key, found if key == "ome" else {}) if isinstance(found, dict) else {}
        if isinstance(found, dict):
            return found
    return {}


def _image_paths(path: Path) -> list[str]:
    """Paths within the folder of its multiscale images: itself (""), or the numbered ones of bioformats2raw."""
    if _ngff(path).get("multiscales"):
        return [""]
    if not path.is_dir():
        return []
    numbers = sorted(int(inner.name) for inner in path.iterdir() if inner.name.isdigit())
    return [str(number) for number in numbers if _ngff(path / str(number)).get("multiscales")]


def _slides_among(path: Path, paths: list[str], groups: list[Group]) -> tuple[list[str], list["_Pyramid"]]:
    """The images of a slide by their paths, without pictures of its label and of the whole glass.

    They are known by their names: in the XML that bioformats2raw puts beside them, or of the image itself.
    """
    xml = path / "OME" / "METADATA.ome.xml"
    described = ome_images(xml.read_text(encoding="utf-8")) if xml.is_file() else []
    widths, names = [], []
    for inner, group in zip(paths, groups, strict=True):
        found = dict(group.attrs)
        image = found.get("ome", found)["multiscales"][0]
        axes = [axis["name"] if isinstance(axis, dict) else axis for axis in image["axes"]]
        widths.append(group[image["datasets"][0]["path"]].shape[axes.index("x")])
        number = int(inner) if inner else 0
        names.append(described[number].name if number < len(described) else str(image.get("name") or ""))
    kept = [n for n, name in enumerate(names) if not is_associated(name) or widths[n] == max(widths)]
    return [paths[n] for n in kept], [_Pyramid(groups[n]) for n in kept]


def is_ome_zarr(path: Path) -> bool:
    """Whether a folder holds images of OME-Zarr; other programs keep features and tables in *.zarr."""
    return bool(_image_paths(path))


def was_ome_zarr(path: Path) -> bool:
    """Whether a folder that holds no image may have lost what says so: its notes cannot be read, or are gone from above
    an array that is called 0, as levels are."""
    notes = [path / name for name in _METADATA if (path / name).is_file()]
    if not notes:
        return any((path / "0" / name).is_file() for name in (".zarray", "zarr.json"))
    try:
        return not all(isinstance(json.loads(note.read_text(encoding="utf-8")), dict) for note in notes)
    except (OSError, ValueError, RecursionError):
        return True


READER = OmeZarrReader
