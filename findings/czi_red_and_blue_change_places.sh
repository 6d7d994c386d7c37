#!/usr/bin/env bash
# What: of a bright-field slide of Zeiss (CZI), slideio and bioio-czi give blue, green, red where they give red, green, blue of every other format; fastslide gives red, green, blue.
# Versions: slideio 2.10.0, bioio 3.6.0 with bioio-czi 3.0.1, fastslide 0.8.1; written by pylibCZIrw 6.1.0. Seen 2026-12-01.
# Why it matters: pink tissue becomes violet-blue, and an encoder makes features of it without a word: a cohort with CZI and SVS has two kinds of features, by scanner.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'pylibCZIrw==6.1.0' 'bioio==3.6.0' 'bioio-czi==3.0.1' 'slideio==2.10.0' 'fastslide==0.8.1' 'tifffile==2026.3.3' 'imagecodecs==2026.3.6' 'numpy==2.4.6'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata
import warnings

import bioio_czi
import fastslide
import numpy as np
import slideio
import tifffile
from bioio import BioImage
from pylibCZIrw import czi

warnings.filterwarnings("ignore")
print(*(f"{name} {importlib.metadata.version(name)}" for name in ("slideio", "bioio-czi", "fastslide", "pylibCZIrw")))
eosin = np.full((512, 640, 3), (222, 140, 190), np.uint8)  # red, green, blue
with czi.create_czi("slide.czi") as file:
    file.write(np.ascontiguousarray(eosin[..., ::-1]))  # as its documentation asks for: Bgr24
    file.write_metadata("slide", scale_x=0.5e-6, scale_y=0.5e-6)
tifffile.imwrite("slide.svs", eosin, tile=(256, 256), photometric="rgb", compression="zlib", description="Aperio Image Library v10|AppMag = 20|MPP = 0.5", metadata=None)
with czi.open_czi("slide.czi") as file:
    print("kind of pixels in the CZI:", file.get_channel_pixel_type(0))
print("expected: (222, 140, 190) by each reader for each file")
seen = {
    "slideio, SVS": slideio.open_slide("slide.svs", "SVS").get_scene(0).read_block()[0, 0],
    "slideio, CZI": slideio.open_slide("slide.czi", "CZI").get_scene(0).read_block()[0, 0],
    "bioio, CZI": BioImage("slide.czi", reader=bioio_czi.Reader).get_image_data("YXS")[0, 0],
    "fastslide, SVS": fastslide.FastSlide.from_file_path("slide.svs").read_region((0, 0), 0, (8, 8)).numpy()[0, 0],
    "fastslide, CZI": fastslide.FastSlide.from_file_path("slide.czi").read_region((0, 0), 0, (8, 8)).numpy()[0, 0],
}
seen = {how: tuple(int(value) for value in pixel) for how, pixel in seen.items()}
for how, pixel in seen.items():
    print(f"seen:     {how:14s} {pixel}")
swapped = {how for how, pixel in seen.items() if pixel == (190, 140, 222)}
right = {how for how, pixel in seen.items() if pixel == (222, 140, 190)}
raise SystemExit(0 if swapped == {"slideio, CZI", "bioio, CZI"} and len(right) == 3 else "no longer as stated")
PYTHON
