"""Where the arrays of a feature file lie in its bytes, so that reading a slide again needs no HDF5.

Opening an HDF5 file and its attributes takes longer than reading some hundred tiles, and a training with sampled tiles
reads every slide in every epoch.
"""

from dataclasses import dataclass, replace
from math import prod
from mmap import ACCESS_COPY, ALLOCATIONGRANULARITY, mmap
from pathlib import Path
from typing import TypeAlias

import h5py
import numpy as np

from asmil.bags.formats._entry import Array, Entry

Stamp: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class _Span:
    path: Path
    offset: int
    dtype: np.dtype
    shape: tuple[int, ...]

    def map(self, *, writeable: bool = False) -> np.ndarray:
        """The array in its file. What is written to it stays in memory.

        Without NumPy's memmap, which looks its file up by name several times: that takes as long as some 100 tiles.
        """
        start = self.offset % ALLOCATIONGRANULARITY
        length = start + self.dtype.itemsize * prod(self.shape)
        with self.path.open("rb") as file:
            memory = mmap(file.fileno(), length, access=ACCESS_COPY, offset=self.offset - start)
        array: np.ndarray = np.ndarray(self.shape, self.dtype, memory, start)
        array.flags.writeable = writeable
        return array


@dataclass(frozen=True)
class MappedEntry:
    """An entry without its arrays, and the spans of these in their files as they were when these were opened.

    `finite` is whether all of the features were read before and held no NaN or infinite values.
    """

    path: Path
    stamp: Stamp
    facts: Entry
    features: _Span
    coords: _Span | None
    finite: bool = False

    def entry(self, *, view: bool) -> Entry | None:
        """The entry with mapped arrays, or None where the file is no longer the same.

        Only as a `view` the features can be written to, and so only then `read_rows` gives them without a copy.
        """
        if stamp_of(self.path) != self.stamp:
            return None
        coords = self.facts.coords if self.coords is None else self.coords.map()
        return replace(self.facts, features=self.features.map(writeable=view), coords=coords)


def mapped(entry: Entry, path: Path, *, side: float | None) -> MappedEntry | None:
    """The spans of an entry, with the tile `side` that is known of it; None where an array is not in one piece.

    Coordinates that were read with the entry are kept with it.
    """
    features, coords, stamp = _span(entry.features), _span(entry.coords), stamp_of(path)
    kept = entry.coords if coords is None else None
    if features is None or stamp is None or not (kept is None or type(kept) is np.ndarray):
        return None
    facts = replace(entry, features=np.empty(0), coords=kept, tile_level0_px=side, provenance=dict)
    return MappedEntry(path, stamp, facts, features, coords)


def _span(array: Array | None) -> _Span | None:
    if isinstance(array, np.memmap) and isinstance(array.base, mmap) and array.flags.c_contiguous:
        return _Span(Path(str(array.filename)), array.offset, array.dtype, array.shape)
    if not isinstance(array, h5py.Dataset) or array.chunks is not None or array.external:
        return None
    offset = array.id.get_offset()
    return None if offset is None else _Span(Path(array.file.filename), offset, array.dtype, array.shape)


def stamp_of(path: Path) -> Stamp | None:
    """What a file's time, size and inode are: another stamp is another content. None where there is no file."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return (stat.st_mtime_ns, stat.st_size, stat.st_ino)
