"""STAMP: <extractor>/<slide>.h5 with float16 `feats` and places in micrometres."""

import importlib.metadata
from pathlib import Path

import numpy as np

from asmil.bags.reading.slide_tiles import SlideTiles, half
from asmil.files import new_hdf5, safe_name

_LAYOUT = "2.3.0"
"""The version of STAMP whose layout this is; its reader compares it with its own."""


def write(tiles: SlideTiles, folder: Path) -> Path:
    """Write a slide's file below `folder`.

    Raises:
        FeatureError: no coordinates in micrometres, the side of a tile is unknown, or values too large for float16.
    """
    features, coords = half(tiles), tiles.need("um_xy").astype(np.float32)
    facts = {
        "stamp_version": _LAYOUT,
        "extractor": tiles.encoder,
        "unit": "um",
        "tile_size_um": float(tiles.fact("tile_um")),
        "tile_size_px": int(tiles.fact("tile_px")),
        "code_hash": "asmil",
        "feat_type": "tile",
        "converted_by": f"asmil {importlib.metadata.version('asmil')}",
    }
    path = folder / safe_name(tiles.encoder) / f"{safe_name(tiles.slide)}.h5"
    with new_hdf5(path) as file:
        file["feats"], file["coords"] = features, coords
        file.attrs.update(facts)
    return path
