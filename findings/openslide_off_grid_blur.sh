#!/usr/bin/env bash
# What: OpenSlide interpolates at every level but the first, unless a level's sides divide those of level 0 without a rest.
# Versions: openslide-python 1.4.7, openslide-bin 4.0.1.2, tifffile 2026.3.3. Seen 2026-11-29.
# Why it matters: the downsample is the mean of two ratios (4.0029, not 4), so places that are multiples of 4 fall between the
# stored pixels: tiles are smoothed, and shifted more and more from the upper left to the lower right corner of a slide, so an encoder sees
# other sharpness at other places. Readers that round to whole pixels give other features.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'openslide-python==1.4.7' 'openslide-bin==4.0.1.2' 'tifffile==2026.3.3' 'imagecodecs==2026.3.6' 'numpy==2.4.6' 'pillow==13.0.0'
cd "$folder"
venv/bin/python - <<'PYTHON'
import numpy as np
import openslide
import tifffile
from PIL import Image

print("openslide-python", openslide.__version__, "OpenSlide", openslide.__library_version__)
draw = np.random.default_rng(0)
side = 4099  # as scanners write them: no multiple of 4
picture = draw.integers(60, 250, (side // 8 + 1, side // 8 + 1, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)[:side, :side]
stored = np.asarray(Image.fromarray(picture[:4096, :4096]).resize((1024, 1024), Image.Resampling.BOX))
with tifffile.TiffWriter("slide.svs") as file:
    for level in (picture, stored):
        file.write(np.ascontiguousarray(level), tile=(256, 256), photometric="rgb", compression="jpeg", compressionargs={"level": 95}, description="Aperio Image Library v10|AppMag = 20|MPP = 0.5", metadata=None)
page = tifffile.imread("slide.svs", key=1).astype(int)
slide = openslide.OpenSlide("slide.svs")
print("levels", slide.level_dimensions, "downsamples", slide.level_downsamples)
print("expected: a tile of level 1 at a multiple of 4 x 256 is the stored tile")
loss = []
for number in range(4):
    place = number * 1024
    tile = np.asarray(slide.read_region((place, place), 1, (256, 256)))[..., :3].astype(int)
    whole = page[number * 256 : number * 256 + 256, number * 256 : number * 256 + 256]
    far = np.abs(tile - whole)
    sharp = np.abs(np.diff(tile, axis=1)).mean() / np.abs(np.diff(whole, axis=1)).mean()
    loss.append(far.max())
    print(f"seen:     at ({place}, {place}): largest difference {far.max()} grey levels, mean {far.mean():.1f}, local contrast {sharp:.0%} of the stored tile")
raise SystemExit(0 if loss[0] == 0 and min(loss[1:]) > 20 else "no longer as stated")
PYTHON
