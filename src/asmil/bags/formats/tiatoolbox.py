"""tiatoolbox: zarr `features` and `coordinates` (x0, y0, x1, y1) at a resolution that is not stored."""

from dataclasses import replace

import numpy as np

from asmil.bags.reading.entry import Array, Entry, number
from asmil.bags.reading.source import FACTS_FILE, ZarrSource, is_array, member, stated_facts, whole
from asmil.bags.tables import slide_name
from asmil.errors import FeatureError


class _Tiatoolbox:
    suffixes = (".zarr", ".zip")

    def sniff(self, source: ZarrSource) -> bool:
        return "features" in source.group or {"canvas", "count"} <= set(source.group)

    def slides(self, source: ZarrSource) -> dict[str, Array | None]:
        features = member(source.group, "features")
        if not is_array(features):
            fix = "it is the cache of a run that did not end: extract the slide again"
            raise FeatureError(f"{source.path.name} holds no features", found="canvas and count", fix=fix)
        return {slide_name(source.file_name): features}

    def entry(self, source: ZarrSource, key: str) -> Entry:
        stated = stated_facts(source.path)
        entry = Entry(
            features=whole(source.group["features"], source),
            encoder=stated.get("encoder"),
            provenance=lambda: dict(source.group.attrs) | stated,
        )
        boxes = member(source.group, "coordinates")
        if boxes is None:
            return entry
        mpp = number(stated, "mpp")
        if mpp is None:
            note = f"coordinates are at the resolution asked of tiatoolbox; state it as mpp in {FACTS_FILE} beside"
            return replace(entry, notes=(note,))
        corners = np.asarray(whole(boxes, source)[()])
        sides = np.unique(corners[:, 2:] - corners[:, :2])
        side = float(sides[0]) if len(sides) == 1 else None
        return replace(
            entry, coords=corners[:, :2], um_per_unit=mpp, mpp=mpp, tile_um=None if side is None else side * mpp
        )


FORMAT = _Tiatoolbox()
