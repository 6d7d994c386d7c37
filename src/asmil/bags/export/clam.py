"""CLAM: h5_files/ and pt_files/ in float32, patches/ with the places of the tiles."""

from pathlib import Path

import numpy as np

from asmil.bags.reading.slide_tiles import SlideTiles, appendable
from asmil.files import new_hdf5, safe_name, written_beside
from asmil.units import whole


def write(tiles: SlideTiles, folder: Path) -> Path:
    """Write a slide's three files below `folder`; the path of the one in h5_files/.

    Raises:
        FeatureError: no coordinates in level-0 pixels, or the side of a tile is unknown.
    """
    import torch

    name, features = safe_name(tiles.slide), tiles.features.astype(np.float32)
    coords, side = tiles.need("level0_xy"), whole(tiles.fact("tile_level0_px"))
    size = [int(tiles.info.provenance.get(f"level0_{side}") or 0) for side in ("width", "height")]
    with new_hdf5(folder / "patches" / f"{name}.h5") as file:
        about = {"patch_size": side, "patch_level": 0, "downsample": np.ones(2), "name": tiles.slide}
        about |= {"level_dim": size, "downsampled_level_dim": size, "save_path": "patches"}
        appendable(file, "coords", data=coords, rows=32).attrs.update(about)
    # an open file: of a path torch writes the name into the file
    with written_beside(folder / "pt_files" / f"{name}.pt") as partial, partial.open("wb") as file:
        torch.save(torch.from_numpy(features), file)
    path = folder / "h5_files" / f"{name}.h5"
    with new_hdf5(path) as file:
        appendable(file, "features", data=features, rows=32)
        appendable(file, "coords", data=coords, rows=32)
    return path
