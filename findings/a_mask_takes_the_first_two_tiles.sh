#!/usr/bin/env bash
# What: Booleans that h5py writes into an HDF5 file come back from pyfive, netCDF4, PyTables and xarray with netCDF4 as whole numbers of 8 bits, 0 and 1. The values are right, but features[mask] then does not choose the tiles that are True: it takes tile 0 or tile 1 for each tile of the slide, and features[~mask] the last one or the last but one. h5py and xarray with h5netcdf give Booleans.
# Versions: pyfive 1.3.0, netCDF4 1.7.5.1.post1, PyTables 3.11.1, xarray 2025.12.0, h5netcdf 1.8.2, h5py 3.16.0. Seen 2026-12-01.
# Why it matters: which tiles are tissue, tumour, or in the training part is stored beside the features. The bag has as many tiles as the slide, all of them from its upper left corner, and no shape is wrong.
# Source: HDF5 has no Booleans; h5py stores an enumeration of FALSE and TRUE over 8-bit integers (https://github.com/h5py/h5py/issues/22). Readers that give the integers beneath an enumeration lose what they meant. h5wasm learnt it in https://github.com/usnistgov/h5wasm/pull/26, of PyTables and attributes https://github.com/PyTables/PyTables/issues/1035 is open.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'h5py==3.16.0' 'pyfive==1.3.0' 'netCDF4==1.7.5.1.post1' 'tables==3.11.1' 'xarray==2025.12.0' 'h5netcdf==1.8.2' 'numpy==2.4.6'
cd "$folder"
cat > read.py <<'PYTHON'
import sys
import warnings

import numpy as np

warnings.simplefilter("ignore")
features = np.arange(8) * 10.0


def by_h5py():
    import h5py
    return h5py.File("slide.h5")["tissue"][:]


def by_pyfive():
    import pyfive
    return pyfive.File("slide.h5")["tissue"][:]


def by_netcdf4():
    import netCDF4
    return netCDF4.Dataset("slide.h5")["tissue"][:]


def by_tables():
    import tables
    with tables.open_file("slide.h5") as file:
        return file.root.tissue[:]


def by_xarray_h5netcdf():
    import xarray
    return xarray.open_dataset("slide.h5", engine="h5netcdf", phony_dims="sort")["tissue"].values


def by_xarray_netcdf4():
    import xarray
    return xarray.open_dataset("slide.h5", engine="netcdf4")["tissue"].values


mask = np.asarray(globals()[sys.argv[1]]())
print(mask.dtype, features[mask].astype(int).tolist(), features[~mask].astype(int).tolist(), sep="|")
PYTHON
venv/bin/python - <<'PYTHON'
import importlib.metadata
import subprocess
import sys

import h5py
import numpy as np

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("h5py", "pyfive", "netCDF4", "tables", "xarray", "h5netcdf")))
tissue = np.array([False, False, False, True, True, False, True, True])
with h5py.File("slide.h5", "w") as file:
    file["tissue"] = tissue
right, wrong = "bool|[30, 40, 60, 70]|[0, 10, 20, 50]", "int8|[0, 0, 0, 10, 10, 0, 10, 10]|[70, 70, 70, 60, 60, 70, 60, 60]"
due = {"h5py": right, "xarray_h5netcdf": right, "pyfive": wrong, "netcdf4": wrong, "tables": wrong, "xarray_netcdf4": wrong}
stated = True
print("expected: Booleans; the tiles 30, 40, 60 and 70 are tissue, 0, 10, 20 and 50 are not")
for name, said in due.items():  # a process each: the wheels bring libraries of HDF5 of their own
    seen = subprocess.run([sys.executable, "read.py", f"by_{name}"], capture_output=True, text=True, check=True).stdout.strip()
    print("seen:     {}: {}; tissue {}, not tissue {}".format(name.replace("_", " by "), *seen.split("|")))
    stated = stated and seen == said
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
