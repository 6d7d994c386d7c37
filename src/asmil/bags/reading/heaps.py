"""Texts in HDF5 files are kept in heaps, over some damaged ones of which its library (2.0.0) never ends.

No signal and no other thread gets in between, so a heap that is not as the format says is tried in another process.
"""

import mmap
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from asmil.bags.reading.entry import AGAIN
from asmil.errors import FeatureError

_MAGIC, _HEAD, _VERSION = b"GCOL", 16, 1
_LOOKED_AT = 1 << 18
"""Bytes at the start and at the end of a file, where texts lie that were written before and after the features."""

_SECONDS = 20
_TRY = """
import resource, sys
import h5py
def read(name, item):
    for key in item.attrs:
        item.attrs[key]
    if isinstance(item, h5py.Dataset) and (h5py.check_vlen_dtype(item.dtype) or h5py.check_string_dtype(item.dtype)):
        item[()]
used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
resource.setrlimit(resource.RLIMIT_CPU, (int(used) + 2, int(used) + 2))
with h5py.File(sys.argv[1]) as file:
    read("/", file)
    file.visititems(read)
"""


def require_readable_texts(path: Path) -> None:
    """Check that the texts of an HDF5 file can be read in bounded time: its first and last 256 KiB are looked at.

    Raises:
        FeatureError: reading them does not end.
    """
    if all(_as_written(heap) for heap in _heaps(path)):
        return
    try:
        ended = subprocess.run([sys.executable, "-c", _TRY, str(path)], capture_output=True, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        ended = None
    if ended is None or ended.returncode < 0:  # of its limit; what it raises is raised again by who reads the file
        raise FeatureError(f"{path.name} is damaged", found="texts that HDF5 reads without end", fix=AGAIN)


def _heaps(path: Path) -> Iterator[bytes]:
    """The global heap collections that begin in the parts looked at."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        parts = [(0, min(_LOOKED_AT, len(data))), (max(len(data) - _LOOKED_AT, _LOOKED_AT), len(data))]
        for start, end in parts:
            at = data.find(_MAGIC, start, end)
            while at >= 0:
                size = int.from_bytes(data[at + 8 : at + _HEAD], "little")
                yield data[at : min(at + max(size, _HEAD), at + _LOOKED_AT)]
                at = data.find(_MAGIC, at + 4, end)


def _as_written(heap: bytes) -> bool:
    """Whether the objects of a collection follow each other to its end (HDF5 file format specification, III.E)."""
    if len(heap) != int.from_bytes(heap[8:_HEAD], "little") or heap[4] != _VERSION:
        return False
    at = _HEAD
    while len(heap) - at >= _HEAD:
        number, size = int.from_bytes(heap[at : at + 2], "little"), int.from_bytes(heap[at + 8 : at + 16], "little")
        if number == 0:  # the rest is free
            return size == len(heap) - at
        at += _HEAD + (size + 7) // 8 * 8
    return True
