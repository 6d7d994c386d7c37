#!/usr/bin/env bash
# What: `HEStain(method="macenko")` of albumentations and AlbumentationsX at a strength of nothing changes a tile of haematoxylin and eosin by 9 grey levels in the mean, up to 64; "vahadane" by none. It takes the eigenvectors, which OpenCV gives as rows, by columns: with them turned it changes nothing either.
# Versions: albumentations 2.0.8, albumentationsx 2.5.1, opencv-python-headless 5.0.0.93. Seen 2026-12-01.
# Why it matters: every augmented tile has lost a part of its colour, another part for every tile, and training and prediction see different pictures even where the strength is small.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for package in albumentations==2.0.8 albumentationsx==2.5.1; do
    python3 -m venv "$folder/$package"
    "$folder/$package/bin/pip" install --quiet --no-compile --disable-pip-version-check "$package" 'opencv-python-headless==5.0.0.93' 'torch==2.13.0' 'numpy==2.4.6'
done
cd "$folder"
cat > trial.py <<'PYTHON'
import sys
import warnings

import albumentations
import cv2
import numpy as np

warnings.filterwarnings("ignore")
draw = np.random.default_rng(1)
amounts = np.stack([draw.gamma(1.5, 0.35, (128, 128)), draw.gamma(2, 0.25, (128, 128))], -1)
tile = np.clip(255 * np.exp(-amounts @ np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])), 0, 255).round().astype(np.uint8)
as_opencv_does = cv2.eigen


def turned(matrix, *rest):
    found, values, vectors = as_opencv_does(matrix, *rest)
    return found, values, vectors.T.copy()


def change(method):
    nothing = albumentations.HEStain(method=method, intensity_scale_range=(1, 1), intensity_shift_range=(0, 0), augment_background=True, p=1)
    apart = np.abs(nothing(image=tile)["image"].astype(int) - tile)
    return float(apart.mean()), int(apart.max())


seen = {method: change(method) for method in ("vahadane", "macenko")}
cv2.eigen = turned
seen["macenko, turned"] = change("macenko")
for method, (mean, largest) in seen.items():
    print(f"seen:     {sys.argv[1]:22s} {method:15s} {mean:.1f} grey levels, at most {largest}")
stated = seen["vahadane"][1] <= 2 and seen["macenko, turned"][1] <= 2 and seen["macenko"][0] > 5 and seen["macenko"][1] > 40
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
echo "expected: scaled by 1 and shifted by 0, the two stains of a tile give the tile"
for package in albumentations==2.0.8 albumentationsx==2.5.1; do
    NO_ALBUMENTATIONS_UPDATE=1 "$package/bin/python" trial.py "$package" 2> said || { cat said >&2; exit 1; }
done
