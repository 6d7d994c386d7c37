#!/usr/bin/env bash
# What: of an Aperio slide in JPEG 2000 of kind 33003, tiffslide and tifffile give luminance and two colour differences and call them red, green and blue; OpenSlide and fastslide convert them.
# Versions: tiffslide 3.0.1, tifffile 2026.3.3, openslide-bin 4.0.1.2, fastslide 0.8.1, imagecodecs 2026.3.6. Seen 2026-12-01.
# Why it matters: old Aperio scanners, also in TCGA, wrote this kind ("J2K/YUV16") beside 33005, which is right everywhere. Tissue masks and features of such slides are those of another picture, in the same cohort.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'tiffslide==3.0.1' 'tifffile==2026.3.3' 'imagecodecs==2026.3.6' 'openslide-python==1.4.7' 'openslide-bin==4.0.1.2' 'fastslide==0.8.1' 'numpy==2.4.6' 'scipy==1.17.1'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata

import fastslide
import imagecodecs
import numpy as np
import openslide
import tifffile
import tiffslide
from scipy.ndimage import gaussian_filter

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("openslide-bin", "fastslide", "tiffslide", "tifffile")))
draw, side, tile = np.random.default_rng(0), 512, 256
tissue = np.full((side, side, 3), (243.0, 232.0, 240.0))  # glass
tissue[gaussian_filter(draw.normal(size=(side, side)), 3) > 0] = (222, 140, 190)
rgb = gaussian_filter(tissue, (1, 1, 0)).round().astype(np.uint8)
to_ycbcr = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
ycbcr = (rgb @ to_ycbcr.T + (0, 128, 128)).round().clip(0, 255).astype(np.uint8)


def write(name, kind, planes, **how):
    """33003 holds YCbCr without JPEG 2000's own transform, 33005 RGB; the tag of the colours says RGB in both, as in the scanner's files."""
    tiles = (imagecodecs.jpeg2k_encode(planes[y : y + tile, x : x + tile], level=0, codecformat="j2k", reversible=True, **how) for y in (0, tile) for x in (0, tile))
    with tifffile.TiffWriter(name) as file:
        file.write(tiles, shape=rgb.shape, dtype=rgb.dtype, tile=(tile, tile), photometric="rgb", compression=kind, metadata=None, description="Aperio Image Library v10|AppMag = 20|MPP = 0.5")


write("33003.svs", 33003, ycbcr, mct=False)
write("33005.svs", 33005, rgb, mct=True)
print("expected: both slides the same picture in all readers, within a grey level or two")
far = {}
for slide in ("33005.svs", "33003.svs"):
    whole = ((0, 0), 0, (side, side))
    pixels = {
        "OpenSlide": np.asarray(openslide.OpenSlide(slide).read_region(*whole))[..., :3],
        "fastslide": fastslide.FastSlide.from_file_path(slide).read_region(*whole).numpy()[..., :3],
        "tiffslide": tiffslide.TiffSlide(slide).read_region(*whole, as_array=True),
        "tifffile": tifffile.imread(slide, key=0),
    }
    for reader, found in pixels.items():
        far[slide, reader] = np.abs(found.astype(int) - rgb).max()
        print(f"seen:     {slide} {reader:9s} largest difference {far[slide, reader]:3d}, mean colour {found.mean((0, 1)).round().astype(int).tolist()}")
untouched = np.array_equal(pixels["tiffslide"], ycbcr) and np.array_equal(pixels["tifffile"], ycbcr)
print(f"          tiffslide and tifffile give the stored Y, Cb and Cr: {untouched}")
right = max(far["33005.svs", reader] for reader in pixels) <= 2 and far["33003.svs", "OpenSlide"] <= 2 and far["33003.svs", "fastslide"] <= 3
raise SystemExit(0 if right and untouched else "no longer as stated")
PYTHON
