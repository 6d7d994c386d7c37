#!/usr/bin/env bash
# What: tifffile writes a mask of Booleans as one bit a pixel with "0 is white" (MINISWHITE) unless told otherwise, and does not turn the bits over for it: True is black. Pillow, OpenCV, libvips, SimpleITK and imageio by Pillow read the other mask, tissue for glass; tifffile, scikit-image and rasterio look at the bits only and read what was meant.
# Versions: tifffile 2026.3.3 (imageio 2.38.2 writes by it), Pillow 13.0.0, opencv-python-headless 5.0.0.93, libvips 8.18.7 (pyvips 3.2.0), SimpleITK 2.5.7, scikit-image 0.26.0, rasterio 1.4.4. Seen 2026-12-01.
# Why it matters: tissue masks and annotations are Booleans. Tiles are cut from the glass, or the share of attention in the tumour is that outside.
# Source: that tifffile and what reads by it leave such bits as they are is known, https://github.com/scikit-image/scikit-image/issues/1940 and https://github.com/imageio/imageio/issues/355; that it writes masks so by default its documentation does not say.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'tifffile==2026.3.3' 'imageio==2.38.2' 'pillow==13.0.0' 'opencv-python-headless==5.0.0.93' 'pyvips==3.2.0' 'pyvips-binary==8.18.7' 'SimpleITK==2.5.7' 'scikit-image==0.26.0' 'rasterio==1.4.4' 'numpy==2.4.6'
cd "$folder"
venv/bin/python - 2>errors <<'PYTHON' || { cat errors >&2; exit 1; }
import importlib.metadata
import warnings

import cv2
import imageio.v3 as imageio
import numpy as np
import pyvips
import rasterio
import SimpleITK
import skimage.io
import tifffile
from PIL import Image

warnings.filterwarnings("ignore")
print(*(f"{name} {importlib.metadata.version(name)}" for name in ("tifffile", "imageio", "pillow", "opencv-python-headless", "pyvips-binary", "SimpleITK", "scikit-image", "rasterio")))
tissue = np.zeros((40, 60), bool)
tissue[10:20, 10:30] = True


def by_rasterio(path):
    with rasterio.open(path) as file:
        return file.read(1)


READERS = {
    "tifffile": tifffile.imread,
    "scikit-image": skimage.io.imread,
    "rasterio": by_rasterio,
    "Pillow": lambda path: np.asarray(Image.open(path)),
    "OpenCV": lambda path: cv2.imread(path, cv2.IMREAD_UNCHANGED),
    "libvips": lambda path: pyvips.Image.new_from_file(path).numpy(),
    "SimpleITK": lambda path: SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path)),
    "imageio, pillow": lambda path: imageio.imread(path, plugin="pillow"),
}
WRITERS = {
    "tifffile.imwrite(path, mask)": lambda path: tifffile.imwrite(path, tissue),
    "imageio.v3.imwrite(path, mask)": lambda path: imageio.imwrite(path, tissue),
    'tifffile.imwrite(path, mask, photometric="minisblack")': lambda path: tifffile.imwrite(path, tissue, photometric="minisblack"),
    "Image.fromarray(mask).save(path)": lambda path: Image.fromarray(tissue).save(path),
}
stated = True
for number, (how, write) in enumerate(WRITERS.items()):
    path = f"mask_{number}.tif"
    write(path)
    print(how)
    print(f"expected: True in {tissue.mean():.1%} of the slide, the 200 pixels of the rectangle")
    for name, read in READERS.items():
        mask = np.asarray(read(path))
        mask = (mask[..., 0] if mask.ndim == 3 else mask).astype(bool)
        turned = name not in ("tifffile", "scikit-image", "rasterio") and number < 2
        stated = stated and np.array_equal(mask, ~tissue if turned else tissue)
        print(f"seen:     {name:16s} {mask.mean():.1%}{', the rest of the slide' if np.array_equal(mask, ~tissue) else ''}")
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
