"""The feature files under a folder, how each kind of them is opened, and arrays of them; nothing in them is run."""

import json
import pickle
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import h5py
import numpy as np

from asmil.bags.reading.entry import AGAIN, Array, Facts, require_believable
from asmil.bags.tables import listed
from asmil.errors import FeatureError, blaming
from asmil.extraction import FEATURES
from asmil.files import holds_run, suffix_of, walk

if TYPE_CHECKING:
    from torch import Tensor

HDF5 = (".h5", ".hdf5", ".h5ad")
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


def feature_files(path: Path) -> Iterator[Path]:
    """Files of a known suffix, sorted within their folders; a `.zarr` folder is one file and never looked into.

    A leading dot marks what is still being written. A folder that may not be read is a file that cannot be. Of what
    asmil makes only features count: attention and recordings of runs, models and predictions lie in such files too.
    """
    if path.is_file() or suffix_of(path) == ".zarr":
        yield path
        return
    closed: list[Path] = []
    for folder, folders, files in walk(path, closed=closed):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if holds_run(files):
            folders[:], files = [name for name in folders if name == FEATURES], []
        elif "sealed.json" in files or set(files) >= {"model.safetensors", "attention.h5"}:
            folders.clear()
            continue
        elif set(files) >= {"predictions.csv", "attention.h5"}:
            files = [name for name in files if name != "attention.h5"]
        stores = [name for name in folders if suffix_of(name) == ".zarr"]
        folders[:] = [name for name in folders if name not in stores]
        for name in sorted(stores + files):
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                yield folder / name
    yield from closed


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
    if path.is_dir() and suffix_of(path) != ".zarr":
        raise FeatureError(f"the folder {path} may not be read", fix="ask for the right to, or move it elsewhere")
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
    return hasattr(type(item), "nchunks_initialized")  # asked of the array itself, zarr would count its chunks


def whole(array: Group, source: ZarrSource) -> Array:
    """The array, if all of its chunks are there: zarr would read those a killed run left out as zeros.

    Raises:
        FeatureError: chunks are missing, or claim to be larger than the files are.
    """
    if not is_array(array):
        raise FeatureError(f"{source.path.name} is damaged", found=f"{type(array).__name__} in the place of an array")
    require_believable(max(prod(array.shape), prod(array.chunks)) * array.dtype.itemsize, source.path)
    stored = _stored_chunks(array)
    if stored < array.nchunks:
        found = f"{stored} of {array.nchunks} chunks of {array.path}"
        raise FeatureError(f"{source.path.name} was never finished", found=found, fix="extract the slide again")
    return array


def _stored_chunks(array: Group) -> int:
    """How many chunks of an array are there.

    zarr counts all of a shard that has a file, also where a killed run left chunks of it out, or a full disk the whole
    file without bytes. They are known by their values: no chunk of features is the fill value from end to end.
    """
    if not getattr(array, "shards", None) or array.dtype.kind != "f":
        return array.nchunks_initialized
    corners = product(*(range(0, side, step) for side, step in zip(array.shape, array.chunks, strict=True)))
    chunks = (tuple(slice(at, at + step) for at, step in zip(corner, array.chunks, strict=True)) for corner in corners)
    return sum(bool(np.any(array[chunk] != array.fill_value)) for chunk in chunks)


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


# Torch files (.pt) as arrays: tensors, lists of them, or features with coordinates.

FEATURE_KEYS = ("features", "feats", "feat", "embeddings", "embedding", "x")
COORDS_KEYS = ("coords", "coordinates", "coord", "xy", "positions", "position", "locations")


def load_array(path: Path) -> np.ndarray:
    """The (tiles, dim) array in a torch file, as `load_arrays`."""
    return load_arrays(path)[0]


def load_arrays(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """The (tiles, dim) array in a torch file, and coordinates (tiles, 2) where it holds them too.

    It holds a tensor or NumPy array, a list with a tensor per tile, or features and coordinates (a dictionary, a pair).

    Raises:
        FeatureError: the file is damaged, asks to run code, or holds something else.
    """
    import torch

    if zipfile.is_zipfile(path):  # torch packs nothing, and would unpack what somebody else has packed
        with zipfile.ZipFile(path) as file:
            require_believable(sum(member.file_size for member in file.infolist()), path)
    try:
        with torch.serialization.safe_globals(_numpy_globals()):
            value = torch.load(path, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError as error:
        # Torch's own message recommends loading the file unsafely; only its reason is passed on.
        reason = next((line for line in str(error).splitlines() if "Unsupported" in line), "a damaged pickle")
        fix = "save the features as one tensor; files that run code when opened are never loaded"
        found = reason.split(" was not")[0].strip()
        raise FeatureError(f"{path.name} is not a plain array of features", found=found, fix=fix) from error
    pair = isinstance(value, list) and len(value) == 2 and list(map(_ndim, value)) == [2, 2]
    if isinstance(value, dict | tuple) or (pair and value[0].shape[1] != value[1].shape[1]):
        return _features_and_coords(path, value)
    return _array(path, value), None


def _ndim(value: object) -> int:
    return int(getattr(value, "ndim", 0))


def _features_and_coords(
    path: Path, held: dict[str, object] | Sequence[object]
) -> tuple[np.ndarray, np.ndarray | None]:
    """What is meant by its name, or else by its shape, where that leaves no doubt."""
    members = {
        str(name).lower(): value for name, value in (held.items() if isinstance(held, dict) else enumerate(held))
    }
    arrays = {name: _array(path, value) for name, value in members.items() if _ndim(value) in (2, 3)}
    arrays = {name: array[0] if array.ndim == 3 and len(array) == 1 else array for name, array in arrays.items()}
    coords = next((arrays[name] for name in COORDS_KEYS if name in arrays and arrays[name].shape[1:] == (2,)), None)
    named = [arrays[name] for name in FEATURE_KEYS if name in arrays]
    rest = [array for array in arrays.values() if array is not coords]
    if not named and coords is None and len(rest) == 2 and sorted(array.shape[-1] for array in rest)[0] == 2:
        coords = min(rest, key=lambda array: array.shape[-1])
        rest = [array for array in rest if array is not coords]
    found = named or rest
    if len(found) != 1 or (coords is not None and len(coords) != len(found[0])):
        shapes = ", ".join(f"{name} {tuple(getattr(value, 'shape', ()))}" for name, value in list(members.items())[:8])
        fix = f"save features (tiles, dim) as {FEATURE_KEYS[0]!r} and coordinates (tiles, 2) as {COORDS_KEYS[0]!r}"
        raise FeatureError(f"it is not known which part of {path.name} is the features", found=shapes, fix=fix)
    return found[0], coords


def _array(path: Path, value: object) -> np.ndarray:
    import torch

    if isinstance(value, list) and value and all(isinstance(row, torch.Tensor) for row in value):
        rows = [plain_tensor(row, path) for row in value]
        shapes = {tuple(row.shape) for row in rows}
        if len(shapes) > 1:
            raise FeatureError(f"the tiles of {path.name} have different dimensions", found=sorted(shapes))
        require_believable(sum(row.nbytes for row in rows), path)
        value = torch.stack(rows)
    if isinstance(value, torch.Tensor):
        return plain_tensor(value, path).numpy()
    if isinstance(value, np.ndarray):
        return value
    raise FeatureError(f"{path.name} does not hold one array of features", found=type(value).__name__)


def plain_tensor(value: "Tensor", path: Path) -> "Tensor":
    """A tensor as NumPy can hold it: without gradient, and in float32 where NumPy lacks its type.

    Raises:
        FeatureError: sparse, quantised, nested, complex or without values; or it claims more than the file can hold.
    """
    import torch

    kind = "nested" if value.is_nested else str(value.layout).removeprefix("torch.")
    kind = "quantised" if value.is_quantized else "complex" if value.is_complex() else kind
    if kind != "strided" or value.device.type != "cpu":
        found = f"a {kind} tensor" if kind != "strided" else f"a tensor on the device {value.device.type}"
        raise FeatureError(f"{path.name} is not a plain array of features", found=found, fix="save one dense tensor")
    require_believable(value.numel() * max(value.element_size(), 4), path)
    known = (torch.float16, torch.float32, torch.float64)
    return value.detach().float() if value.is_floating_point() and value.dtype not in known else value.detach()


def _numpy_globals() -> list:
    """What a pickled NumPy array names, under old and new module paths: only constructors of data."""
    rebuild = np.zeros(1).__reduce__()[0]
    dtypes = [type(np.dtype(name)) for name in ("float16", "float32", "float64", "int32", "int64")]
    old_and_new = [(rebuild, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")]
    return [np.ndarray, np.dtype, *dtypes, *old_and_new]
