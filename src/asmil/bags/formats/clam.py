"""CLAM `h5_files`, mussel and any plain HDF5 with `features`; the tile side is stored, in `patches/`, or the grid's."""

from dataclasses import replace

import h5py
import numpy as np

from asmil.bags.formats import trident
from asmil.bags.reading.entry import (
    Array,
    Entry,
    Facts,
    attributes,
    file_key,
    number,
    patches_beside,
    stored_side,
)


class _Clam:
    suffixes = (".h5", ".hdf5")

    def sniff(self, source: h5py.File) -> bool:
        plain = isinstance(source.get("features"), h5py.Dataset) and source.attrs.get("format") != "asmil"
        return plain and not trident.FORMAT.sniff(source)

    def slides(self, source: h5py.File) -> dict[str, Array | None]:
        features = source["features"]
        return {file_key(source.filename, features.attrs.get("encoder")): None if _untyped(features) else features}

    def entry(self, source: h5py.File, key: str) -> Entry:
        features, coords = source["features"], source.get("coords")
        facts = attributes(source, features, coords)
        side = stored_side(facts)
        if side is None and (beside := patches_beside(source.filename)) is not None:
            coords, side = beside if coords is None else (coords, beside[1])
        entry = Entry(features, coords=coords, tile_level0_px=side, encoder=facts.get("encoder"))
        if _untyped(features):
            note = "elements of two bytes without a type, as mussel stores bfloat16, are read as float32"
            entry = replace(entry, features=_of_bfloat16(features), notes=(note,))
        if "native_mpp" in facts:  # mussel
            about = facts | {"tile_px": facts.get("patch_size_to_resize_to_for_desired_mpp")}
            return replace(_scaled(entry, facts), provenance=lambda: about)
        return replace(entry, provenance=lambda: facts)


def _scaled(entry: Entry, facts: Facts) -> Entry:
    """With the scales that mussel stores; where the slide has none it takes one, which is no fact."""
    if facts.get("mpp_is_fallback"):
        note = f"the slide states no scale, and mussel took {facts['native_mpp']}: mpp is not known"
        return replace(entry, notes=(*entry.notes, note))
    return replace(entry, mpp=number(facts, "mpp"), slide_mpp=number(facts, "native_mpp"))


def _untyped(features: h5py.Dataset) -> bool:
    return features.dtype.kind == "V" and features.dtype.itemsize == 2 and features.dtype.names is None


def _of_bfloat16(features: h5py.Dataset) -> np.ndarray:
    """The upper half of a float32 (little-endian, as h5py writes on all machines that torch runs on)."""
    return (np.asarray(features[()]).view("<u2").astype(np.uint32) << 16).view(np.float32)


FORMAT = _Clam()
