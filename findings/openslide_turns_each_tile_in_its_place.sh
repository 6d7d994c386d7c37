#!/usr/bin/env bash
# What: of a tiled TIFF whose orientation is not 1 OpenSlide turns each tile where it lies and leaves the order of the tiles as stored, so the slide is a mosaic; in JPEG it gives it as stored. large_image turns the whole slide, but a quarter turn to the wrong side (6 as 8, 8 as 6), and in JPEG with other colours. tiffslide, slideio and libvips give what is stored.
# Versions: OpenSlide 4.0.1 (openslide-python 1.4.7, openslide-bin 4.0.1.2), large-image-source-tiff 1.35.6, tiffslide 3.0.1, slideio 2.10.0, libvips 8.18.7 (pyvips 3.2.0); a quarter turn against Pillow 13.0.0. Seen 2026-12-01.
# Source: that a slide in JPEG is mirrored against other programs is an open report, https://github.com/openslide/openslide/issues/391; of tiles turned one by one it says nothing.
# Why it matters: slides turned in a program that only sets the orientation, and exports that count rows from below. Each tile is good tissue, so features and scores are made; places, neighbours and heat maps are of a slide that is not there.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'openslide-python==1.4.7' 'openslide-bin==4.0.1.2' 'large-image==1.35.6' 'large-image-source-tiff==1.35.6' 'tiffslide==3.0.1' 'slideio==2.10.0' 'pyvips==3.2.0' 'pyvips-binary==8.18.7' 'pillow==13.0.0' 'tifffile==2026.3.3' 'imagecodecs==2026.3.6' 'numpy==2.4.6'
cd "$folder"
venv/bin/python - 2>errors <<'PYTHON' || { cat errors >&2; exit 1; }
import importlib.metadata
import warnings

import numpy as np
import pyvips
import slideio
import tifffile
from PIL import Image

warnings.filterwarnings("ignore")
import large_image
import openslide
import tiffslide

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("openslide-bin", "large-image-source-tiff", "tiffslide", "slideio", "pyvips-binary", "pillow")))
HEIGHT, WIDTH, TILE, ORIENTATION = 512, 768, 256, 274
y, x = np.mgrid[:HEIGHT, :WIDTH]
slide = np.stack([x // 3, y // 2, (x * 7 + y * 3) % 256], 2).astype(np.uint8)
TURNS = {1: lambda array: array, 2: lambda array: array[:, ::-1], 3: lambda array: np.rot90(array, 2), 4: lambda array: array[::-1], 5: lambda array: array.swapaxes(0, 1), 6: lambda array: np.rot90(array, -1), 7: lambda array: np.rot90(array, 2).swapaxes(0, 1), 8: np.rot90}


def each_tile(array, turn):
    turned = array.copy()
    for top in range(0, HEIGHT, TILE):
        for left in range(0, WIDTH, TILE):
            turned[top : top + TILE, left : left + TILE] = turn(array[top : top + TILE, left : left + TILE])
    return turned


def by_library(library):
    def read(path):
        with library(path) as opened:
            return np.asarray(opened.read_region((0, 0), 0, opened.dimensions))[..., :3]

    return read


READERS = {
    "OpenSlide": by_library(openslide.OpenSlide),
    "large_image": lambda path: large_image.open(path, noCache=True).getRegion(format="numpy")[0][..., :3],
    "tiffslide": by_library(tiffslide.TiffSlide),
    "slideio": lambda path: slideio.open_slide(path, "GDAL").get_scene(0).read_block(),
    "libvips": lambda path: pyvips.Image.new_from_file(path).numpy(),
}


def described(seen, stored):
    for number, turn in TURNS.items():
        if seen.shape == turn(stored).shape and np.abs(seen.astype(int) - turn(stored)).max() <= 3:
            return "as stored" if number == 1 else f"turned as {number}"
    for number, turn in TURNS.items():
        if seen.shape == stored.shape and np.abs(seen.astype(int) - each_tile(stored, turn)).max() <= 3:
            return f"each tile turned as {number}"
    return "something else"


stated = True
PLACES = {2: 2, 3: 3, 4: 4, 6: 2, 7: 3, 8: 4}  # how OpenSlide turns each tile
for orientation in TURNS:
    path = f"slide_{orientation}.tif"
    tifffile.imwrite(path, slide, photometric="rgb", tile=(TILE, TILE), compression="zlib", extratags=[(ORIENTATION, 3, 1, orientation, True)])
    tifffile.imwrite("strips.tif", slide, photometric="rgb", compression="zlib", extratags=[(ORIENTATION, 3, 1, orientation, True)])
    pillow = described(np.asarray(Image.open("strips.tif")), slide)
    seen = {name: described(read(path), slide) for name, read in READERS.items()}
    print(f"expected: orientation {orientation}: as stored, or {pillow} (Pillow)")
    print("seen:     " + "; ".join(f"{name} {what}" for name, what in seen.items()))
    stated = stated and pillow == ("as stored" if orientation == 1 else f"turned as {orientation}")
    stated = stated and seen["OpenSlide"] == (f"each tile turned as {PLACES[orientation]}" if orientation in PLACES else "as stored")
    stated = stated and seen["large_image"] == ("as stored" if orientation == 1 else f"turned as {({6: 8, 8: 6}).get(orientation, orientation)}")
    stated = stated and all(seen[name] == "as stored" for name in ("tiffslide", "slideio", "libvips"))
smooth = np.stack([x * 255 // WIDTH, y * 255 // HEIGHT, np.full_like(x, 120)], 2).astype(np.uint8)
off = {}
for orientation in (1, 3):
    tifffile.imwrite("jpeg.tif", smooth, photometric="rgb", tile=(TILE, TILE), compression="jpeg", compressionargs={"level": 95}, extratags=[(ORIENTATION, 3, 1, orientation, True)])
    stored = tifffile.imread("jpeg.tif")
    what = described(READERS["OpenSlide"]("jpeg.tif"), stored)
    off[orientation] = float(np.abs(READERS["large_image"]("jpeg.tif").astype(int) - TURNS[orientation](stored)).mean())
    print(f"seen:     in JPEG, orientation {orientation}: OpenSlide {what}; large_image {off[orientation]:.0f} grey levels off the slide so turned, in the mean")
    stated = stated and what == "as stored"
stated = stated and off[1] < 1 and off[3] > 30
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
