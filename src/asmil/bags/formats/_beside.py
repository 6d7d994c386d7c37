"""What lies beside a feature file: arrays without pickles, and facts in JSON."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from asmil.errors import FeatureError

FACTS_FILE = "features.json"
"""Facts that a layout cannot hold, stated by the user for all files of a folder: mpp, tile_level0_px, encoder."""


def plain_array(path: Path, *, mapped: bool = False) -> np.ndarray:
    """The array of a .npy file, or the first of a .npz file; `mapped` leaves a .npy on disk.

    Raises:
        FeatureError: the file is damaged, or a pickle, which is never loaded.
    """
    try:
        value = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
        if isinstance(value, np.ndarray):
            return value
        with value:
            return value[value.files[0]]
    except (ValueError, OSError, EOFError, IndexError, zipfile.BadZipFile) as error:
        fix = "extract the slide again, or save the array without pickle"
        raise FeatureError(f"{path.name} cannot be read", found=error, fix=fix) from error


def facts_in(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty where there is no file.

    Raises:
        FeatureError: the file is not a JSON object.
    """
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise FeatureError(f"{path.name} is not JSON", found=error) from error
    if not isinstance(facts, dict):
        raise FeatureError(f"{path.name} is not a JSON object", found=type(facts).__name__)
    return facts


def stated_facts(path: Path) -> dict[str, Any]:
    """What the user stated of a feature file in `features.json` of its folder or of one of the two above."""
    return next((facts for folder in path.parents[:3] if (facts := facts_in(folder / FACTS_FILE))), {})
