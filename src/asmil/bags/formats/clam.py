"""CLAM `h5_files` and any plain HDF5 with `features`; the tile side comes from `patches/` or the grid."""

import h5py

from asmil.bags.formats import trident
from asmil.bags.reading.entry import Array, Entry, attributes, number, patches_beside
from asmil.bags.tables import slide_name


class _Clam:
    suffixes = (".h5", ".hdf5")

    def sniff(self, source: h5py.File) -> bool:
        plain = isinstance(source.get("features"), h5py.Dataset) and source.attrs.get("format") != "asmil"
        return plain and not trident.FORMAT.sniff(source)

    def slides(self, source: h5py.File) -> dict[str, Array | None]:
        return {slide_name(source.filename): source["features"]}

    def entry(self, source: h5py.File, key: str) -> Entry:
        coords = source.get("coords")
        facts = attributes(source, source["features"], coords)
        side = number(facts, "patch_size_level0")
        if side is None and (beside := patches_beside(source.filename)) is not None:
            coords, side = beside if coords is None else (coords, beside[1])
        return Entry(
            features=source["features"],
            coords=coords,
            tile_level0_px=side,
            encoder=facts.get("encoder"),
            provenance=lambda: facts,
        )


FORMAT = _Clam()
