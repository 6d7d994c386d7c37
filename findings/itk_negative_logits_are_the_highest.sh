#!/usr/bin/env bash
# What: SimpleITK and ITK read a TIFF in half precision as whole numbers, the bits of the halves: .25 is 13312, 1 is 15360, -.5 is 47104. Below 0 the order is turned over and all lies above the positive. No message. libvips and tifffile read it, Pillow and OpenCV refuse it.
# Versions: SimpleITK 2.5.7, itk-io 5.4.7, against tifffile 2026.3.3, libvips 8.18.7 (pyvips 3.2.0), Pillow 13.0.0, opencv-python-headless 5.0.0.93. Seen 2026-12-01.
# Why it matters: maps of attention and logits are stored as halves. A map of positive scores keeps its ranks and looks right in any viewer that stretches the contrast; thresholds, means and maps with negative logits are wrong.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'SimpleITK==2.5.7' 'itk-io==5.4.7' 'tifffile==2026.3.3' 'pyvips==3.2.0' 'pyvips-binary==8.18.7' 'pillow==13.0.0' 'opencv-python-headless==5.0.0.93' 'numpy==2.4.6'
cd "$folder"
venv/bin/python - 2>errors <<'PYTHON' || { cat errors >&2; exit 1; }
import importlib.metadata

import cv2
import itk
import numpy as np
import pyvips
import SimpleITK
import tifffile
from PIL import Image

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("SimpleITK", "itk-io", "tifffile", "pyvips-binary", "pillow", "opencv-python-headless")))
VALUES = [-2.0, -0.5, 0.0, 0.25, 0.5, 1.0]
random = np.random.default_rng(0)
glass, tumour = random.normal(-2, 0.5, (32, 64)), random.normal(2, 0.5, (32, 64))
tifffile.imwrite("values.tif", np.array([VALUES] * 4, np.float16))
tifffile.imwrite("logits.tif", np.concatenate([glass, tumour]).astype(np.float16))
READERS = {
    "SimpleITK": lambda path: SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path)),
    "itk": lambda path: itk.array_from_image(itk.imread(path)),
    "tifffile": tifffile.imread,
    "libvips": lambda path: pyvips.Image.new_from_file(path).numpy(),
    "Pillow": lambda path: np.asarray(Image.open(path)),
    "OpenCV": lambda path: cv2.imread(path, cv2.IMREAD_UNCHANGED),
}


def read(reader, path):
    try:
        return reader(path)
    except Exception:
        return None


print("expected:", VALUES, "and an AUC of 1.00 for the logits of tumour (2 in the mean) and glass (-2)")
stated = True
for name, reader in READERS.items():
    values, logits = read(reader, "values.tif"), read(reader, "logits.tif")
    if values is None or logits is None:
        print(f"seen:     {name:9s} refused")
        stated = stated and name in ("Pillow", "OpenCV")
        continue
    auc = (logits[32:].reshape(-1, 1).astype(float) > logits[:32].reshape(1, -1).astype(float)).mean()
    print(f"seen:     {name:9s} {values.dtype} {values[0].tolist()}, AUC {auc:.2f}")
    if name in ("SimpleITK", "itk"):
        stated = stated and values[0].tolist() == np.array(VALUES, np.float16).view(np.uint16).tolist() and auc < 0.01
    else:
        stated = stated and values[0].tolist() == VALUES and auc > 0.99
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
echo "messages of SimpleITK and ITK on standard error: $(grep -c -i itk errors || true)"
