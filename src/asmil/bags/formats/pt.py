"""Torch files: a tensor (CLAM `pt_files`) or NumPy array (TRIDENT) of (tiles, dim), coordinates with it or beside."""

from pathlib import Path

import h5py

from asmil.bags.formats import eva, slide2vec, slideflow
from asmil.bags.reading.entry import Array, Entry, patches_beside, require_array
from asmil.bags.reading.source import load_arrays
from asmil.bags.tables import slide_name


class _Pt:
    suffixes = (".pt",)

    def sniff(self, source: Path) -> bool:
        return not any(format.FORMAT.sniff(source) for format in (slideflow, eva, slide2vec))

    def slides(self, source: Path) -> dict[str, Array | None]:
        return {slide_name(source.name): None}  # a pickled array has no shape before it is read

    def entry(self, source: Path, key: str) -> Entry:
        (features, coords), side = load_arrays(source), None
        h5 = source.parent.parent / "h5_files" / f"{source.stem}.h5"
        if coords is None and h5.is_file():
            with h5py.File(h5, "r", locking="best-effort") as file:
                if (coords := file.get("coords")) is not None:
                    require_array(coords, h5, kinds="iuf", what="coordinates")
                    coords = coords[()]
        if (beside := patches_beside(source)) is not None:
            coords, side = (beside[0] if coords is None else coords), beside[1]
        return Entry(features, coords=coords, tile_level0_px=side)


FORMAT = _Pt()
