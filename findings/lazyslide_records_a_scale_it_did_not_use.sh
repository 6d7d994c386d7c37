#!/usr/bin/env bash
# What: on a slide without a scale LazySlide cuts tiles of level 0, and records the scale that was asked for.
# Versions: lazyslide 0.13.0, wsidata 0.12.0. Seen 2026-11-29.
# Why it matters: a warning passes by once; the zarr store says "2.0 um per pixel" for good. Whoever reads the file (or joins cohorts by that number) mixes tiles of different magnification.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'lazyslide==0.13.0' 'wsidata==0.12.0' 'torch==2.13.0' 'openslide-bin==4.0.1.2' 'tifffile==2026.3.3' 'numpy<2.5'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata
import warnings

warnings.simplefilter("ignore")
import lazyslide
import numpy as np
import tifffile
from wsidata import open_wsi

print("lazyslide", importlib.metadata.version("lazyslide"), "wsidata", importlib.metadata.version("wsidata"))
picture = np.full((2048, 2048, 3), 245, np.uint8)
picture[500:1500, 500:1500] = (200, 100, 170)
tifffile.imwrite("slide.tif", picture, tile=(256, 256), photometric="rgb", compression="zlib", metadata=None)
print("expected: an error, or a record without a scale")
specs = {}
for asked in (0.5, 2.0):
    wsi = open_wsi("slide.tif", store=None)
    lazyslide.pp.find_tissues(wsi)
    lazyslide.pp.tile_tissues(wsi, 256, mpp=asked)
    spec = wsi.tile_spec("tiles")
    specs[asked] = (spec.mpp, spec.base_width, len(wsi.shapes["tiles"]))
    print(f"seen:     slide's own scale {wsi.properties.mpp}, asked {asked}: recorded {spec.mpp} um per pixel, tiles of {spec.base_width} px of level 0, {specs[asked][2]} of them")
raise SystemExit(0 if specs[2.0][0] == 2.0 and specs[0.5][1:] == specs[2.0][1:] else "no longer as stated")
PYTHON
