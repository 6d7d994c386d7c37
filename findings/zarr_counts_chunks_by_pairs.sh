#!/usr/bin/env bash
# What: zarr counts the stored chunks of an array by looking up each possible one in a list of all stored ones: four times the chunks take sixteen times as long.
# Versions: zarr 3.1.6, numpy 2.4.6. Seen 2026-11-30.
# Why it matters: a slide in OME-Zarr has some 30,000 chunks of 512 px. Who asks whether it is whole (`nchunks_initialized`, also shown by `info_complete()`) waits ten seconds; where the shape is claimed and not filled, minutes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'zarr==3.1.6' 'numpy==2.4.6'
cd "$folder"
venv/bin/python - <<'PYTHON'
import os
import time

import numpy as np
import zarr

print("zarr", zarr.__version__)
seconds, listing = {}, {}
for side in (40, 80, 160):
    array = zarr.create_array(f"{side}.zarr", shape=(side * 8, side * 8), chunks=(8, 8), dtype=np.uint8)
    array[:] = 1
    start = time.process_time()
    count = array.nchunks_initialized
    seconds[side] = time.process_time() - start
    assert count == side * side
    start = time.process_time()
    listed = sum(name != "zarr.json" for _, _, files in os.walk(f"{side}.zarr") for name in files)
    listing[side] = time.process_time() - start
    assert listed == count
print("expected: four times the chunks take four times as long")
for side in seconds:
    print(f"seen:     {side * side:6} chunks counted by zarr in {seconds[side]:6.2f} s, by listing the files in {listing[side]:.3f} s")
growth = seconds[160] / seconds[80]
print(f"seen:     from 6,400 to 25,600 chunks {growth:.0f} times the time")
raise SystemExit(0 if growth > 8 and seconds[160] > 20 * listing[160] else "no longer as stated")
PYTHON
