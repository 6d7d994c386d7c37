"""Finding and opening feature files: HDF5 files, zarr folders and zipped ones, and files with one plain array."""

import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import h5py

from asmil.errors import FeatureError

HDF5 = (".h5", ".hdf5")
SUFFIXES = (*HDF5, ".pt", ".npy", ".csv", ".zarr", ".zarr.zip")
_AGAIN = "the file is damaged or was never finished: extract the slide again"


@dataclass(frozen=True)
class ZarrSource:
    """An open zarr group of a slide (version 2 or 3), and where it lies."""

    path: Path
    group: Any  # a zarr.Group; zarr is optional

    @property
    def file_name(self) -> str:
        """The name of the folder, also where it is zipped."""
        return self.path.name.removesuffix(".zip")


Source: TypeAlias = h5py.File | ZarrSource | Path


def feature_files(path: Path) -> Iterator[Path]:
    """Files of a known suffix, sorted within their folders; a `.zarr` folder is one file and never looked into.

    A leading dot marks what is still being written.
    """
    if path.is_file() or path.suffix == ".zarr":
        yield path
        return
    for folder, folders, files in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        stores = [name for name in folders if name.endswith(".zarr")]
        folders[:] = [name for name in folders if not name.endswith(".zarr")]
        for name in sorted(stores + files):
            if name.endswith(SUFFIXES) and not name.startswith("."):
                yield Path(folder, name)


@contextmanager
def opened(path: Path) -> Iterator[Source]:
    """An open HDF5 file or zarr group, or the path itself for other suffixes.

    Raises:
        FeatureError: the file is empty, damaged, gone, or needs a package that is not installed.
    """
    if path.suffix in HDF5:
        try:
            with h5py.File(path, "r", locking="best-effort") as file:
                yield file
        except OSError as error:
            size = f"{path.stat().st_size} bytes, {error}" if path.exists() else "no file"
            raise FeatureError(f"{path.name} cannot be read", found=size, fix=_AGAIN) from error
    elif path.suffix in (".zarr", ".zip"):
        with _opened_zarr(path) as source:
            yield source
    elif not path.exists() or path.stat().st_size == 0:
        what = f"{path.name} is empty (0 bytes)" if path.exists() else f"{path.name} is not there"
        raise FeatureError(what, fix="extract the slide again")
    else:
        yield path


@contextmanager
def _opened_zarr(path: Path) -> Iterator[ZarrSource]:
    try:
        import zarr
    except ImportError as error:
        fix = "pip install 'asmil[zarr]'"
        raise FeatureError(f"{path.name} is read with zarr, which is not installed", fix=fix) from error
    try:
        if path.suffix != ".zip":
            yield ZarrSource(path, zarr.open_group(path, mode="r"))
            return
        folder = _folder_in(path)
        with zarr.storage.ZipStore(path, mode="r") as store:
            yield ZarrSource(path, zarr.open_group(store, path=folder, mode="r"))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise FeatureError(f"{path.name} cannot be read", found=error, fix=_AGAIN) from error


def _folder_in(path: Path) -> str:
    """The folder a zip holds the group in: none where the group itself was zipped."""
    with zipfile.ZipFile(path) as file:
        heads = {name.split("/")[0] for name in file.namelist()}
    return heads.pop() if len(heads) == 1 else ""
