"""Our own files: `features`, `coords`, `tissue_fraction`, `quality/` and the facts of their making as attributes."""

from dataclasses import replace
from functools import partial

import h5py

from asmil.bags.reading.entry import Array, Entry, attributes, number
from asmil.bags.tables import slide_name


class _Asmil:
    suffixes = (".h5", ".hdf5")

    def sniff(self, source: h5py.File) -> bool:
        return source.attrs.get("format") == "asmil" and "features" in source

    def slides(self, source: h5py.File) -> dict[str, Array | None]:
        return {slide_name(source.filename): source["features"]}

    def entry(self, source: h5py.File, key: str) -> Entry:
        features, coords, facts = source["features"], source.get("coords"), source.attrs
        encoder = facts.get("encoder")
        entry = Entry(
            features=features,
            coords=coords,
            tile_level0_px=number(facts, "patch_size_level0"),
            mpp=number(facts, "mpp"),
            slide_mpp=number(facts, "slide_mpp"),
            encoder=None if encoder == "None" else encoder,
            quality=tuple(source.get("quality", ())),
            provenance=partial(attributes, source, coords, features),
        )
        # Files converted from micrometres whose slide scale nobody knew stay in micrometres.
        if facts.get("unit") == "um":
            return replace(entry, um_per_unit=1.0, tile_um=number(facts, "tile_size_um"))
        return entry


FORMAT = _Asmil()
