#!/usr/bin/env bash
# What: tensorstore's tiff driver reads a colour TIFF in tiles with each tile a third of its width to the right of the last instead of its whole width, so a tile covers two thirds of the one before it, the slide is pressed into the left third, and the rest of each row is none of the file's. Grey tiles and strips are right. The documentation calls the driver experimental, for "a very limited subset", and says nothing of this.
# Versions: tensorstore 0.1.86; against tifffile 2026.3.3. Seen 2026-12-01.
# Source: https://google.github.io/tensorstore/driver/image/tiff/index.html
# Why it matters: whole slides are colour in tiles. The shape and type are right, and no error is raised.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'tensorstore==0.1.86' 'tifffile==2026.3.3' 'imagecodecs==2026.3.6' 'numpy==2.4.6'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata
import os

import numpy as np
import tensorstore
import tifffile

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("tensorstore", "tifffile")))
HEIGHT, WIDTH = 512, 1024
random = np.random.default_rng(0)
slide = random.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def read(path):
    return tensorstore.open({"driver": "tiff", "kvstore": f"file://{os.path.abspath(path)}"}).result().read().result()


def laid_over(tile):
    """Each row of tiles, with steps of a third of a tile: the part that is written."""
    rows = np.zeros((HEIGHT, WIDTH + 2 * tile), np.uint8)
    for place in range(0, WIDTH, tile):
        rows[:, place : place + 3 * tile] = slide[:, place : place + tile].reshape(HEIGHT, -1)
    return rows


stated = True
for name, options, wrong in (("strips", {}, False), ("tiles of 256 px", {"tile": (256, 256)}, True), ("tiles of 256 px, deflate", {"tile": (256, 256), "compression": "zlib"}, True), ("tiles of 512 px", {"tile": (512, 512)}, True), ("tiles of 256 px, JPEG", {"tile": (256, 256), "compression": "jpeg"}, True), ("tiles of 256 px, grey", {"tile": (256, 256)}, False)):
    picture = slide[..., 0] if "grey" in name else slide
    tifffile.imwrite("slide.tif", picture, photometric="minisblack" if "grey" in name else "rgb", **options)
    expected = tifffile.imread("slide.tif").reshape(HEIGHT, WIDTH, -1)
    seen = read("slide.tif")
    right = float(np.mean(np.all(seen == expected, 2)))
    print(f"expected: {name}: {expected.shape}, 100 % of the pixels")
    print(f"seen:     {seen.shape}, {right:.0%} right")
    stated = stated and seen.shape == expected.shape and (right < 0.2 if wrong else right == 1)
    if wrong and "JPEG" not in name:
        tile = options["tile"][0]
        stated = stated and np.array_equal(seen.reshape(HEIGHT, -1)[:, : WIDTH + 2 * tile], laid_over(tile)[:, : 3 * WIDTH])
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
