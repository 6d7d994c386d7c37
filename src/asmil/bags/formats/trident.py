"""TRIDENT: `features` and `coords`, whose attributes hold `patch_size_level0` but no mpp."""

import h5py

from asmil.bags.formats import _patches
from asmil.bags.formats._entry import Array, Entry, attributes, number
from asmil.bags.names import slide_name


class _Trident:
    suffixes = (".h5", ".hdf5")

    def sniff(self, source: h5py.File) -> bool:
        if "features" not in source or "format" in source.attrs:
            return False
        return "patch_size_level0" in attributes(source.get("coords")) or "encoder" in attributes(source["features"])

    def slides(self, source: h5py.File) -> dict[str, Array | None]:
        return {slide_name(source.filename): source["features"]}

    def entry(self, source: h5py.File, slide: str) -> Entry:
        coords = source.get("coords")
        facts = attributes(coords, source["features"])
        side = number(facts, "patch_size_level0")
        beside = _patches.beside(source.filename) if coords is None else None
        if beside is not None:
            coords, side = beside
        return Entry(
            features=source["features"],
            coords=coords,
            tile_level0_px=side,
            encoder=facts.get("encoder"),
            provenance=facts,
        )


FORMAT = _Trident()
