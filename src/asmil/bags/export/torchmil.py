"""torchmil: features/<slide>.npy in float32, coords/<slide>.npy in tiles, as its adjacency wants them."""

from pathlib import Path

import numpy as np

from asmil.bags.reading.slide_tiles import SlideTiles
from asmil.files import safe_name, write_json, written_beside


def write(tiles: SlideTiles, folder: Path) -> Path:
    """Write a slide's files below `folder`; the path of the one in features/.

    Places are in sides of a tile, (x, y): torchmil joins tiles less than 1.5 apart, whatever the unit. What makes
    pixels of them again lies beside as JSON, which torchmil does not look at.

    Raises:
        FeatureError: no coordinates in level-0 pixels, or the side of a tile is unknown.
    """
    name, side = safe_name(tiles.slide), float(tiles.fact("tile_level0_px"))
    facts = {"tile_level0_px": side, "mpp": tiles.mpp, "encoder": tiles.info.encoder}
    arrays: dict[str, np.ndarray] = {
        "coords": tiles.need("level0_xy") / side,
        "features": tiles.features.astype(np.float32),
    }
    write_json(folder / "coords" / f"{name}.json", {key: value for key, value in facts.items() if value is not None})
    for kind, array in arrays.items():
        path = folder / kind / f"{name}.npy"
        with written_beside(path) as partial:
            np.save(partial, array)
    return path
