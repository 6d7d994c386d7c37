#!/usr/bin/env bash
# What: large_image opens a TIFF that stores its numbers plane by plane with its tiff source, and reads the first plane as if it were pixels: of two maps the upper half of the picture is the first one, its numbers taken in pairs, and the rest is none of the file's. With tiles the same within each tile. The tifffile source of the same package is right, and is not chosen. Colours (RGB) in planes are passed on to it.
# Versions: large-image 1.35.6 with large-image-source-tiff and -tifffile 1.35.6; against tifffile 2026.3.3. Seen 2026-12-01.
# Why it matters: maps by class and markers in planes are opened by viewers and annotation tools on it (HistomicsUI, Digital Slide Archive). Size, number of channels and type are right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'large-image==1.35.6' 'large-image-source-tiff==1.35.6' 'large-image-source-tifffile==1.35.6' 'tifffile==2026.3.3' 'imagecodecs==2026.3.6' 'numpy==2.4.6'
cd "$folder"
venv/bin/python - 2>errors <<'PYTHON' || { cat errors >&2; exit 1; }
import importlib.metadata
import warnings

import numpy as np
import tifffile

warnings.filterwarnings("ignore")
import large_image
import large_image_source_tifffile

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("large-image", "large-image-source-tiff", "large-image-source-tifffile", "tifffile")))
HEIGHT, WIDTH, TILE = 96, 128, 32
random = np.random.default_rng(0)


def numbers(source):
    return source.getRegion(format="numpy")[0]


stated = True
for classes in (2, 4):
    for kind in (np.uint8, np.uint16, np.float32):
        for tile in (None, (TILE, TILE)):
            planes = random.integers(1, 251, (classes, HEIGHT, WIDTH)).astype(kind)
            path = f"maps_{classes}_{np.dtype(kind)}_{tile is not None}.tif"
            tifffile.imwrite(path, planes, photometric="minisblack", planarconfig="separate", tile=tile)
            expected = np.moveaxis(planes, 0, 2)
            chosen = large_image.open(path, noCache=True)
            seen, other = numbers(chosen), numbers(large_image_source_tifffile.open(path, noCache=True))
            if tile is None:
                first, start = seen, planes[0]
            else:
                first, start = seen[:TILE, :TILE], planes[0, :TILE, :TILE]
            as_pixels = np.array_equal(first.reshape(-1)[: start.size], start.reshape(-1))
            stated = stated and np.array_equal(other, expected) and "source_tiff." in type(chosen).__module__ + "." and seen.shape == expected.shape and not np.array_equal(seen, expected) and as_pixels
            if kind is np.float32:
                print(f"expected: {classes} maps, {'tiles' if tile else 'strips'}: the first pixel has {expected[0, 0].tolist()}")
                print(f"seen:     {type(chosen).__module__}: {seen[0, 0].tolist()}, which are the first {classes} numbers of the first map{'' if as_pixels else ' (no!)'}; by the tifffile source {other[0, 0].tolist()}")
colours = random.integers(0, 251, (3, HEIGHT, WIDTH)).astype(np.uint8)
tifffile.imwrite("colours.tif", colours, photometric="rgb", planarconfig="separate")
chosen = large_image.open("colours.tif", noCache=True)
print(f"seen:     colours in planes: {type(chosen).__module__}, {np.mean(numbers(chosen)[..., :3] == np.moveaxis(colours, 0, 2)):.0%} right")
stated = stated and np.array_equal(numbers(chosen)[..., :3], np.moveaxis(colours, 0, 2))
tifffile.imwrite("pixels.tif", np.moveaxis(planes, 0, 2), photometric="minisblack", planarconfig="contig")
stated = stated and np.array_equal(numbers(large_image.open("pixels.tif", noCache=True)), np.moveaxis(planes, 0, 2))
print("seen:     the same maps stored pixel by pixel are right")
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
