"""wsi-toolbox: `<slide>.h5` with a group for each model, places in pixels of the level that was read."""

from dataclasses import replace
from pathlib import Path

import h5py

from asmil.bags.reading.entry import Array, Entry, attributes, number
from asmil.bags.tables import slide_name
from asmil.errors import FeatureError


class _WsiToolbox:
    suffixes = (".h5", ".hdf5")

    def sniff(self, source: h5py.File) -> bool:
        return bool(_models(source))

    def slides(self, source: h5py.File) -> dict[str, Array | None]:
        slide = slide_name(source.filename)
        return {f"{name}/{slide}": source[name]["features"] for name in _models(source)}

    def entry(self, source: h5py.File, key: str) -> Entry:
        name = key.partition("/")[0]
        group = source[name]
        facts = attributes(group)
        if group["features"].attrs.get("writing"):
            fix = "extract the slide again"
            raise FeatureError(f"{Path(source.filename).name} was never finished", found=f"{name}: writing", fix=fix)
        mpp, side = number(facts, "mpp"), number(facts, "patch_size")
        entry = Entry(
            features=group["features"],
            mpp=mpp,  # of the level that was read, of which tiles are cut as they are
            tile_um=side * mpp if side and mpp else None,
            encoder=facts.get("preset") if facts.get("output", "cls") == "cls" else name,
            provenance=lambda: facts | {"tile_px": side},
        )
        if facts.get("level_used") == 0:
            return replace(entry, coords=group["coordinates"], tile_level0_px=side, slide_mpp=mpp)
        if mpp is None:
            note = "places are pixels of the level that was read, whose scale is not stored: no coordinates"
            return replace(entry, notes=(note,))
        return replace(entry, coords=group["coordinates"], um_per_unit=mpp)


def _models(source: h5py.File) -> list[str]:
    arrays = ("features", "coordinates")
    groups = [name for name, item in source.items() if isinstance(item, h5py.Group)]
    return [name for name in groups if all(isinstance(source[name].get(array), h5py.Dataset) for array in arrays)]


FORMAT = _WsiToolbox()
