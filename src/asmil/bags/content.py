"""What the features of a slide were, told in a megabyte of reading: enough to notice that they changed later."""

import pickle
from dataclasses import dataclass
from hashlib import blake2b
from math import ceil
from pathlib import Path

import h5py
import numpy as np

from asmil.bags.reading.entry import Array, Entry
from asmil.bags.reading.places import Place

ROWS, MOST_BYTES = 32, 1 << 20
"""Rows that are looked at, and bytes that are read at most; of a zarr array two rows, however large its chunks."""
BLOCKS, BLOCK_BYTES = 16, 1 << 16


@dataclass(frozen=True)
class BagContent:
    """A slide's file, its tiles (as they are stored), width, and a digest of some rows, the first and last among them.

    The digest sees another encoder, other weights, another stain, other tiles, another order of tiles and another type
    of number. It does not see a change that leaves all of the rows that it looks at as they are, nor coordinates. Of
    HDF5 chunks so large that a row costs more than a megabyte it takes bytes as they are stored: there it also sees
    that a file was compressed anew.
    """

    file: str
    tiles: int
    width: int
    digest: str


def content_of(place: Place) -> BagContent:
    """The content of the features at a place.

    Raises:
        FeatureError: the file is damaged.
    """
    if place.path.suffix == ".pt" and (mapped := _mapped_tensor(place.path)) is not None:
        return _content(place, Entry(mapped))
    with place.entry() as entry:
        return _content(place, entry)


def _content(place: Place, entry: Entry) -> BagContent:
    tiles, width = entry.features.shape[-2:]
    digest = blake2b(f"{tiles} {width} {entry.features.dtype}".encode(), digest_size=16)
    if entry.keep is not None:
        digest.update(np.asarray(entry.keep).tobytes())
    count = min(tiles, ROWS, MOST_BYTES // _row_bytes(entry.features))
    if count < 2 <= tiles and isinstance(entry.features, h5py.Dataset):
        for block in _stored_blocks(entry.features):
            digest.update(block)
    else:
        rows = np.unique(np.linspace(0, tiles - 1, max(count, 2)).round().astype(np.int64))
        digest.update(_rows(entry.features, rows).tobytes())
    return BagContent(place.path.name, int(tiles), int(width), digest.hexdigest())


def _row_bytes(array: Array) -> int:
    """What is read of a file for one row: it, or the chunks that it lies in."""
    width, chunks = array.shape[-1], getattr(array, "chunks", None)
    if not chunks:
        return max(1, width * array.dtype.itemsize)
    return ceil(width / chunks[-1]) * chunks[-1] * chunks[-2] * array.dtype.itemsize


def _rows(array: Array, rows: np.ndarray) -> np.ndarray:
    """Rows in rising order, of a (tiles, n) or (1, tiles, n) array."""
    if isinstance(array, np.ndarray | h5py.Dataset):
        return np.asarray(array[0, rows] if array.ndim == 3 else array[rows])
    index = (0, rows) if array.ndim == 3 else (rows,)
    return np.asarray(array.get_orthogonal_selection((*index, slice(None))))


def _stored_blocks(dataset: h5py.Dataset) -> list[bytes]:
    """The two ends of some of the chunks, as they are stored."""
    chunks, blocks = dataset.id.get_num_chunks(), []
    with open(dataset.file.filename, "rb") as file:
        for index in np.unique(np.linspace(0, chunks - 1, min(chunks, BLOCKS)).round().astype(int)):
            info = dataset.id.get_chunk_info(int(index))
            for offset in (0, max(0, info.size - BLOCK_BYTES // 2)):
                file.seek(info.byte_offset + offset)
                blocks.append(file.read(min(info.size, BLOCK_BYTES // 2)))
    return blocks


def _mapped_tensor(path: Path) -> np.ndarray | None:
    """A torch file that is one tensor, mapped; None for anything else, which is read whole."""
    import torch

    try:
        value = torch.load(path, mmap=True, weights_only=True, map_location="cpu")
    except (RuntimeError, ValueError, OSError, EOFError, pickle.UnpicklingError):
        return None
    if not isinstance(value, torch.Tensor) or value.layout != torch.strided or value.ndim < 2 or value.is_quantized:
        return None
    value = value.detach()
    return (value.view(torch.int16) if value.dtype == torch.bfloat16 else value).numpy()
