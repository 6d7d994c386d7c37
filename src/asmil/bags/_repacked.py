"""Copies of features in one piece, for files whose features are stored in chunks or packed."""

from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

import numpy as np

from asmil.bags._mapped import stamp_of
from asmil.bags.formats._entry import Entry, read_rows
from asmil.files import written_beside


def repacked(entry: Entry, path: Path, *, folder: Path, key: str) -> Entry:
    """The entry with mapped arrays of a copy in `folder`, made where it is not there: .npy files, types as stored.

    A copy is named by its source's path, time, size and inode; copies of what the source was before are removed.
    """
    source, now = _short(str(path.resolve()), key), _short(str(stamp_of(path)))
    arrays: dict[str, np.ndarray | None] = {}
    for name, array in (("features", entry.features), ("coords", entry.coords)):
        copy = folder / f"{source}.{now}.{name}.npy"
        if array is not None and not copy.exists():
            for old in folder.glob(f"{source}.*.{name}.npy"):
                old.unlink(missing_ok=True)
            with written_beside(copy) as partial:
                np.save(partial, read_rows(array, entry.keep))
        arrays[name] = None if array is None else np.load(copy, mmap_mode="r")
    return replace(entry, features=arrays["features"], coords=arrays["coords"], keep=None)


def _short(*texts: str) -> str:
    return blake2b("\n".join(texts).encode(), digest_size=8).hexdigest()
