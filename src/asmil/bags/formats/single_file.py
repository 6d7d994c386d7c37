"""ACMIL and the original ASMIL: one HDF5 for the whole cohort, a group per slide."""

import h5py

from asmil.bags.reading.entry import Array, Entry, attributes, stored_side


class _SingleFile:
    suffixes = (".h5", ".hdf5")

    def sniff(self, source: h5py.File) -> bool:
        return any(isinstance(item, h5py.Group) and "feat" in item for item in source.values())

    def slides(self, source: h5py.File) -> dict[str, Array | None]:
        # where one has no such array, that slide is named and the others are read
        return {name: source.get(f"{name}/feat", source) for name in source}

    def entry(self, source: h5py.File, key: str) -> Entry:
        group = source[key]
        facts = attributes(group, source)
        return Entry(
            features=group["feat"],
            coords=group.get("coords"),
            tile_level0_px=stored_side(facts),
            encoder=facts.get("encoder"),
            provenance=lambda: facts,
        )


FORMAT = _SingleFile()
