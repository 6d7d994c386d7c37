#!/usr/bin/env bash
# What: Pillow reads colours of more than 8 bits in JPEG 2000 as 8 bits, rounded: what rounds to 256 is 0, so white (65408 to 65535 of 16 bits, 4088 to 4095 of 12) is black. SimpleITK gives 16 bits, of which each number has the higher byte of the one before it: red of the blue to its left, green of red, blue of green. Both are right for grey. imageio and scikit-image read by Pillow; OpenCV, GDAL (rasterio) and imagecodecs are right.
# Versions: Pillow 13.0.0 (11.3.0 gives the same), imageio 2.38.2, scikit-image 0.26.0, SimpleITK 2.5.7; against opencv-python-headless 5.0.0.93, rasterio 1.4.4, imagecodecs 2026.3.6. Seen 2026-12-01.
# Why it matters: glass is white. A tissue mask takes it for the darkest tissue there is, and tiles at the edge of tissue are black and white.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'pillow==13.0.0' 'imageio==2.38.2' 'scikit-image==0.26.0' 'SimpleITK==2.5.7' 'opencv-python-headless==5.0.0.93' 'rasterio==1.4.4' 'imagecodecs==2026.3.6' 'tifffile==2026.3.3' 'numpy==2.4.6'
cd "$folder"
OPENCV_LOG_LEVEL=OFF venv/bin/python - 2>errors <<'PYTHON' || { cat errors >&2; exit 1; }
import importlib.metadata
import warnings

import cv2
import imagecodecs
import imageio.v3 as imageio
import numpy as np
import rasterio
import SimpleITK
import skimage.io
from PIL import Image

warnings.filterwarnings("ignore")
print(*(f"{name} {importlib.metadata.version(name)}" for name in ("pillow", "imageio", "scikit-image", "SimpleITK", "opencv-python-headless", "rasterio", "imagecodecs")))
TISSUE, SIDE = (0.90, 0.70, 0.85), 64


def by_rasterio(path):
    with rasterio.open(path) as file:
        return np.moveaxis(file.read(), 0, 2)


def by_itk(path):
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path))


BY_PILLOW = {"Pillow": lambda path: np.asarray(Image.open(path)), "imageio": imageio.imread, "scikit-image": skimage.io.imread}
RIGHT = {"OpenCV": lambda path: cv2.imread(path, cv2.IMREAD_UNCHANGED)[..., ::-1], "rasterio": by_rasterio, "imagecodecs": imagecodecs.imread}
stated = True
for bits in (16, 12):
    top = 2**bits - 1
    slide = np.full((SIDE, SIDE, 3), top, np.uint16)  # glass
    slide[16:48, 16:48] = np.round(np.array(TISSUE) * top)
    path = f"slide_{bits}.jp2"
    with open(path, "wb") as file:
        file.write(imagecodecs.jpeg2k_encode(slide, codecformat="jp2", reversible=True, bitspersample=bits))
    eight = np.round(slide / top * 255)
    print(f"expected: {bits} bits, glass {slide[0, 1].tolist()}, tissue {slide[20, 20].tolist()}, in 8 bits {eight[0, 1].astype(int).tolist()}, {eight[20, 20].astype(int).tolist()}")
    for name, read in BY_PILLOW.items():
        seen = read(path)
        print(f"seen:     {name:12s} {seen.dtype}, glass {seen[0, 1].tolist()}, tissue {seen[20, 20].tolist()}")
        stated = stated and not seen[slide == top].any() and np.abs(seen[16:48, 16:48] - eight[16:48, 16:48]).max() <= 1
    for name, read in RIGHT.items():
        stated = stated and np.array_equal(read(path), slide)
    print(f"seen:     {', '.join(RIGHT)} right")
noise = np.random.default_rng(0).integers(0, 65536, (SIDE, SIDE, 3)).astype(np.uint16)
for name, picture in (("colours", noise), ("grey", noise[..., 0].copy())):
    with open("noise.jp2", "wb") as file:
        file.write(imagecodecs.jpeg2k_encode(picture, codecformat="jp2", reversible=True))
    seen = by_itk("noise.jp2")
    right = [float(np.mean(seen[..., place] == picture[..., place])) for place in range(3)] if name == "colours" else [float(np.mean(seen == picture))]
    print(f"expected: SimpleITK, 16 bits, {name}: 100 % right")
    print(f"seen:     {', '.join(f'{share:.1%}' for share in right)} of {'red, green, blue' if name == 'colours' else 'the pixels'} right")
    if name == "colours":
        before, after = picture.reshape(-1).astype(int), seen.reshape(-1)
        share = float(np.mean(after[1:] == ((before[1:] & 255) | (before[:-1] & 0xFF00))))
        print(f"seen:     {share:.1%} of the numbers are their own lower byte and the higher byte of the number before them")
        stated = stated and max(right) < 0.02 and share == 1.0
    else:
        with Image.open("noise.jp2") as image:
            stated = stated and right == [1.0] and np.array_equal(np.asarray(image), picture)
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
