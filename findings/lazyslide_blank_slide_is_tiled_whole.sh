#!/usr/bin/env bash
# What: LazySlide cuts a slide on which it found no tissue into tiles from edge to edge.
# Versions: lazyslide 0.13.0, wsidata 0.12.0. Seen 2026-11-29.
# Why it matters: find_tissues returns False and raises nothing, tile_tissues warns and goes on. In a loop over a cohort the emptiest or palest slide becomes the one with most tiles,
# all of them glass; as a bag it looks like any other.
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
glass = np.full((2048, 2048, 3), 245, np.uint8)
tissue = glass.copy()
tissue[500:1500, 500:1500] = (200, 100, 170)
counts = {}
print("expected: no tiles on glass, or an error")
for name, picture in (("glass", glass), ("tissue", tissue)):
    tifffile.imwrite(f"{name}.tif", picture, tile=(256, 256), photometric="rgb", compression="zlib", resolution=(20000, 20000), resolutionunit="CENTIMETER", metadata=None)
    wsi = open_wsi(f"{name}.tif", store=None)
    found = lazyslide.pp.find_tissues(wsi)
    lazyslide.pp.tile_tissues(wsi, 256, mpp=0.5)
    counts[name] = len(wsi.shapes["tiles"])
    print(f"seen:     {name}: find_tissues returns {found}, then {counts[name]} tiles of 64 that cover the slide")
raise SystemExit(0 if counts["glass"] == 64 and 0 < counts["tissue"] < 64 else "no longer as stated")
PYTHON
