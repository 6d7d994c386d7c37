"""Torch files: a tensor (CLAM `pt_files`) or NumPy array (TRIDENT) of (tiles, dim), coordinates beside."""

import pickle
from pathlib import Path

import h5py
import numpy as np

from asmil.bags.formats import _patches
from asmil.bags.formats._entry import Array, Entry
from asmil.bags.names import slide_name
from asmil.errors import FeatureError


class _Pt:
    suffixes = (".pt",)

    def sniff(self, source: Path) -> bool:
        return source.suffix == ".pt"

    def slides(self, source: Path) -> dict[str, Array | None]:
        return {slide_name(source.name): None}  # a pickled array has no shape before it is read

    def entry(self, source: Path, slide: str) -> Entry:
        features, coords, side = _load(source), None, None
        h5 = source.parent.parent / "h5_files" / f"{source.stem}.h5"
        if h5.is_file():
            with h5py.File(h5, "r", locking="best-effort") as file:
                coords = file["coords"][()] if "coords" in file else None
        if (beside := _patches.beside(source)) is not None:
            coords, side = (beside[0] if coords is None else coords), beside[1]
        return Entry(features, coords=coords, tile_level0_px=side)


def _load(path: Path) -> np.ndarray:
    """The array in a torch file, read without executing anything in it.

    Raises:
        FeatureError: the file is damaged, asks to run code, or holds something else than one array.
    """
    import torch

    try:
        with torch.serialization.safe_globals(_numpy_globals()):
            value = torch.load(path, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError as error:
        # Torch's own message recommends loading the file unsafely; only its reason is passed on.
        reason = next((line for line in str(error).splitlines() if "Unsupported" in line), "a damaged pickle")
        fix = "save the features as one tensor; files that run code when opened are never loaded"
        found = reason.split(" was not")[0].strip()
        raise FeatureError(f"{path.name} is not a plain array of features", found=found, fix=fix) from error
    except (RuntimeError, EOFError, OSError) as error:
        raise FeatureError(f"{path.name} cannot be read", found=error, fix="extract the slide again") from error
    if isinstance(value, torch.Tensor):
        return value.float().numpy() if value.dtype == torch.bfloat16 else value.numpy()
    if isinstance(value, np.ndarray):
        return value
    raise FeatureError(f"{path.name} does not hold one array of features", found=type(value).__name__)


def _numpy_globals() -> list:
    """What a pickled NumPy array names, under old and new module paths: only constructors of data."""
    rebuild = np.zeros(1).__reduce__()[0]
    dtypes = [type(np.dtype(name)) for name in ("float16", "float32", "float64")]
    old_and_new = [(rebuild, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")]
    return [np.ndarray, np.dtype, *dtypes, *old_and_new]


FORMAT = _Pt()
