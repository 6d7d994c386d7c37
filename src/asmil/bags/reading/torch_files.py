"""Torch files (.pt) as arrays: tensors, lists of them, or features with coordinates; nothing in them is run."""

import pickle
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from asmil.bags.reading.entry import require_believable
from asmil.errors import FeatureError

if TYPE_CHECKING:
    from torch import Tensor

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
