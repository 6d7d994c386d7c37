"""TRIDENT: `features` and `coords`, whose attributes hold `patch_size_level0`; an mpp only where we wrote it."""

import h5py

from asmil.bags.reading.entry import Array, Entry, Facts, attributes, file_key, number, patches_beside, stored_side


class _Trident:
    suffixes = (".h5", ".hdf5")

    def sniff(self, source: h5py.File) -> bool:
        if not isinstance(source.get("features"), h5py.Dataset) or "format" in source.attrs:
            return False
        coords = source.get("coords")
        return "encoder" in source["features"].attrs or (coords is not None and "patch_size_level0" in coords.attrs)

    def slides(self, source: h5py.File) -> dict[str, Array | None]:
        return {file_key(source.filename, source["features"].attrs.get("encoder")): source["features"]}

    def entry(self, source: h5py.File, key: str) -> Entry:
        coords = source.get("coords")
        facts = attributes(coords, source["features"])
        side = stored_side(facts)
        beside = patches_beside(source.filename) if coords is None or side is None else None
        if beside is not None:
            coords, side = beside if coords is None else (coords, beside[1])
        return Entry(
            features=source["features"],
            coords=coords,
            tile_level0_px=side,
            mpp=number(facts, "mpp"),
            slide_mpp=number(facts, "slide_mpp"),
            encoder=facts.get("encoder"),
            provenance=lambda: facts | _tile_px(facts, side),
        )


def _tile_px(facts: Facts, side: float | None) -> Facts:
    """The side at the tiles' own scale: of raw2features's files, whose `patch_size` is that of level 0 again."""
    asked, own = number(facts, "target_magnification"), number(facts, "level0_magnification")
    if side and side == number(facts, "patch_size") and asked and own and asked != own:
        return {"tile_px": round(side * asked / own)}
    return {}


FORMAT = _Trident()
