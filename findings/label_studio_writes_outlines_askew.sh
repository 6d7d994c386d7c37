#!/usr/bin/env bash
# What: Label Studio's `contour2rle` draws an outline on a canvas whose sides are exchanged. In a picture of 400 x 200 px a square comes as two pieces of half its height side by side (overlap .22), and a disc in the right half as an empty mask; one row less than columns shears it (.14); in a square picture all is right, and so is `mask2rle` of the same outline.
# Versions: label-studio-sdk 2.1.2 (label_studio_sdk.converter.brush), OpenCV 4.12.0. Seen 2026-12-01.
# Why it matters: it brings predicted regions to annotators. The list of numbers has the right length for the picture, since width times height is the same; tiles are square and tests pass, thumbnails and regions of slides are not.
# Source: the function makes an array of width rows and height columns, as it has since it came with https://github.com/HumanSignal/label-studio-converter/pull/25. Not reported that we found.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'label-studio-sdk==2.1.2' 'opencv-python-headless==4.12.0.88' 'numpy==2.2.6'
cd "$folder"
venv/bin/python - <<'PYTHON'
from importlib.metadata import version

import cv2
import numpy as np
from label_studio_sdk.converter.brush import contour2rle, decode_rle, mask2rle

print(*(f"{name} {version(name)}" for name in ("label-studio-sdk", "opencv-python-headless", "numpy")))


def overlap(first, second):
    return float((first & second).sum() / (first | second).sum())


def read(numbers, width, height):
    decoded = decode_rle(numbers)
    assert decoded.size == width * height * 4
    return decoded.reshape(height, width, 4)[..., 3] > 0


seen = {}
for width, height, shape in ((300, 300, "square"), (400, 200, "square"), (200, 400, "square"), (400, 200, "disc"), (2000, 1999, "square")):
    drawn = np.zeros((height, width), np.uint8)
    if shape == "square":
        cv2.rectangle(drawn, (20, 30), (120, 130), 255, -1)
    else:
        cv2.circle(drawn, (330, 100), 40, 255, -1)
    outlines, _ = cv2.findContours(drawn, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    by_outline = read(contour2rle(outlines, 0, width, height), width, height)
    by_mask = read(mask2rle(drawn), width, height)
    seen[width, height, shape] = overlap(by_outline, drawn > 0), overlap(by_mask, drawn > 0), int(by_outline.sum())
    print(f"expected: a {shape} of {int((drawn > 0).sum())} px in a picture of {width} x {height} px, overlap of 1")
    print(f"seen:     by its outline {int(by_outline.sum())} px, overlap {seen[width, height, shape][0]:.2f}; by its mask {seen[width, height, shape][1]:.2f}")
stated = all(mask == 1 for _, mask, _ in seen.values()) and seen[300, 300, "square"][0] == 1
stated = stated and all(0.1 < seen[size][0] < 0.4 for size in seen if size[0] != size[1] and size[2] == "square" and size[0] < 1000) and seen[2000, 1999, "square"][0] < 0.5
raise SystemExit(0 if stated and seen[400, 200, "disc"][2] == 0 else "no longer as stated")
PYTHON
