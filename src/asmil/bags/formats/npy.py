"""NumPy files of (tiles, dim): wsinfer-mil's cache, tiatoolbox's older pairs, and any other array."""

import re
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from asmil.bags.reading.entry import Array, Entry, attributes, number, require_array
from asmil.bags.reading.source import FACTS_FILE, plain_array, stated_facts
from asmil.bags.tables import slide_name
from asmil.errors import FeatureError

_COMPANION = re.compile(r"(\.index|\.position|_coords)\.npy$")
_TIATOOLBOX = re.compile(r"\.features\.[^.]+\.npy$")
_CACHE_FOLDER = re.compile(r"_md5-[0-9a-f]+$")


class _Npy:
    suffixes = (".npy",)

    def sniff(self, source: Path) -> bool:
        return not _COMPANION.search(source.name)

    def slides(self, source: Path) -> dict[str, Array | None]:
        if _TIATOOLBOX.search(source.name) and (source.parent / "file_map.dat").exists():
            fix = (
                "in the Python that wrote it, rename every <number>.position.npy and <number>.features.<head>.npy "
                "to the slide that joblib.load('file_map.dat') names, and remove file_map.dat"
            )
            what = f"the slide of {source.name} is only named by file_map.dat, a pickle, which is never loaded"
            raise FeatureError(what, fix=fix)
        return {_slide_of(source): plain_array(source, mapped=True)}

    def entry(self, source: Path, key: str) -> Entry:
        stated = stated_facts(source)
        entry = Entry(
            features=plain_array(source, mapped=True),
            tile_level0_px=number(stated, "tile_level0_px"),
            mpp=number(stated, "mpp"),
            encoder=stated.get("encoder"),
            provenance=lambda: stated,
        )
        if _in_cache(source):
            return _with_patches(entry, source)
        if _TIATOOLBOX.search(source.name):
            return _with_boxes(entry, source.with_name(_TIATOOLBOX.sub(".position.npy", source.name)))
        coords = source.with_name(f"{source.stem}_coords.npy")
        return replace(entry, coords=plain_array(coords)) if coords.is_file() else entry


def _in_cache(source: Path) -> bool:
    """Whether a file lies in wsinfer-mil's cache: `<slide>_md5-<hash>/<encoder>.npy` beside `patches.h5`."""
    return bool(_CACHE_FOLDER.search(source.parent.name)) and (source.parent / "patches.h5").is_file()


def _slide_of(source: Path) -> str:
    if _in_cache(source):
        return slide_name(_CACHE_FOLDER.sub("", source.parent.name))
    return slide_name(_TIATOOLBOX.sub("", source.name))


def _with_patches(entry: Entry, source: Path) -> Entry:
    with h5py.File(source.parent / "patches.h5", "r", locking="best-effort") as file:
        require_array(file["coords"], Path(file.filename), kinds="iuf", what="coordinates")
        facts, coords = attributes(file["coords"]), file["coords"][()]
    side, tile_um = number(facts, "patch_size_px"), number(facts, "patch_size_um")
    return replace(
        entry,
        coords=coords,
        tile_level0_px=side,
        tile_um=tile_um,
        slide_mpp=tile_um / side if tile_um and side else None,
        encoder=source.stem,
        provenance=lambda: facts,
    )


def _with_boxes(entry: Entry, position: Path) -> Entry:
    """Boxes (x0, y0, x1, y1) are at the resolution that was asked for, which only the user knows."""
    if not position.is_file() or entry.mpp is None:
        note = f"coordinates need {position.name}, and the resolution as mpp in {FACTS_FILE} beside"
        return replace(entry, notes=(note,))
    boxes = plain_array(position)
    side = float(np.median(boxes[:, 2] - boxes[:, 0]))
    return replace(entry, coords=boxes[:, :2], um_per_unit=entry.mpp, tile_um=side * entry.mpp)


FORMAT = _Npy()
