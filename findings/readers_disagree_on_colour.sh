#!/usr/bin/env bash
# What: slideio and fastslide give other pixels of an ordinary JPEG slide (4:2:0) than OpenSlide, tiffslide, tifffile and libvips, which agree to the last bit.
# Versions: slideio 2.10.0, fastslide 0.8.1, openslide-bin 4.0.1.2, tiffslide 3.0.1, pyvips-binary 8.18.7, tifffile 2026.3.3. Seen 2026-11-29.
# Why it matters: they enlarge the stored colour in their own way, up to 30 grey levels off at the rims of nuclei. Features of a cohort must not
# come from two readers, nor training and use.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'pyvips[binary]==3.2.0' 'pyvips-binary==8.18.7' 'openslide-python==1.4.7' 'openslide-bin==4.0.1.2' 'tiffslide==3.0.1' 'slideio==2.10.0' 'fastslide==0.8.1' 'tifffile==2026.3.3' 'imagecodecs==2026.3.6' 'numpy==2.4.6' 'scipy==1.17.1'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata

import fastslide
import numpy as np
import openslide
import pyvips
import slideio
import tifffile
import tiffslide
from scipy.ndimage import gaussian_filter

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("openslide-bin", "tiffslide", "pyvips-binary", "tifffile", "slideio", "fastslide")))
draw, side = np.random.default_rng(0), 1024
tissue = np.full((side, side, 3), (243.0, 232.0, 240.0))
tissue[gaussian_filter(draw.normal(size=(side, side)), 3) > 0] = (222, 140, 190)
rows, columns = np.mgrid[-20:21, -20:21]
for _ in range(1200):  # nuclei
    y, x = draw.integers(24, side - 24, 2)
    tissue[y - 20 : y + 21, x - 20 : x + 21][rows**2 + columns**2 < draw.integers(3, 8) ** 2] = (70, 35, 120)
picture = gaussian_filter(tissue, (0.7, 0.7, 0)).clip(0, 255).astype(np.uint8)
tifffile.imwrite("slide.svs", picture, tile=(256, 256), photometric="rgb", compression="jpeg", compressionargs={"level": 85}, subsampling=(2, 2), description="Aperio Image Library v10|AppMag = 20|MPP = 0.5", metadata=None)
whole = ((0, 0), 0, (side, side))
pixels = {
    "OpenSlide": np.asarray(openslide.OpenSlide("slide.svs").read_region(*whole))[..., :3],
    "tiffslide": tiffslide.TiffSlide("slide.svs").read_region(*whole, as_array=True),
    "tifffile": tifffile.imread("slide.svs", key=0),
    "libvips": pyvips.Image.tiffload("slide.svs").numpy()[..., :3],
    "slideio": slideio.open_slide("slide.svs", "SVS").get_scene(0).read_block()[..., :3],
    "fastslide": fastslide.FastSlide.from_file_path("slide.svs").read_region(*whole).numpy()[..., :3],
}
print("expected: six readers, the same pixels within a grey level or two")
far = {}
for reader, found in pixels.items():
    difference = np.abs(found.astype(int) - pixels["OpenSlide"].astype(int))
    far[reader] = difference.max()
    print(f"seen:     {reader:9s} largest difference from OpenSlide {far[reader]:3d}, mean {difference.mean():.2f}, more than 2 in {(difference > 2).mean():.1%} of the values")
stated = far["tiffslide"] == far["tifffile"] == far["libvips"] == 0 and far["slideio"] > 15 and far["fastslide"] > 15
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
