#!/usr/bin/env bash
# What: OpenSlide opens an OME-TIFF of several 16-bit channels without a word: as the first channel alone, in grey, its upper byte only.
# Versions: openslide-python 1.4.7, openslide-bin 4.0.1.2, tifffile 2026.3.3. Seen 2026-11-29.
# Why it matters: a camera of 12 bits leaves 16 grey levels of 256, a nearly black picture, of one marker of many. Features come out, and nothing says that they mean nothing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'openslide-python==1.4.7' 'openslide-bin==4.0.1.2' 'tifffile==2026.3.3' 'numpy==2.4.6'
cd "$folder"
venv/bin/python - <<'PYTHON'
import numpy as np
import openslide
import tifffile

print("openslide-python", openslide.__version__, "OpenSlide", openslide.__library_version__, "tifffile", tifffile.__version__)
draw = np.random.default_rng(0)
channels = draw.integers(0, 4096, (4, 512, 512)).astype(np.uint16)  # four markers, 12 bits
with tifffile.TiffWriter("slide.ome.tif") as file:
    file.write(channels, tile=(256, 256), photometric="minisblack", metadata={"axes": "CYX", "PhysicalSizeX": 0.325, "PhysicalSizeY": 0.325})
print("expected: refused, as OpenSlide reads neither fluorescence nor OME-TIFF")
slide = openslide.OpenSlide("slide.ome.tif")
pixels = np.asarray(slide.read_region((0, 0), 0, (512, 512)))[..., :3]
first = all(np.array_equal(pixels[..., band], channels[0] >> 8) for band in range(3))
print(f"seen:     opened as {slide.properties['openslide.vendor']}, levels {slide.level_dimensions}, mpp {slide.properties.get('openslide.mpp-x')}")
print(f"          red, green and blue are the first channel divided by 256: {first}; {len(np.unique(pixels))} grey levels, brightest {pixels.max()}")
raise SystemExit(0 if first and pixels.max() == 15 else "no longer as stated")
PYTHON
