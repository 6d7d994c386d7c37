#!/usr/bin/env bash
# What: imread, which mahotas reads files by, takes a TIFF in half or single precision for whole numbers of as many bits: .5 is 1056964608 (14336 of a half), and a map of scores has the type uint32. Signed numbers lose their sign. Of a picture in planes each row is the row of the first plane spread over its pixels, and behind it what was in the memory. Nothing is said; tiles and double precision are refused.
# Versions: imread 0.7.6, mahotas 1.4.19; written and read by tifffile 2026.3.3. Seen 2026-12-01.
# Why it matters: the order of scores that are not negative is kept, so that ranks and AUC are right and a look at the map, scaled to its range, shows something; a threshold of .5 takes every tile, and the mean has no meaning. Negative logits are above all others.
# Source: imread/lib/_tiff.cpp asks for the number of bits and of samples, not for the sample format nor the planar configuration, and reads one row of the first plane into each row. Not reported that we found.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'imread==0.7.6' 'mahotas==1.4.19' 'tifffile==2026.3.3' 'numpy==2.4.6'
cd "$folder"
venv/bin/python - <<'PYTHON'
from importlib.metadata import version

import imread
import mahotas
import numpy as np
import tifffile

print(*(f"{name} {version(name)}" for name in ("imread", "mahotas", "tifffile")))
random = np.random.default_rng(0)
scores = random.random((60, 80))
maps = {
    "8 bits": (scores * 255).astype(np.uint8),
    "16 bits": (scores * 60000).astype(np.uint16),
    "half": scores.astype(np.float16),
    "single": scores.astype(np.float32),
    "logits, single": (np.log(scores) - np.log1p(-scores)).astype(np.float32),
    "signed, 16 bits": (scores * 2000 - 1000).astype(np.int16),
}
same, bits, order, above = {}, {}, {}, {}
for name, numbers in maps.items():
    tifffile.imwrite("map.tif", numbers)
    assert np.array_equal(tifffile.imread("map.tif"), numbers)
    found = imread.imread("map.tif")
    assert np.array_equal(found, mahotas.imread("map.tif"))
    same[name] = found.dtype == numbers.dtype and np.array_equal(found, numbers)
    bits[name] = np.array_equal(found, numbers.view(f"u{numbers.itemsize}"))
    ranks = [np.unique(part, return_inverse=True)[1].ravel() for part in (numbers, found)]
    order[name] = np.corrcoef(ranks)[0, 1]
    above[name] = (found > 0.5).mean()
    print(f"expected: {name}: {numbers.dtype}, {numbers[0, :3].tolist()}, {(numbers > 0.5).mean():.0%} above .5")
    print(f"seen:     {name}: {found.dtype}, {found[0, :3].tolist()}, {above[name]:.0%} above .5; correlation of ranks {order[name]:.2f}")
planes = np.stack([np.full((60, 80), grey, np.uint8) for grey in (220, 100, 170)])
tifffile.imwrite("planes.tif", planes, photometric="rgb", planarconfig="separate")
colours = imread.imread("planes.tif")
first = colours.reshape(60, -1)[:, :80]
print(f"expected: planes of 220, 100 and 170: every pixel is [220, 100, 170]\nseen:     the first pixels are {colours[0, :2].tolist()}; 220 stands at the first 80 of 240 places in each row: {bool((first == 220).all())}")
stated = [name for name in maps if same[name]] == ["8 bits", "16 bits"] and all(bits.values())
stated = stated and all(above[name] == 1 and order[name] > 0.9999 for name in ("half", "single")) and order["logits, single"] < 0
raise SystemExit(0 if stated and (first == 220).all() and not np.array_equal(colours, np.moveaxis(planes, 0, -1)) else "no longer as stated")
PYTHON
