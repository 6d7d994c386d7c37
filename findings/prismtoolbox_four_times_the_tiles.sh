#!/usr/bin/env bash
# What: prismtoolbox steps through a slide in whole downsamples, and cuts off what comes after the point. A level that OpenSlide gives as 1.9995, since its sides were rounded up, has a step of 1 instead of 2, and one of
# 3.999 a step of 3. Tiles that should lie side by side overlap: four times as many at the first, 1.6 times at the second, in slides whose sides are no whole multiples.
# Versions: prismtoolbox 0.2.0, OpenSlide 4.0.1. Seen 2026-12-01.
# Why it matters: which slides, goes by the odd pixel of their sides and by the program that made the pyramid (`[::2, ::2]`, the usual way in Python, rounds up, Aperio down). Their bags are larger, every piece of
# tissue is in four tiles, and a model that counts tiles, or is trained on a number of them, sees other tissue. The attribute "downsample" beside the tiles says 1.9995.
# pathml 3.0.8 and wholeslidedata 0.0.16 cut it likewise where they read a tile (read, not run).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'prismtoolbox==0.2.0' 'openslide-python==1.4.7' 'openslide-bin==4.0.1.2' 'tifffile==2025.5.10' 'numpy==1.26.4' 'opencv-python==4.11.0.86'
cd "$folder"
cat > tiles.py <<'PYTHON'
import importlib.metadata
import logging

import numpy as np
import tifffile
from prismtoolbox import WSI

logging.disable(logging.INFO)


def write(name, side, up):
    """A pyramid of three levels, each half the one before, its sides rounded up or down."""
    picture = np.clip(np.random.default_rng(0).normal((180, 110, 160), 25, (side, side, 3)), 0, 255).astype(np.uint8)
    with tifffile.TiffWriter(name) as file:
        for level in range(3):
            file.write(picture, tile=(256, 256), photometric="rgb", subfiletype=int(level > 0), metadata=None)
            half = picture.shape[0] // 2
            picture = picture[::2, ::2] if up else picture[: 2 * half : 2, : 2 * half : 2]


def main():
    print(*(f"{name} {importlib.metadata.version(name)}" for name in ("prismtoolbox", "openslide-bin")))
    print("expected: tiles of 256 px that do not overlap are some 8 x 8 at half size and 4 x 4 at a quarter, whether the slide is 4096 or 4099 px wide")
    seen = {}
    for side, up in ((4096, True), (4099, False), (4099, True)):
        write("slide.tif", side, up)
        slide = WSI("slide.tif")
        for level in (1, 2):
            slide.extract_patches(256, level, "all", step_size=256, rgb_threshs=(2, 250), num_workers=2)
            step = np.unique(np.diff(np.unique(slide.coords[:, 0])))
            seen[side, up, level] = (len(slide.coords), *step.tolist())
            print(f"seen:     {side} px, rounded {'up' if up else 'down'}, level {level} of {slide.level_dimensions[level][0]} px, downsample {slide.coords_attrs['downsample']:.4f}: {len(slide.coords)} tiles, {step} px of level 0 apart")
    right = all(seen[side, up, 1] == (64, 512) and seen[side, up, 2] == (16, 1024) for side, up in ((4096, True), (4099, False)))
    raise SystemExit(0 if right and seen[4099, True, 1] == (255, 256) and seen[4099, True, 2] == (25, 768) else "no longer as stated")


if __name__ == "__main__":
    main()
PYTHON
venv/bin/python -W ignore tiles.py
