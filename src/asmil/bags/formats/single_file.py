"""ACMIL and the original ASMIL: one HDF5 for the whole cohort, a group per slide."""

import h5py

from asmil.bags.reading.entry import Array, Entry, attributes


class _SingleFile:
    suffixes = (".h5", ".hdf5")

    def sniff(self, source: h5py.File) -> bool:
        return len(source) > 0 and all(isinstance(item, h5py.Group) and "feat" in item for item in source.values())

    def slides(self, source: h5py.File) -> dict[str, Array | None]:
        return {name: group["feat"] for name, group in source.items()}

    def entry(self, source: h5py.File, key: str) -> Entry:
        group = source[key]
        facts = attributes(group, source)
        return Entry(group["feat"], coords=group.get("coords"), encoder=facts.get("encoder"), provenance=lambda: facts)


FORMAT = _SingleFile()
