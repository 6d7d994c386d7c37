"""STAMP: `feats` (or foreign `patch_embeddings`), coordinates in micrometres, slide scale unknown."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from asmil.bags.reading.entry import (
    Array,
    Entry,
    attributes,
    file_key,
    modal_stride,
    number,
    require_array,
    slide_level,
    stored_side,
)
from asmil.errors import FeatureError

HISTORIC_TILE_PX, HISTORIC_TILE_UM = 224.0, 256.0
"""Before units were stored, coordinates counted pixels of tiles 224 px wide that covered 256 um."""


class _Stamp:
    suffixes = (".h5", ".hdf5")

    def sniff(self, source: h5py.File) -> bool:
        return "feats" in source or "patch_embeddings" in source

    def slides(self, source: h5py.File) -> dict[str, Array | None]:
        if (kind := attributes(source).get("feat_type", "tile")) in ("slide", "patient"):
            raise slide_level(Path(source.filename), f"feat_type {kind!r}")
        return {file_key(source.filename, source.attrs.get("extractor")): _features(source)}

    def entry(self, source: h5py.File, key: str) -> Entry:
        facts, coords = attributes(source), source.get("coords")
        augmented = np.zeros(1, bool)
        if "augmented" in source:
            require_array(source["augmented"], Path(source.filename), kinds="b", what="marks of augmented tiles")
            augmented = source["augmented"][()]
            if augmented.shape != (count := _features(source).shape[-2],):  # fewer would leave the others out
                found = f"{augmented.shape} of {count} tiles"
                raise FeatureError(
                    f"{Path(source.filename).name}: its marks of augmented tiles do not fit", found=found
                )
        entry = Entry(
            features=_features(source),
            coords=coords,
            encoder=facts.get("extractor") or facts.get("encoder"),
            keep=np.flatnonzero(~augmented) if augmented.any() else None,
            provenance=lambda: facts,
        )
        if coords is None:
            return entry
        tile_um, tile_px = number(facts, "tile_size_um", "tile_size"), number(facts, "tile_size_px")
        if facts.get("unit") == "um" or "tile_size_um" in facts:
            mpp = tile_um / tile_px if tile_um and tile_px else None
            return replace(entry, um_per_unit=1.0, tile_um=tile_um, mpp=mpp)
        require_array(coords, Path(source.filename), kinds="iuf", what="coordinates")
        if modal_stride(coords[()]) == HISTORIC_TILE_PX:
            note = "no unit stored; a step of 224 is read as the historic STAMP grid: 224 units are 256 um"
            scale = HISTORIC_TILE_UM / HISTORIC_TILE_PX
            return replace(entry, um_per_unit=scale, tile_um=HISTORIC_TILE_UM, mpp=scale, notes=(note,))
        note = "no unit stored; coordinates are taken as level-0 pixels"
        return replace(entry, tile_level0_px=stored_side(facts | attributes(coords)), notes=(note,))


def _features(source: h5py.File) -> h5py.Dataset:
    return source["feats"] if "feats" in source else source["patch_embeddings"]


FORMAT = _Stamp()
