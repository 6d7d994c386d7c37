"""Where the features of each slide lie under a folder, and how each kind of file there is opened."""

import json
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from math import prod
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import numpy as np

from asmil.bags.formats import FEATURE_FORMATS
from asmil.bags.reading.entry import (
    AGAIN,
    Array,
    Entry,
    Facts,
    FeatureFormat,
    OneVectorError,
    feature_shape,
    require_believable,
)
from asmil.bags.tables import Problem, listed, slide_name
from asmil.errors import FeatureError, blaming
from asmil.extraction import STORE
from asmil.files import FileIndex, file_stamp, original_name, suffix_of, walk

HDF5 = (".h5", ".hdf5", ".h5ad")
INDEX, WORTH_AN_INDEX = ".asmil-index.json", 200
"""What the files of a large folder were found to be, kept in it; smaller ones open in no time."""
SUFFIXES = (*HDF5, ".pt", ".npy", ".npz", ".csv", ".zarr", ".zarr.zip")


Group: TypeAlias = Any
"""A `zarr.Group` or `zarr.Array`: zarr is optional."""


@dataclass(frozen=True)
class ZarrSource:
    """An open zarr group of a slide (version 2 or 3), and where it lies."""

    path: Path
    group: Group

    @property
    def file_name(self) -> str:
        """The name of the folder, also where it is zipped."""
        return self.path.stem if suffix_of(self.path) == ".zip" else self.path.name


Source: TypeAlias = h5py.File | ZarrSource | Path
SetAside: TypeAlias = Callable[[str, FeatureError, Path], None]


def feature_files(path: Path) -> Iterator[Path]:
    """Files of a known suffix, sorted within their folders; a `.zarr` folder is one file and never looked into.

    A leading dot marks what is still being written.
    """
    if path.is_file() or suffix_of(path) == ".zarr":
        yield path
        return
    for folder, folders, files in walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        stores = [name for name in folders if suffix_of(name) == ".zarr"]
        folders[:] = [name for name in folders if name not in stores]
        for name in sorted(stores + files):
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                yield folder / name


@contextmanager
def opened(path: Path) -> Iterator[Source]:
    """An open HDF5 file or zarr group, or the path itself for other suffixes.

    Whatever a format raises when it reads in the block is an error of this file.

    Raises:
        FeatureError: the file is empty, damaged, gone, or needs a package that is not installed.
    """
    if not path.exists() or (path.is_file() and path.stat().st_size == 0):
        what = f"{path.name} is empty (0 bytes)" if path.exists() else f"{path.name} is not there"
        raise FeatureError(what, fix="extract the slide again")
    with blaming(FeatureError, f"{path.name} cannot be read", fix=AGAIN):
        if suffix_of(path) in HDF5:
            with h5py.File(path, "r", locking="best-effort") as file, _layout_of(path):
                yield file
        elif suffix_of(path) in (".zarr", ".zip"):
            with _opened_zarr(path) as source, _layout_of(path):
                yield source
        else:
            yield path


@contextmanager
def _layout_of(path: Path) -> Iterator[None]:
    """What a format does not find in a sound file, or finds to be something else, is another layout and no damage.

    HDF5 also raises a KeyError for what it cannot read; the text tells the two apart.
    """
    try:
        yield
    except (LookupError, TypeError, AttributeError) as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        if "Unable to" in text and "doesn't exist" not in text:
            raise
        fix = "compare it with docs/formats.md: another version of the tool that wrote it may lay files out otherwise"
        raise FeatureError(
            f"{path.name} is laid out otherwise than its format is known", found=text, fix=fix
        ) from error


@contextmanager
def _opened_zarr(path: Path) -> Iterator[ZarrSource]:
    try:
        import zarr
    except ImportError as error:
        fix = "pip install 'asmil[zarr]'"
        raise FeatureError(f"{path.name} is read with zarr, which is not installed", fix=fix) from error
    if suffix_of(path) != ".zip":
        yield ZarrSource(path, zarr.open_group(path, mode="r"))
        return
    folder = _folder_in(path)
    with zarr.storage.ZipStore(path, mode="r") as store:
        yield ZarrSource(path, zarr.open_group(store, path=folder, mode="r"))


def _folder_in(path: Path) -> str:
    """The folder a zip holds the group in: none where the group itself was zipped."""
    with zipfile.ZipFile(path) as file:
        require_believable(sum(member.file_size for member in file.infolist()), path)
        heads = {name.split("/")[0] for name in file.namelist()}
    return heads.pop() if len(heads) == 1 else ""


def member(group: Group, *path: str) -> Group | Array | None:
    """The array or group at a path below a group, or None; a plain file among the members is passed over."""
    for name in path:
        group = group.get(name) if hasattr(group, "get") else None
        if group is None:
            return None
    return group


def is_array(item: object) -> bool:
    """Whether a member is an array."""
    return item is not None and hasattr(item, "nchunks_initialized")


def whole(array: Group, source: ZarrSource) -> Array:
    """The array, if all of its chunks are there: zarr would read those a killed run left out as zeros.

    Raises:
        FeatureError: chunks are missing, or claim to be larger than the files are.
    """
    if not is_array(array):
        raise FeatureError(f"{source.path.name} is damaged", found=f"{type(array).__name__} in the place of an array")
    require_believable(max(prod(array.shape), prod(array.chunks)) * array.dtype.itemsize, source.path)
    if array.nchunks_initialized < array.nchunks:
        found = f"{array.nchunks_initialized} of {array.nchunks} chunks of {array.path}"
        raise FeatureError(f"{source.path.name} was never finished", found=found, fix="extract the slide again")
    return array


FACTS_FILE = "features.json"
"""Facts that a layout cannot hold, stated by the user for all files of a folder: mpp, tile_level0_px, encoder."""


def plain_array(path: Path, *, mapped: bool = False, member: str = "") -> np.ndarray:
    """The array of a .npy file, or of a .npz file the named one or the first; `mapped` leaves a .npy on disk.

    Raises:
        FeatureError: the file is damaged, or a pickle, which is never loaded.
    """
    fix = "extract the slide again, or save the array without pickle"
    with blaming(FeatureError, f"{path.name} cannot be read", fix=fix):
        _require_header(path)
        value = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(value, np.memmap):
            if value.offset + value.nbytes != path.stat().st_size:
                found = f"shape {value.shape} of {value.dtype} in {path.stat().st_size} bytes"
                raise FeatureError(f"{path.name} holds more than it says", found=found, fix=fix)
            return value if mapped else np.array(value)
        with value, zipfile.ZipFile(path) as members:
            require_believable(sum(member.file_size for member in members.infolist()), path)
            member = member or value.files[0]
            if member not in value.files:
                raise FeatureError(f"{path.name} holds no array {member!r}", found=listed(value.files), fix=fix)
            name = f"{member}.npy" if f"{member}.npy" in members.namelist() else member
            require_believable(_claimed(members, name), path)
            array = value[member]
    if not isinstance(array, np.ndarray):
        raise FeatureError(f"{path.name} holds no array", found=member, fix=fix)
    return array


def _require_header(path: Path) -> None:
    """Refuse a .npy file whose header claims to be longer than the file: NumPy would make room for 4 GB of it."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(12)
    if start[:6] == b"\x93NUMPY" and start[6:7] > b"\1" and (length := int.from_bytes(start[8:], "little")) > size:
        raise FeatureError(f"{path.name} is damaged", found=f"a header of {length:,} bytes in {size:,}", fix=AGAIN)


def _claimed(members: zipfile.ZipFile, name: str) -> int:
    """The bytes that the header of an array of a .npz file speaks of."""
    headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    with members.open(name) as file:
        shape, _, dtype = headers[np.lib.format.read_magic(file)](file)
    return prod(shape) * dtype.itemsize


def facts_in(path: Path) -> Facts:
    """The object in a JSON file; empty where there is no file.

    Raises:
        FeatureError: the file is not a JSON object.
    """
    if not path.exists():
        return {}
    with blaming(FeatureError, f"{path.name} is not JSON", fix="write it again, or delete it"):
        facts = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(facts, dict):
        raise FeatureError(f"{path.name} is not a JSON object", found=type(facts).__name__)
    return facts


def stated_facts(path: Path) -> Facts:
    """What the user stated of a feature file in `features.json` of its folder or of one of the two above."""
    return next((facts for folder in path.parents[:3] if (facts := facts_in(folder / FACTS_FILE))), {})


# Where the features of each slide lie under a folder: one place per slide, and what cannot be used by name.


@dataclass(frozen=True)
class Place:
    """Where a slide's features are: file, format, key inside it, and (tiles, dim) where known unread."""

    path: Path
    format: str
    key: str
    shape: tuple[int, int] | None

    def under(self, root: Path) -> Path:
        """The path below a root, with the table's name where the file holds several."""
        path = self.path.relative_to(root) if self.path != root else Path(self.path.name)
        table = self.key.rpartition("/")[0]
        return path / table if table else path

    @contextmanager
    def entry(self) -> Iterator[Entry]:
        """The opened file's description of the slide."""
        with opened(self.path) as source:
            yield FEATURE_FORMATS[self.format].entry(source, self.key)


def scan(root: Path, *, encoder: str | None) -> tuple[dict[str, Place], list[Problem]]:
    """The place of every slide under `root`, and what was found beside that cannot be used.

    Raises:
        FeatureError: there are the features of several settings of `asmil embed`, or none of `encoder`.
    """
    found: dict[str, list[Place]] = {}
    others: set[str] = set()
    problems: list[Problem] = []
    vectors: list[Problem] = []

    def set_aside(slide: str, error: FeatureError, path: Path) -> None:
        own = vectors if isinstance(error, OneVectorError) else problems
        own.append(problem_of(original_name(slide_name(slide)), error, path))

    formats: dict[str, FeatureFormat] = {}
    index = FileIndex(root / INDEX, version=version("asmil")) if root.is_dir() else None
    files = list(feature_files(root))
    for path in files:
        try:
            for slide, place in _indexed(path, index, formats, set_aside):
                under = place.under(root)
                if encoder is None or _is_of(encoder, under):
                    found.setdefault(slide, []).append(place)
                else:
                    others.add(str(under.parent) if "/" not in place.key else under.name)
        except FeatureError as error:
            set_aside(path.name, error, path)
    if index is not None and len(files) >= WORTH_AN_INDEX:
        index.write()
    # One vector of a slide beside its tiles is no fault: the tiles are what is read.
    problems += [problem for problem in vectors if problem.slide not in found]
    if others and not found:
        raise FeatureError(
            f"nothing in {root} is of encoder {encoder!r}", found=f"features in {listed(sorted(others))}"
        )
    _require_one_store({place.path.parent for places in found.values() for place in places}, root)
    chosen: dict[str, Place] = {}
    for slide, places in found.items():
        # CLAM writes every slide twice, as .h5 with and as .pt without coordinates.
        places = [place for place in places if suffix_of(place.path) in HDF5] or places
        if len(places) == 1:
            chosen[slide] = places[0]
            continue
        what = f"several feature files have this name: {listed(place.under(root) for place in places)}"
        fix = "open the folder of one encoder or class only, or name the encoder: asmil convert --encoder NAME"
        problems.append(Problem(slide, what, fix, places[1].path))
    return chosen, problems


def problem_of(slide: str, error: FeatureError, path: Path) -> Problem:
    """What is wrong with a slide's file, as one problem of a store."""
    what = error.what if error.found is None else f"{error.what} ({error.found})"
    return Problem(slide, what, error.fix or "", path)


def _indexed(
    path: Path, index: FileIndex | None, formats: dict[str, FeatureFormat], set_aside: SetAside
) -> list[tuple[str, Place]]:
    """`_places_in`, by the index where the file is as it was. Files of other kinds may say less than what lies beside
    them, and files with a fault are looked at anew."""
    known = None if index is None else index.get(path)
    if isinstance(known, list):
        with suppress(TypeError, ValueError):  # of an index that somebody else wrote
            return [(str(s), Place(path, str(f), str(k), (int(n), int(d)))) for s, f, k, n, d in known]
    faults: list[str] = []

    def noticed(slide: str, error: FeatureError, of: Path) -> None:
        faults.append(slide)
        set_aside(slide, error, of)

    formats |= {} if formats else {name: FEATURE_FORMATS[name] for name in FEATURE_FORMATS.usable()}
    stamp = file_stamp(path)
    found = _places_in(path, formats, noticed)
    if index is not None and suffix_of(path) in HDF5 and found and not faults and all(own for _, _, own in found):
        index.put(path, stamp, [(slide, p.format, p.key, *(p.shape or ())) for slide, p, _ in found])
    return [(slide, place) for slide, place, _ in found]


def _places_in(path: Path, formats: dict[str, FeatureFormat], set_aside: SetAside) -> list[tuple[str, Place, bool]]:
    """The slides in a file, and whether its own bytes say their shape; the format that fits goes to the front of
    `formats`, as the next file's likeliest.

    Of a file of several slides, those that cannot be used are set aside.
    """
    with opened(path) as source:
        for name, format in formats.items():
            if suffix_of(path) not in format.suffixes or not format.sniff(source):
                continue
            rest = {other: formats.pop(other) for other in list(formats) if other != name}
            formats.update(rest)
            found = []
            for key, array in format.slides(source).items():
                try:
                    shape = None if array is None else feature_shape(array, path)
                    own = isinstance(array, h5py.Dataset) and array.file == source  # and not linked from another file
                    found.append((original_name(slide_name(key)), Place(path, name, key, shape), own))
                except FeatureError as error:
                    set_aside(key, error, path)
            return found
        _refuse_unknown(path, source)
        return []


def _refuse_unknown(path: Path, source: Source) -> None:
    """Coordinates of CLAM, TRIDENT, AtlasPatch, labels of torchmil, tables and arrays beside features are no fault."""
    if isinstance(source, h5py.File):
        places = {"coords"} <= set(source) <= {"coords", "imgs", "passports"}  # old files of CLAM hold pictures, too
        if not places and set(source) not in ({"labels"}, {"inst_labels"}):
            raise FeatureError(f"{path.name} is in no known feature format", found=f"keys {listed(source)}")
    elif not isinstance(source, Path):
        found = f"members {listed(sorted(source.group))}"
        raise FeatureError(f"{path.name} is in no known feature format", found=found)


def _is_of(encoder: str, path: Path) -> bool:
    """Whether a folder or table of the path has this name, or one that begins with it."""
    name = re.compile(rf"(features_)?{re.escape(encoder)}(_|-|$)")
    return any(name.match(part) for part in path.parts)


def _require_one_store(folders: set[Path], root: Path) -> None:
    """Settings differ between the stores of `asmil embed`: slides of two are never one set of features."""
    stores = sorted(folder for folder in folders if (folder / STORE).is_file())
    if len(stores) > 1:
        names = ", ".join(str(store.relative_to(root)) for store in stores)
        raise FeatureError(f"{root} holds features of several settings", found=names, fix="open one of these folders")
