"""AtlasPatch: `patches/<slide>.h5` with a data set for each encoder in `features`, and `coords` of five columns."""

from pathlib import Path

import h5py

from asmil.bags.reading.entry import Array, Entry, attributes, read_rows, require_array, stored_side
from asmil.bags.tables import slide_name
from asmil.errors import FeatureError


class _AtlasPatch:
    suffixes = (".h5", ".hdf5")

    def sniff(self, source: h5py.File) -> bool:
        return isinstance(source.get("features"), h5py.Group) and "coords" in source

    def slides(self, source: h5py.File) -> dict[str, Array | None]:
        if len(source["features"]) == 0:  # an open group is true, whatever it holds
            fix = "embed it first: the file holds places of tiles alone"
            raise FeatureError(f"{Path(source.filename).name} holds no features", found="an empty group", fix=fix)
        slide = slide_name(source.filename)
        return {f"{encoder}/{slide}": array for encoder, array in source["features"].items()}

    def entry(self, source: h5py.File, key: str) -> Entry:
        encoder = key.partition("/")[0]
        coords, facts = source["coords"], attributes(source, source["coords"])
        require_array(coords, Path(source.filename), kinds="iu", what="coordinates")
        return Entry(
            features=source["features"][encoder],
            coords=read_rows(coords)[:, :2],  # then width, height and level of what was read; x, y are of level 0
            tile_level0_px=stored_side(facts),
            encoder=encoder,
            provenance=lambda: facts | {"tile_px": facts.get("patch_size")},
        )


FORMAT = _AtlasPatch()
