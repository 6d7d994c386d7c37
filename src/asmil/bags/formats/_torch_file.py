"""Arrays in torch files, read without executing anything in them."""

import pickle
from pathlib import Path

import numpy as np

from asmil.errors import FeatureError


def load_array(path: Path) -> np.ndarray:
    """The (tiles, dim) array in a torch file: a tensor, a NumPy array, or a list with a tensor per tile.

    Raises:
        FeatureError: the file is damaged, asks to run code, or holds something else.
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
    if isinstance(value, list) and value and all(isinstance(row, torch.Tensor) for row in value):
        shapes = {tuple(row.shape) for row in value}
        if len(shapes) > 1:
            raise FeatureError(f"the tiles of {path.name} have different dimensions", found=sorted(shapes))
        value = torch.stack(value)
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
