#!/usr/bin/env bash
# What: cv2.imread with IMREAD_UNCHANGED of a TIFF of two to four numbers a pixel that are no colours: in 8 bits the first of them, in 16 bits their mean weighted as if they were red, green and blue (of two: 8 bits, all 0), in single precision all of them with the first and third exchanged (of two: refused). tifffile, rasterio and libvips read all.
# Versions: opencv-python-headless 5.0.0.93, against tifffile 2026.3.3, rasterio 1.4.4, libvips 8.18.7 (pyvips 3.2.0). Seen 2026-12-01.
# Why it matters: maps by class or head, and markers, are stored so, and are looked at in 8 bits, kept in 16 and computed in 32; each is another picture, of the right size.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'opencv-python-headless==5.0.0.93' 'tifffile==2026.3.3' 'rasterio==1.4.4' 'pyvips==3.2.0' 'pyvips-binary==8.18.7' 'numpy==2.4.6'
cd "$folder"
venv/bin/python - 2>errors <<'PYTHON' || { cat errors >&2; exit 1; }
import importlib.metadata
import warnings

import cv2
import numpy as np
import pyvips
import rasterio
import tifffile

warnings.filterwarnings("ignore")
print(*(f"{name} {importlib.metadata.version(name)}" for name in ("opencv-python-headless", "tifffile", "rasterio", "pyvips-binary")))
LUMA = (0.299, 0.587, 0.114)
random = np.random.default_rng(0)


def by_rasterio(path):
    with rasterio.open(path) as file:
        return np.moveaxis(file.read(), 0, 2)


stated = True
for classes in (2, 3, 4):
    for kind in (np.uint8, np.uint16, np.float32):
        maps = random.integers(0, 101, (40, 60, classes)).astype(kind)  # scores in per cent
        path = f"maps_{classes}_{np.dtype(kind)}.tif"
        tifffile.imwrite(path, maps, photometric="minisblack", planarconfig="contig")
        for others in (tifffile.imread, by_rasterio, lambda path: pyvips.Image.new_from_file(path).numpy()):
            stated = stated and np.array_equal(others(path), maps)
        seen = cv2.imread(path, cv2.IMREAD_UNCHANGED)
        what = "refused"
        if kind is np.uint8:
            what, same = "the first class", seen.shape == (40, 60) and np.array_equal(seen, maps[..., 0])
        elif kind is np.uint16 and classes == 2:
            what, same = "8 bits, all 0", seen.dtype == np.uint8 and not seen.any()
        elif kind is np.uint16:
            mixed = sum(weight * maps[..., place] for place, weight in enumerate(LUMA))
            what, same = ".30 of the first, .59 of the second, .11 of the third", seen.shape == (40, 60) and np.abs(seen - mixed).max() < 1
        elif classes == 2:
            same = seen is None
        else:
            what, same = "all, the first and the third exchanged", np.array_equal(seen, maps[..., [2, 1, 0, 3][:classes]])
        stated = stated and same
        print(f"expected: {maps.shape} {maps.dtype} {maps[0, 0].tolist()}")
        print("seen:    ", "None" if seen is None else f"{seen.shape} {seen.dtype} {seen[0, 0].tolist()}", f"({what})" if same else "(something else)")
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
echo "lines that OpenCV wrote to standard error: $(wc -l < errors)"; grep -v "^$" errors | cut -c1-160 | sort | uniq -c | head -5
