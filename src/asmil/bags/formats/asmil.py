"""Our own files: `features`, `coords`, `tissue_fraction` and every fact about their making as attributes."""

import h5py

from asmil.bags.formats._entry import Array, Entry, attributes, number
from asmil.bags.names import slide_name


class _Asmil:
    suffixes = (".h5", ".hdf5")

    def sniff(self, source: h5py.File) -> bool:
        return attributes(source).get("format") == "asmil" and "features" in source

    def slides(self, source: h5py.File) -> dict[str, Array | None]:
        return {slide_name(source.filename): source["features"]}

    def entry(self, source: h5py.File, slide: str) -> Entry:
        coords = source.get("coords")
        facts = attributes(source, coords, source["features"])
        return Entry(
            features=source["features"],
            coords=coords,
            tile_level0_px=number(facts, "patch_size_level0"),
            mpp=number(facts, "mpp"),
            slide_mpp=number(facts, "slide_mpp"),
            encoder=facts.get("encoder"),
            provenance=facts,
        )


FORMAT = _Asmil()
