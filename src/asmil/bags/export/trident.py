"""TRIDENT: <magnification>x_<px>px_<overlap>px_overlap/features_<encoder>/ in float32, and patches/."""

from pathlib import Path

import numpy as np

from asmil.bags.reading.slide_tiles import SlideTiles, appendable
from asmil.files import new_hdf5, safe_name
from asmil.units import mpp_of_objective, whole


def write(tiles: SlideTiles, folder: Path) -> Path:
    """Write a slide's features and patches below `folder`; the path of the features.

    The scales `mpp` and `slide_mpp`, which TRIDENT does not store, are further attributes of the coordinates.

    Raises:
        FeatureError: no coordinates in level-0 pixels, or the side or scale of a tile is unknown.
    """
    coords, about = tiles.need("level0_xy"), _attributes(tiles)
    scale = f"{about['target_magnification']:g}x_{about['patch_size']}px_{about['overlap']}px_overlap"
    name, folder = safe_name(tiles.slide), folder / scale
    path = folder / f"features_{safe_name(tiles.encoder)}" / f"{name}.h5"
    with new_hdf5(folder / "patches" / f"{name}_patches.h5") as file:
        appendable(file, "coords", data=coords, rows=1).attrs.update(about | {"savetodir": "patches"})
    with new_hdf5(path) as file:
        own = {"name": tiles.slide, "savetodir": path.parent.name, "encoder": tiles.encoder}
        features = tiles.features.astype(np.float32)
        appendable(file, "features", data=features, rows=1).attrs.update(own)
        appendable(file, "coords", data=coords, rows=1).attrs.update(about | {"savetodir": path.parent.name})
    return path


def _attributes(tiles: SlideTiles) -> dict[str, object]:
    side, mpp = tiles.fact("tile_level0_px"), tiles.fact("mpp")
    tile_px = int(tiles.fact("tile_px"))
    slide_mpp = tiles.slide_mpp or mpp * tile_px / side
    facts = tiles.info.provenance
    return {
        "patch_size": tile_px,
        "patch_size_level0": whole(side),
        "level0_magnification": whole(mpp_of_objective(1) / slide_mpp),
        "target_magnification": whole(mpp_of_objective(1) / mpp),
        "overlap": tiles.overlap_px or 0,
        "name": tiles.slide,
        "level0_width": facts.get("level0_width") or "None",
        "level0_height": facts.get("level0_height") or "None",
        "mpp": mpp,
        "slide_mpp": slide_mpp,
    }
