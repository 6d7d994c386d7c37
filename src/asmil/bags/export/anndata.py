"""AnnData: <slide>.h5ad with X in float32, the middles of the tiles in obsm/spatial, and the facts in uns/asmil."""

from pathlib import Path

import h5py
import numpy as np

from asmil.bags.reading.slide_tiles import SlideTiles
from asmil.files import new_hdf5, safe_name

KIND, VERSION = "encoding-type", "encoding-version"


def write(tiles: SlideTiles, folder: Path) -> Path:
    """Write a slide's file below `folder`, in AnnData's layout of HDF5 (0.1.0; of arrays and tables 0.2.0).

    The middles are in level-0 pixels, as squidpy has them of spots.

    Raises:
        FeatureError: no coordinates in level-0 pixels, or the side of a tile is unknown.
    """
    corners, side = tiles.need("level0_xy"), float(tiles.fact("tile_level0_px"))
    facts = {"slide": tiles.slide, "encoder": tiles.info.encoder, "tile_level0_px": side, "tile_px": tiles.tile_px}
    facts |= {"mpp": tiles.mpp, "slide_mpp": tiles.slide_mpp}
    path = folder / f"{safe_name(tiles.slide)}.h5ad"
    with new_hdf5(path) as file:
        file.attrs.update({KIND: "anndata", VERSION: "0.1.0"})
        _array(file, "X", tiles.features.astype(np.float32))
        _table(file, "obs", count=len(corners), columns={"tile_id": np.arange(len(corners))})
        _table(file, "var", count=tiles.features.shape[1], columns={})
        for name in ("layers", "obsm", "obsp", "varm", "varp", "uns", "uns/asmil"):
            file.create_group(name).attrs.update({KIND: "dict", VERSION: "0.1.0"})
        _array(file, "obsm/spatial", corners + side / 2)
        for name, value in facts.items():
            if value is not None:
                kind = "string" if isinstance(value, str) else "numeric-scalar"
                _array(file, f"uns/asmil/{name}", value, kind=kind)
    return path


def _array(file: h5py.File, name: str, value: object, *, kind: str = "array") -> None:
    file[name] = value
    file[name].attrs.update({KIND: kind, VERSION: "0.2.0"})


def _table(file: h5py.File, name: str, *, count: int, columns: dict[str, np.ndarray]) -> None:
    """A table whose rows are called 0, 1, ..."""
    group = file.create_group(name)
    group.attrs.update({KIND: "dataframe", VERSION: "0.2.0", "_index": "_index"})
    group.attrs["column-order"] = np.array(list(columns), h5py.string_dtype())
    _array(
        file, f"{name}/_index", np.array([str(row) for row in range(count)], h5py.string_dtype()), kind="string-array"
    )
    for column, values in columns.items():
        _array(file, f"{name}/{column}", values)
