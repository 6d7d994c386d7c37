#!/usr/bin/env bash
# What: the error-bounded HDF5 filter SZ takes features in half precision for numbers of another kind: most values come back far outside the bound, some as infinity, without a word. And a NaN comes back from SZ3 and Zfp as a number.
# Versions: hdf5plugin 7.1.0, h5py 3.16.0, numpy 2.4.6. Seen 2026-12-01.
# Why it matters: half precision is how STAMP and others store features, and a bound of .001 is what makes a lossy store look safe. A check for finite numbers no longer finds the tile that was NaN.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'hdf5plugin==7.1.0' 'h5py==3.16.0' 'numpy==2.4.6'
cd "$folder"
venv/bin/python - <<'PYTHON'
import warnings

import h5py
import hdf5plugin
import numpy as np

warnings.filterwarnings("ignore")
print("hdf5plugin", hdf5plugin.version, "h5py", h5py.__version__)
features = np.random.default_rng(0).normal(size=(512, 384)).astype(np.float32)
filters = {"SZ": hdf5plugin.SZ(absolute=0.001), "SZ3": hdf5plugin.SZ3(absolute=0.001), "Zfp": hdf5plugin.Zfp(accuracy=0.001)}


def there_and_back(values, name):
    with h5py.File("bag.h5", "w") as file:
        file.create_dataset("feats", data=values, chunks=(64, 384), compression=filters[name])
    with h5py.File("bag.h5") as file:
        assert file["feats"].dtype == values.dtype
        return file["feats"][()].astype(float)


print("expected: all values within .001, or a refusal; a NaN stays one")
beyond, was_nan = {}, {}
for name, kind in (("SZ", "float32"), ("SZ3", "float32"), ("Zfp", "float32"), ("SZ", "float16"), ("Zfp", "float16")):
    values = features.astype(kind)
    try:
        found = there_and_back(values, name)
    except ValueError as error:
        beyond[name, kind] = "refused"
        print(f"seen:     {name:3s} {kind}: refused, {error}")
        continue
    wrong = ~(np.abs(found - values.astype(float)) < 0.00101)
    beyond[name, kind] = wrong.mean()
    print(f"seen:     {name:3s} {kind}: {wrong.mean():.1%} of the values are beyond .001; {(~np.isfinite(found)).sum()} are infinite or NaN")
broken = features.copy()
broken[100, 5] = np.nan
for name in filters:
    was_nan[name] = there_and_back(broken, name)[100, 5]
    print(f"seen:     {name:3s} float32: a NaN comes back as {was_nan[name]:.1f}")
stated = all(beyond[name, "float32"] == 0 for name in filters) and beyond["SZ", "float16"] > 0.1 and beyond["Zfp", "float16"] == "refused"
stated &= np.isfinite(was_nan["SZ3"]) and np.isfinite(was_nan["Zfp"]) and np.isnan(was_nan["SZ"])
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
