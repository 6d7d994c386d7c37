"""Where the arrays of a feature file lie in its bytes, so that reading a slide again needs no HDF5.

Opening an HDF5 file and its attributes takes longer than reading some hundred tiles, and a training with sampled tiles
reads every slide in every epoch.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np

from asmil.bags.formats._entry import Array, Entry


@dataclass(frozen=True)
class _Span:
    offset: int
    dtype: np.dtype
    shape: tuple[int, ...]

    def map(self, path: Path) -> np.ndarray:
        return np.memmap(path, self.dtype, "r", offset=self.offset, shape=self.shape)


@dataclass(frozen=True)
class MappedEntry:
    """An entry without its arrays, and the spans of these in the file as it was when it was opened.

    `finite` is whether all of the features were read before and held no NaN or infinite values.
    """

    path: Path
    stamp: tuple[int, ...]
    facts: Entry
    features: _Span
    coords: _Span | None
    finite: bool = False

    def entry(self) -> Entry | None:
        """The entry with mapped arrays, or None where the file is no longer the same."""
        if _stamp(self.path) != self.stamp:
            return None
        coords = None if self.coords is None else self.coords.map(self.path)
        return replace(self.facts, features=self.features.map(self.path), coords=coords)


def mapped(entry: Entry, path: Path, *, side: float | None) -> MappedEntry | None:
    """The spans of an entry, with the tile `side` that is known of it; None where an array is not in one piece."""
    features, coords = _span(entry.features), _span(entry.coords)
    stamp = _stamp(path)
    if features is None or stamp is None or (coords is None and entry.coords is not None):
        return None
    facts = replace(entry, features=np.empty(0), coords=None, tile_level0_px=side, provenance=dict)
    return MappedEntry(path, stamp, facts, features, coords)


def _span(array: Array | None) -> _Span | None:
    if not isinstance(array, h5py.Dataset) or array.chunks is not None or array.external:
        return None
    offset = array.id.get_offset()
    return None if offset is None else _Span(offset, array.dtype, array.shape)


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return (stat.st_mtime_ns, stat.st_size, stat.st_ino)
