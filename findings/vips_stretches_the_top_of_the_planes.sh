#!/usr/bin/env bash
# What: libvips reads the upper part of a TIFF that stores its n numbers a pixel in planes, n times as tall: rows are taken 1/n of a row apart. Whole size, no message. Colours of 8 bits, 16 bits and single precision are right, and so are strips of one row.
# Versions: libvips 8.18.7 (pyvips 3.2.0; 8.16.0 gives the same), on files written and read again by rasterio 1.4.4 (GDAL) and tifffile 2026.3.3. Seen 2026-12-01.
# Why it matters: maps by class or head, and markers, are stored so. The answer has the right size and plausible values, and a focus in the lower half of the slide is not in it.
# Source: for tiles of planes libvips has an open request and refuses, https://github.com/libvips/libvips/issues/4615; of strips we found nothing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'pyvips==3.2.0' 'pyvips-binary==8.18.7' 'rasterio==1.4.4' 'tifffile==2026.3.3' 'numpy==2.4.6'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata
import warnings

import numpy as np
import pyvips
import rasterio
import tifffile

warnings.filterwarnings("ignore")
print(*(f"{name} {importlib.metadata.version(name)}" for name in ("pyvips-binary", "rasterio", "tifffile")))
HEIGHT, WIDTH = 40, 600


def maps_of(classes, kind):
    maps = np.zeros((classes, HEIGHT, WIDTH), kind)
    maps[1, 8:12, 100:120] = 100  # a focus in the upper half, of the second class
    maps[1, 28:32, 100:120] = 200  # a stronger one in the lower half
    return maps


def by_tifffile(path, maps):
    tifffile.imwrite(path, maps, photometric="minisblack", planarconfig="separate")


def by_rasterio(path, maps):
    with rasterio.open(path, "w", driver="GTiff", count=len(maps), height=HEIGHT, width=WIDTH, dtype=maps.dtype, interleave="band", blockysize=HEIGHT, photometric="minisblack") as file:
        file.write(maps)


def shrunk(maps):
    """What is seen: a row begins 1/n of a row behind the one before it."""
    step = WIDTH // len(maps)
    return np.stack([[plane.reshape(-1)[row * step : row * step + WIDTH] for row in range(HEIGHT)] for plane in maps])


stated = True
for classes in (2, 3, 5):
    for kind in (np.uint8, np.uint16, np.float32):
        for writer in (by_tifffile, by_rasterio):
            maps, path = maps_of(classes, kind), f"{writer.__name__}_{classes}_{np.dtype(kind)}.tif"
            writer(path, maps)
            again = tifffile.imread(path)
            with rasterio.open(path) as file:
                stated = stated and np.array_equal(file.read(), maps) and np.array_equal(again, maps)
            seen = np.moveaxis(pyvips.Image.new_from_file(path).numpy(), 2, 0)
            stated = stated and seen.shape == maps.shape and np.array_equal(seen, shrunk(maps))
            if writer is by_rasterio and kind is np.float32:
                print(f"{classes} maps of {np.dtype(kind)}, written {writer.__name__.replace('_', ' ')}")
                for name, answer in (("expected:", again), ("seen:    ", seen)):
                    print(f"{name} {answer.shape}, highest {answer.max():g} in the rows {sorted(set(np.nonzero(answer[1] == answer[1].max())[0].tolist()))}, share of 100s and 200s {np.mean(answer[1] > 0):.4f}")
colours = np.random.default_rng(0).integers(0, 255, (3, HEIGHT, WIDTH))
for kind in (np.uint8, np.uint16, np.float32):
    path = f"colours_{np.dtype(kind)}.tif"
    tifffile.imwrite(path, colours.astype(kind), photometric="rgb", planarconfig="separate")
    stated = stated and np.array_equal(np.moveaxis(pyvips.Image.new_from_file(path).numpy(), 2, 0), colours)
tifffile.imwrite("rows.tif", maps_of(5, np.float32), photometric="minisblack", planarconfig="separate", rowsperstrip=1)
stated = stated and np.array_equal(np.moveaxis(pyvips.Image.new_from_file("rows.tif").numpy(), 2, 0), maps_of(5, np.float32))
print("seen:     colours in planes, and strips of one row, are right")
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
