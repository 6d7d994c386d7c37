#!/usr/bin/env bash
# What: `apply_color_profile=True` of dlup changes nothing: the option is kept and never read. The pixels are those that are stored.
# Versions: dlup 0.9.4 with OpenSlide 4.0.1, against Pillow 13.0.0, which applies the same profile. Seen 2026-12-01.
# Why it matters: who turns it on, for slides of scanners whose profiles differ, compares "corrected" and "not corrected" and finds that it makes no difference. dlup 0.6.1 still read it (its source).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'dlup==0.9.4' 'fimage-python==0.1.2' 'openslide-python==1.4.7' 'openslide-bin==4.0.1.2' 'tifffile==2026.3.3' 'pillow==13.0.0' 'numpy==2.4.6'
cd "$folder"
venv/bin/python -W ignore - <<'PYTHON'
import importlib.metadata
import io
import struct

import numpy as np
import tifffile
from dlup import ImageConfig, SlideDataset, SlideImage, TilingConfig
from PIL import Image, ImageCms

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("dlup", "openslide-bin", "pillow")))
profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
for entry in range(struct.unpack(">I", profile[128:132])[0]):
    name, start, size = struct.unpack(">4sII", profile[132 + 12 * entry : 144 + 12 * entry])
    if name in (b"rTRC", b"gTRC", b"bTRC"):  # gamma 1.8 for all three colours
        profile[start : start + size] = (b"para" + bytes(4) + struct.pack(">HHi", 0, 0, int(1.8 * 65536))).ljust(size, b"\0")
profile = bytes(profile)
slide = np.full((512, 512, 3), (200, 140, 180), np.uint8)
tifffile.imwrite("slide.tif", slide, tile=(256, 256), photometric="rgb", iccprofile=profile, metadata=None)
right = np.asarray(ImageCms.profileToProfile(Image.fromarray(slide[:256, :256]), ImageCms.getOpenProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")))
print(f"expected: stored {slide[0, 0]}; with `apply_color_profile=True` {right[0, 0]}, as Pillow has it")
seen = {}
for apply in (False, True):
    with SlideImage.from_file_path("slide.tif", overwrite_mpp=(0.5, 0.5), apply_color_profile=apply, interpolator="NEAREST") as image:
        same = image.color_profile.getvalue() == profile
        seen["region", apply] = image.read_region((0, 0), 1.0, (256, 256)).to_numpy()[..., :3]
    tiles = SlideDataset.from_standard_tiling("slide.tif", tiling_config=TilingConfig(mpp=0.5, tile_size=(256, 256)), image_config=ImageConfig(apply_color_profile=apply), overwrite_mpp=(0.5, 0.5), interpolator="NEAREST")
    seen["tile", apply] = tiles[0].image.to_numpy()[..., :3]
    print(f"seen:     apply_color_profile={apply}: a region {seen['region', apply][0, 0]}, a tile of the data set {seen['tile', apply][0, 0]}; the profile is there: {same}")
stated = same and not (right == slide[:256, :256]).any() and all((pixels == slide[:256, :256]).all() for pixels in seen.values())
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
