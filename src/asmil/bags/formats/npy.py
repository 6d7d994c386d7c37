"""NumPy files of (tiles, dim): wsinfer-mil's cache, tiatoolbox's older pairs, torchmil's folders, any other array."""

import re
import zipfile
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from asmil.bags.formats import slide2vec
from asmil.bags.reading.entry import Array, Entry, attributes, modal_stride, number, require_array
from asmil.bags.reading.source import FACTS_FILE, facts_in, plain_array, stated_facts
from asmil.bags.tables import slide_name
from asmil.errors import FeatureError
from asmil.files import suffix_of

_COMPANION = re.compile(r"(\.index|\.position|[._]coords|\.coordinates)\.np[yz]$")
_TIATOOLBOX = re.compile(r"\.features\.[^.]+\.npy$")
_TORCHMIL = ("coords", "labels", "inst_labels", "patch_labels", "adj")
"""Folders beside `features/` in which torchmil keeps what else it knows of a bag, under the same name."""
_CACHE_FOLDER = re.compile(r"_md5-[0-9a-f]+$")


class _Npy:
    suffixes = (".npy", ".npz")

    def sniff(self, source: Path) -> bool:
        if _COMPANION.search(source.name) or _of_torchmil(source):
            return False
        return suffix_of(source) == ".npy" or (not slide2vec.FORMAT.sniff(source) and "features" in _members(source))

    def slides(self, source: Path) -> dict[str, Array | None]:
        if _TIATOOLBOX.search(source.name) and (source.parent / "file_map.dat").exists():
            fix = (
                "in the Python that wrote it, rename every <number>.position.npy and <number>.features.<head>.npy "
                "to the slide that joblib.load('file_map.dat') names, and remove file_map.dat"
            )
            what = f"the slide of {source.name} is only named by file_map.dat, a pickle, which is never loaded"
            raise FeatureError(what, fix=fix)
        return {_slide_of(source): _array(source)}

    def entry(self, source: Path, key: str) -> Entry:
        stated = stated_facts(source)
        entry = Entry(
            features=_array(source),
            tile_level0_px=number(stated, "tile_level0_px"),
            mpp=number(stated, "mpp"),
            encoder=stated.get("encoder"),
            provenance=lambda: stated,
        )
        if _in_cache(source):
            return _with_patches(entry, source)
        if _TIATOOLBOX.search(source.name):
            return _with_boxes(entry, source.with_name(_TIATOOLBOX.sub(".position.npy", source.name)))
        if suffix_of(source) == ".npz" and "coords" in _members(source):
            return replace(entry, coords=plain_array(source, member="coords"))
        if (coords := source.with_name(f"{source.stem}_coords.npy")).is_file():
            return replace(entry, coords=plain_array(coords))
        found = (folder.parent / "coords" / source.name for folder in source.parents[:2])
        beside = next((path for path in found if path.is_file()), None)
        return entry if beside is None else _with_torchmil(entry, beside)


def _members(source: Path) -> list[str]:
    with zipfile.ZipFile(source) as file:
        return [name.removesuffix(".npy") for name in file.namelist()]


def _array(source: Path) -> np.ndarray:
    return plain_array(source, mapped=True, member="features" if suffix_of(source) == ".npz" else "")


def _of_torchmil(source: Path) -> bool:
    """Whether an array lies in a folder of labels or places beside torchmil's features."""
    beside = source.parent.parent
    return source.parent.name in _TORCHMIL and any(path.is_dir() for path in beside.glob("features*"))


def _with_torchmil(entry: Entry, path: Path) -> Entry:
    """torchmil leaves it to the user whether coordinates count pixels or tiles: a step of one is that of tiles.

    What `asmil convert --to torchmil` writes says the side of a tile in a JSON file beside.
    """
    coords, facts = plain_array(path), facts_in(path.with_suffix(".json"))
    require_array(coords, path, kinds="iuf", what="coordinates")
    side = entry.tile_level0_px or number(facts, "tile_level0_px")
    known = replace(entry, tile_level0_px=side, mpp=entry.mpp or number(facts, "mpp"))
    known = replace(known, encoder=entry.encoder or facts.get("encoder"))
    if not facts and (coords.ndim != 2 or coords.shape[1] != 2 or modal_stride(coords) != 1):
        return replace(known, coords=coords, notes=("coords/ is taken as level-0 pixels",))
    if side is None:
        note = f"coords/ counts tiles, not pixels: state the side as tile_level0_px in {FACTS_FILE}"
        return replace(known, notes=(note,))
    return replace(known, coords=coords * side, notes=(f"coords/ counts tiles: times {side:g} px",))


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
