#!/usr/bin/env bash
# What: a tile that dlup reads at the scale at which it is stored is not the stored tile. Its default filter (Lanczos, of fimage) looks beside the place, so that each pixel is a mixture of four neighbours, half a
# pixel off; 98 % of the pixels change, without enlarging or shrinking. A tile of more than 256 px is also torn: its last block of 256 lies four pixels further right and lower than the rest.
# `interpolator="NEAREST"` gives the stored pixels, and tiles that are shrunk by half are in place.
# Versions: dlup 0.9.4, fimage-python 0.1.2, against Pillow 13.0.0. Seen 2026-12-01.
# Why it matters: fine chromatin is what encoders look at. Features from dlup are of another sharpness than those of the same tiles by OpenSlide, and of 512 px at the slide's own scale have a seam through the
# middle, where nuclei are cut and shown twice. Annotations are not moved.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'dlup==0.9.4' 'fimage-python==0.1.2' 'openslide-python==1.4.7' 'openslide-bin==4.0.1.2' 'tifffile==2026.3.3' 'pillow==13.0.0' 'numpy==2.4.6' 'scipy==1.16.3'
cd "$folder"
venv/bin/python -W ignore - <<'PYTHON'
import importlib.metadata

import fim
import numpy as np
import tifffile
from dlup import SlideImage
from PIL import Image
from scipy.ndimage import gaussian_filter, laplace

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("dlup", "fimage-python", "pillow")))
draw = np.random.default_rng(0)
texture = gaussian_filter(draw.normal(size=(512, 512)), 0.7)
tissue = np.clip(np.array([190, 130, 175]) + 25 * (texture / texture.std())[..., None], 0, 255).astype(np.uint8)
tifffile.imwrite("slide.tif", tissue, tile=(256, 256), photometric="rgb", metadata=None)
stored = tissue[64:320, 128:384].astype(int)


def read(**how):
    with SlideImage.from_file_path("slide.tif", overwrite_mpp=(0.5, 0.5), **how) as slide:
        return slide.read_region((128, 64), 1.0, (256, 256)).to_numpy()[..., :3].astype(int)


def apart(pixels):
    detail = laplace(pixels[..., 0].astype(float))[2:-2, 2:-2].std() / laplace(stored[..., 0].astype(float))[2:-2, 2:-2].std()
    return np.abs(pixels - stored).mean(), np.abs(pixels - stored).max(), (pixels != stored).mean(), detail


print("expected: read at the slide's own scale (scaling 1.0) the stored pixels, as Pillow's Lanczos from 256 to 256 px gives")
pillow = np.asarray(Image.fromarray(stored.astype(np.uint8)).resize((256, 256), Image.LANCZOS)).astype(int)
seen = {"Pillow": apart(pillow), "dlup, NEAREST": apart(read(interpolator="NEAREST")), "dlup as it comes": apart(read())}
for name, (mean, most, share, detail) in seen.items():
    print(f"seen:     {name}: {mean:.1f} grey levels off in the mean, {most} at most, {share:.0%} of the pixels, {detail:.0%} of the fine detail")
dot = np.full((33, 33, 3), 100, np.uint8)
dot[16, 16] = 200
row = fim.Image.from_numpy(dot).resize(33, 33).to_numpy()[16, 12:21, 0].tolist()
print(f"seen:     a row of a single bright pixel, from 33 to 33 px by fimage: {row}")

print("expected: pixels lie where they are said to lie, at every scale and in all parts of the tile")
wave = (128 + 100 * np.cos(2 * np.pi * np.arange(2048) / 64)).round().astype(np.uint8)
tifffile.imwrite("waves.tif", np.stack([np.tile(wave, (2048, 1)), np.tile(wave[:, None], (1, 2048)), np.zeros((2048, 2048), np.uint8)], -1), tile=(256, 256), photometric="rgb", metadata=None)


def moved(line, scaling, start):
    """Pixels of the slide by which each wave (64 px of it) lies too far right or low, from its phase."""
    period = round(64 * scaling)
    places = (start + np.arange(len(line)) + 0.5) / scaling - 0.5
    parts = [slice(first, first + period) for first in range(0, len(line), period)]
    return [round(float(-np.angle(((line[part] - 128.0) * np.exp(-2j * np.pi * places[part] / 64)).sum()) / 2 / np.pi * 64), 1) + 0.0 for part in parts]


place = {}
for scaling, start, size in ((1.0, 256, 256), (1.0, 512, 512), (0.5, 256, 512), (0.25, 128, 256)):
    with SlideImage.from_file_path("waves.tif", overwrite_mpp=(0.5, 0.5)) as slide:
        pixels = slide.read_region((start, start), scaling, (size, size)).to_numpy()
    place[scaling, size] = moved(pixels[20, :, 0], scaling, start)
    assert place[scaling, size] == moved(pixels[:, 20, 1], scaling, start)  # downwards as to the right
    print(f"seen:     scaling {scaling}, a tile of {size} px: too far right by {', '.join(map(str, place[scaling, size]))} px of the slide, from wave to wave")
stated = seen["Pillow"][1] == seen["dlup, NEAREST"][1] == 0 and seen["dlup as it comes"][2] > 0.9 and seen["dlup as it comes"][3] < 0.9 and row[4] == row[5] > 120
stated = stated and set(place[1.0, 256]) == {0.5} and place[1.0, 512] == [0.5] * 4 + [4.5] * 4 and set(place[0.5, 512]) == {0.0} and set(place[0.25, 256]) == {-1.0}
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
