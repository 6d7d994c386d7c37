"""TRIDENT: `features` and `coords`, whose attributes hold `patch_size_level0`; an mpp only where we wrote it."""

import h5py

from asmil.bags.reading.entry import Array, Entry, attributes, number, patches_beside
from asmil.bags.tables import slide_name


class _Trident:
    suffixes = (".h5", ".hdf5")

    def sniff(self, source: h5py.File) -> bool:
        if "features" not in source or "format" in source.attrs:
            return False
        coords = source.get("coords")
        return "encoder" in source["features"].attrs or (coords is not None and "patch_size_level0" in coords.attrs)

    def slides(self, source: h5py.File) -> dict[str, Array | None]:
        return {slide_name(source.filename): source["features"]}

    def entry(self, source: h5py.File, key: str) -> Entry:
        coords = source.get("coords")
        facts = attributes(coords, source["features"])
        side = number(facts, "patch_size_level0")
        beside = patches_beside(source.filename) if coords is None else None
        if beside is not None:
            coords, side = beside
        return Entry(
            features=source["features"],
            coords=coords,
            tile_level0_px=side,
            mpp=number(facts, "mpp"),
            slide_mpp=number(facts, "slide_mpp"),
            encoder=facts.get("encoder"),
            provenance=lambda: facts,
        )


FORMAT = _Trident()
