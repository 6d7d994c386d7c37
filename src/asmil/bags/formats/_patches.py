"""Coordinate files (`patches/<slide>.h5`) that CLAM and TRIDENT keep beside the features."""

from pathlib import Path

import h5py
import numpy as np

from asmil.bags.formats._entry import attributes, number


def find_patches(feature_path: Path) -> Path | None:
    """The coordinate file of a feature file, in `patches/` of one of the three folders above it, or None."""
    for folder in feature_path.parents[:3]:
        for name in (f"{feature_path.stem}_patches.h5", f"{feature_path.stem}.h5"):
            if (candidate := folder / "patches" / name).is_file() and candidate != feature_path:
                return candidate
    return None


def beside(feature_file: str | Path) -> tuple[np.ndarray, float | None] | None:
    """What `read_patches` gives for the coordinate file of a feature file; None where there is none."""
    path = find_patches(Path(feature_file))
    return None if path is None else read_patches(path)


def read_patches(path: Path) -> tuple[np.ndarray, float | None]:
    """Top-left corners in level-0 pixels (tiles, 2), and the tile side in level-0 pixels.

    TRIDENT stores the side. CLAM stores it in pixels of `patch_level`, so it is multiplied by that level's
    downsample, and by `custom_downsample` in its older files.
    """
    with h5py.File(path, "r", locking="best-effort") as file:
        facts = attributes(file["coords"])
        side = number(facts, "patch_size_level0")
        if side is None and (patch_px := number(facts, "patch_size")) is not None:
            level = int(number(facts, "patch_level") or 0)
            if level == 0 or "downsample" in facts:
                side = patch_px * (number(facts, "downsample") or 1.0) * (number(facts, "custom_downsample") or 1.0)
        return file["coords"][()], side
