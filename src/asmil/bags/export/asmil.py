"""Our own files: contiguous float16, which every epoch reads many times faster than small chunks."""

import importlib.metadata
import json
from pathlib import Path

import h5py
import numpy as np

from asmil.bags.reading.slide_tiles import SlideTiles, half
from asmil.files import new_hdf5, safe_name
from asmil.units import whole

_SCALES = ("tile_px", "mpp", "slide_mpp")


def write(tiles: SlideTiles, folder: Path) -> Path:
    """Write a slide's file; coordinates stay in micrometres where nobody knows the scale of the slide.

    Raises:
        FeatureError: values too large for float16.
    """
    features, facts, per_tile = half(tiles), _facts(tiles), _per_tile(tiles)
    path = folder / f"{safe_name(tiles.slide)}.h5"
    with new_hdf5(path) as file:
        file["features"] = features
        if tiles.level0_xy is not None:
            file["coords"] = tiles.level0_xy.astype(np.int64)
        elif tiles.um_xy is not None:
            file["coords"] = tiles.um_xy
            facts |= {"unit": "um"} | ({"tile_size_um": tiles.tile_um} if tiles.tile_um else {})
        for holder in (file, *file.values()):
            holder.attrs.update(facts)
        for name, values in per_tile.items():
            file[name] = values
    return path


def _per_tile(tiles: SlideTiles) -> dict[str, np.ndarray]:
    """What our own files say of each tile beside its place: the share of tissue and the quality flags."""
    if tiles.info.format != "asmil":
        return {}
    with h5py.File(tiles.info.path) as file:
        names = ["tissue_fraction"] * ("tissue_fraction" in file) + [f"quality/{flag}" for flag in tiles.info.quality]
        return {name: file[name][()] for name in names}


def _facts(tiles: SlideTiles) -> dict[str, object]:
    """What our own files say anyway; of another tool's file, what it said, as JSON."""
    info = tiles.info
    if info.format == "asmil":
        return dict(info.provenance)
    facts: dict[str, object] = {
        "format": "asmil",
        "asmil_version": importlib.metadata.version("asmil"),
        "name": tiles.slide,
        "slide": tiles.slide,
        "encoder": tiles.encoder if info.encoder else "None",
        "settings": "{}",
        "converted_from": info.format,
        "notes": json.dumps(info.notes),
        "source_attributes": json.dumps(info.provenance, default=str),
    }
    facts |= {name: getattr(tiles, name) for name in _SCALES if getattr(tiles, name) is not None}
    if tiles.tile_px is not None:
        facts["patch_size"] = tiles.tile_px
    if tiles.overlap_px is not None:
        facts["overlap"] = tiles.overlap_px
    if tiles.tile_level0_px is not None:
        facts["patch_size_level0"] = whole(tiles.tile_level0_px)
    return facts
