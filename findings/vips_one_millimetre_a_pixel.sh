#!/usr/bin/env bash
# What: a pyramid that libvips makes from a picture without a scale says that a pixel is 1 mm wide; OpenSlide, slideio, tiffslide and fastslide take it for the slide's.
# Versions: pyvips 3.2.0 (libvips 8.18.7), openslide-python 1.4.7, openslide-bin 4.0.1.2, tiffslide 3.0.1, slideio 2.10.0, fastslide 0.8.1. Seen 2026-11-29.
# Why it matters: "the scale is unknown" becomes "1000 um per pixel" (a PNG of 72 dpi: 353), so no program asks for the scale, and tiles of .5 um per pixel are cut 2000 times too wide.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'pyvips[binary]==3.2.0' 'pyvips-binary==8.18.7' 'openslide-python==1.4.7' 'openslide-bin==4.0.1.2' 'tiffslide==3.0.1' 'slideio==2.10.0' 'fastslide==0.8.1' 'numpy==2.4.6' 'pillow==13.0.0'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata

import fastslide
import numpy as np
import openslide
import pyvips
import slideio
import tiffslide
from PIL import Image

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("pyvips-binary", "openslide-bin", "tiffslide", "slideio", "fastslide")))
picture = np.random.default_rng(0).integers(0, 256, (1024, 1024, 3), dtype=np.uint8)
pyvips.Image.new_from_array(picture).tiffsave("array.tif", tile=True, pyramid=True)
Image.fromarray(picture).save("plain.png")
pyvips.Image.new_from_file("plain.png").tiffsave("png.tif", tile=True, pyramid=True)
print("expected: no scale in a pyramid of a picture that has none")
scales = {
    "OpenSlide": float(openslide.OpenSlide("array.tif").properties["openslide.mpp-x"]),
    "tiffslide": tiffslide.TiffSlide("array.tif").properties["tiffslide.mpp-x"],
    "slideio": slideio.open_slide("array.tif", "GDAL").get_scene(0).resolution[0] * 1e6,
    "fastslide": fastslide.FastSlide.from_file_path("array.tif").mpp[0],
}
for reader, scale in scales.items():
    print(f"seen:     {reader} says {scale:.1f} um per pixel of a numpy array")
print("seen:     OpenSlide says", openslide.OpenSlide("png.tif").properties["openslide.mpp-x"], "um per pixel of a PNG without a resolution")
raise SystemExit(0 if all(abs(scale - 1000) < 1 for scale in scales.values()) else "no longer as stated")
PYTHON
