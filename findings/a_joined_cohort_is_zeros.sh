#!/usr/bin/env bash
# What: features of several slides, joined by a virtual dataset of HDF5 (h5py.VirtualLayout), or whose numbers lie in a file beside (external storage), are zeros when kerchunk or VirtualiZarr describe the file for Zarr, without a message: names, shape and type are right. h5py, netCDF4 and PyTables read them. xarray makes NaN of kerchunk's zeros, and of every feature that is exactly 0, and of False in a mask, which astype(bool) then turns to True.
# Versions: kerchunk 0.2.10, VirtualiZarr 2.5.1, zarr 3.1.6, xarray 2025.12.0; against h5py 3.16.0. Seen 2026-12-01.
# Why it matters: cohorts are joined so without a copy, and described so to be read from object storage. All tiles of all slides are equal, and a model answers with its bias.
# Source: both look for the places of stored chunks; a virtual or external dataset has none in its file, as if nothing had been written, and what is not there is the fill value in Zarr. Of kerchunk the NaN for a scalar of 0 is told in https://github.com/fsspec/kerchunk/issues/177 (closed); of virtual datasets we found nothing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'h5py==3.16.0' 'kerchunk==0.2.10' 'virtualizarr==2.5.1' 'zarr==3.1.6' 'xarray==2025.12.0' 'fsspec==2026.9.0' 'numcodecs==0.16.6' 'obstore==0.12.1' 'obspec-utils==0.9.0' 'numpy==2.4.6'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata
import os
import warnings

import fsspec
import h5py
import numpy as np
import xarray
import zarr
from kerchunk.hdf import SingleHdf5ToZarr
from obspec_utils.registry import ObjectStoreRegistry
from obstore.store import LocalStore
from virtualizarr.parsers import HDFParser

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("h5py", "kerchunk", "virtualizarr", "zarr", "xarray")))
random = np.random.default_rng(0)
slides = [np.maximum(random.normal(size=(50, 8)), 0).astype(np.float32) for _ in range(3)]
for number, slide in enumerate(slides):
    with h5py.File(f"slide_{number}.h5", "w") as file:
        file["features"] = slide
        file["tissue"] = slide[:, 0] > 0
with h5py.File("virtual.h5", "w") as file:
    layout = h5py.VirtualLayout((150, 8), np.float32)
    for number in range(3):
        layout[50 * number:50 * number + 50] = h5py.VirtualSource(f"slide_{number}.h5", "features", (50, 8))
    file.create_virtual_dataset("features", layout)
with h5py.File("external.h5", "w") as file:
    file.create_dataset("features", (150, 8), np.float32, external=[(os.path.abspath("numbers.bin"), 0, h5py.h5f.UNLIMITED)])[...] = np.concatenate(slides)


def by_h5py(path, name="features"):
    with h5py.File(path) as file:
        return file[name][:]


def described(path):
    return SingleHdf5ToZarr(path, inline_threshold=0).translate()


def by_kerchunk(path, name="features"):
    store = zarr.storage.FsspecStore(fsspec.filesystem("reference", fo=described(path), asynchronous=True))
    return zarr.open_group(store, mode="r", zarr_format=2)[name][:]


def by_kerchunk_and_xarray(path, name="features"):
    mapper = fsspec.filesystem("reference", fo=described(path)).get_mapper("")
    return xarray.open_dataset(mapper, engine="zarr", consolidated=False)[name].values


def by_virtualizarr(path, name="features"):
    registry = ObjectStoreRegistry({"file://": LocalStore()})
    store = HDFParser()(url=f"file://{os.path.abspath(path)}", registry=registry)
    return xarray.open_dataset(store, engine="zarr", consolidated=False, zarr_format=3)[name].values


stated = True
for path, due in (("slide_0.h5", slides[0]), ("virtual.h5", np.concatenate(slides)), ("external.h5", np.concatenate(slides))):
    print(f"expected: {path}: {len(due)} tiles, sum {due.sum():.1f}, {(due == 0).sum()} zeros, no NaN")
    for read in (by_h5py, by_kerchunk, by_virtualizarr, by_kerchunk_and_xarray):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            seen = read(path)
        told = [str(warning.message) for warning in told if "features" in str(warning.message)]
        print(f"seen:     {read.__name__[3:]}: {len(seen)} tiles, sum {np.nansum(seen):.1f}, {(seen == 0).sum()} zeros, {np.isnan(seen).sum()} NaN; {len(told)} warnings")
        right = np.where(due == 0, np.nan, due) if read is by_kerchunk_and_xarray else due
        wrong = np.full_like(due, np.nan if read is by_kerchunk_and_xarray else 0)
        stated = stated and np.array_equal(seen, right if path == "slide_0.h5" or read is by_h5py else wrong, equal_nan=True) and not told
mask, seen = by_h5py("slide_0.h5", "tissue"), by_kerchunk_and_xarray("slide_0.h5", "tissue")
print(f"expected: {mask.sum()} of 50 tiles are tissue\nseen:     kerchunk_and_xarray: {seen.dtype}, {seen.astype(bool).sum()} as Booleans")
raise SystemExit(0 if stated and seen.astype(bool).all() and not mask.all() else "no longer as stated")
PYTHON
