#!/usr/bin/env bash
# What: zarr.js undoes the compressor of a Zarr array and leaves its filters out, without a message. Coordinates stored with Delta are the steps between tiles, and features stored with Shuffle are other numbers, up to 1e38. BitRound, which has nothing to undo, is right; filters that change the number of bytes make it fail; zarrita reads both as they are.
# Versions: zarr 0.6.3 (npm), zarrita 0.7.5 with @zarrita/storage 0.2.0; written by zarr 3.1.6 (Python), version 2 of the format, numcodecs 0.16.6. Seen 2026-12-01.
# Why it matters: Delta is for places that grow along a row, Shuffle for features, and kerchunk describes every HDF5 file with shuffle by it. A viewer shows all tiles in the upper left corner, or colours by noise.
# Source: it refuses filters when it makes an array, as not supported yet, and does not ask for them when it opens one; where a chunk is decoded a comment says that they are to be done. Not reported that we found; jzarr, in Java, has https://github.com/bcdev/jzarr/issues/43 for them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --no-compile --disable-pip-version-check 'zarr==3.1.6' 'numcodecs==0.16.6' 'numpy==2.4.6'
npm init -y > log
npm install --silent --no-audit --no-fund --ignore-scripts 'zarr@0.6.3' 'zarrita@0.7.5' '@zarrita/storage@0.2.0' >> log
cat > read.mjs <<'JS'
import fs from 'fs';
import * as zarrjs from 'zarr';
import * as zarrita from 'zarrita';
import FileSystemStore from '@zarrita/storage/fs';

const folder = process.cwd() + '/slide.zarr';
const store = {
  async getItem(key) {
    if (!fs.existsSync(`${folder}/${key}`)) throw new zarrjs.KeyError(key);
    const bytes = fs.readFileSync(`${folder}/${key}`);
    return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
  },
  async containsItem(key) { return fs.existsSync(`${folder}/${key}`); },
  async keys() { return []; },
};
const found = {};
for (const name of process.argv.slice(2)) {
  const old = await (await zarrjs.openArray({store, path: name, mode: 'r'})).getRaw(null);
  const array = await zarrita.open.v2(zarrita.root(new FileSystemStore(folder)).resolve(name), {kind: 'array'});
  found[name] = [old.data, (await zarrita.get(array)).data].map((data) => Array.from(data, (number) => Number.isFinite(number) ? number : null));
}
console.log(JSON.stringify(found));
JS
cat > compare.py <<'PYTHON'
import json
import subprocess
import warnings

import numcodecs
import numpy as np
import zarr

warnings.simplefilter("ignore")
versions = {name: json.load(open(f"node_modules/{name}/package.json"))["version"] for name in ("zarr", "zarrita")}
print(f"zarr {zarr.__version__}, numcodecs {numcodecs.__version__}; npm:", versions)
random = np.random.default_rng(0)
places = (np.arange(40, dtype=np.int32) * 256 + 50000).astype(np.int32)
features = random.normal(size=40).astype(np.float32)
group = zarr.open_group("slide.zarr", mode="w", zarr_format=2)
arrays = {
    "places": (places, []),
    "places_delta": (places, [numcodecs.Delta("i4")]),
    "features": (features, []),
    "features_bitround": (features, [numcodecs.BitRound(10)]),
    "features_shuffle": (features, [numcodecs.Shuffle(4)]),
}
due = {}
for name, (numbers, filters) in arrays.items():
    array = group.create_array(name, shape=(40,), chunks=(20,), dtype=numbers.dtype, filters=filters or None, compressors=numcodecs.Zlib())
    array[:] = numbers
    due[name] = array[:].astype(float)
found = json.loads(subprocess.check_output(["node", "read.mjs", *arrays]))
stated = True
for name, right in due.items():
    old, new = (np.array(numbers, float) for numbers in found[name])
    print(f"expected: {name}: {right[:3].round(3).tolist()} ...\nseen:     zarr.js {[float(f'{number:.6g}') for number in old[:3]]} ..., {(old != right).mean():.0%} wrong; zarrita {(new != right).mean():.0%} wrong")
    stated = stated and np.array_equal(new, right) and ((old != right).mean() > 0.9 if name in ("places_delta", "features_shuffle") else np.array_equal(old, right))
steps = np.array(found["places_delta"][0])
raise SystemExit(0 if stated and set(steps[1:20]) == {256} else "no longer as stated")
PYTHON
venv/bin/python compare.py
