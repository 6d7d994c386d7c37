#!/usr/bin/env bash
# What: a JPEG has 16 bits for its density, and a tile of .25 um per pixel has 101,600 dots per inch. Pillow leaves out the upper bits: the file says 36,064, which is .704 um; below .3876 um every scale is another. It fits per centimetre (40,000), which libvips writes and Pillow reads; Pillow saving that file again with the `dpi` that it read makes it .704. SimpleITK writes 40,000 without a unit and reads it as 1 mm per pixel.
# Versions: Pillow 13.0.0, SimpleITK 2.5.7, against libvips 8.18.7 (pyvips 3.2.0). Seen 2026-12-01.
# Why it matters: slides scanned at 40x (.22 to .28 um) are below .3876 um and those at 20x (.5) above, so that a trial with 20x is right. .704 um is a scale that a check of plausible ones passes, and a tile cut by it has an eighth of the area.
# Source: the number of Python becomes an int in Pillow's encoder and is put into a field of 16 bits without a look at its size. PNG and TIFF have wider fields.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'pillow==13.0.0' 'SimpleITK==2.5.7' 'pyvips==3.2.0' 'pyvips-binary==8.18.7' 'numpy==2.2.6'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata

import numpy as np
import pyvips
import SimpleITK
from PIL import Image

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("pillow", "SimpleITK", "pyvips-binary")))
INCH = 25400.0  # um
tile = np.random.default_rng(0).integers(100, 250, (64, 64, 3), dtype=np.uint8)


def by_pillow(path):
    return round(INCH / Image.open(path).info["dpi"][0], 3)


def pillow(mpp, ending):
    path = f"pillow_{mpp}.{ending}"
    Image.fromarray(tile).save(path, dpi=(INCH / mpp, INCH / mpp))
    return by_pillow(path)


def vips(mpp):
    path = f"vips_{mpp}.jpg"
    pyvips.Image.new_from_array(tile).copy(xres=1000 / mpp, yres=1000 / mpp).write_to_file(path)
    return by_pillow(path), round(1000 / pyvips.Image.new_from_file(path).xres, 3)


def copied(mpp):
    picture = Image.open(f"vips_{mpp}.jpg")
    picture.save(f"copy_{mpp}.jpg", dpi=picture.info["dpi"])
    return by_pillow(f"copy_{mpp}.jpg")


def itk(mpp, ending):
    picture = SimpleITK.GetImageFromArray(tile, isVector=True)
    picture.SetSpacing((mpp / 1000, mpp / 1000))
    SimpleITK.WriteImage(picture, f"itk_{mpp}.{ending}")
    return round(SimpleITK.ReadImage(f"itk_{mpp}.{ending}").GetSpacing()[0] * 1000, 3)


stated = True
for mpp, wrapped in ((0.5, 0.5), (0.39, 0.39), (0.38, 19.449), (0.25, 0.704), (0.22, 0.51)):
    seen = {"Pillow, PNG": pillow(mpp, "png"), "Pillow, TIFF": pillow(mpp, "tif"), "Pillow, JPEG": pillow(mpp, "jpg"), "libvips, JPEG": vips(mpp), "that file again by Pillow": copied(mpp), "SimpleITK, PNG": itk(mpp, "png"), "SimpleITK, JPEG": itk(mpp, "jpg")}
    print(f"expected: {mpp} um per pixel")
    print("seen:    ", ", ".join(f"{name} {value}" for name, value in seen.items()))
    right = all(np.allclose(seen[name], mpp, atol=0.001) for name in ("Pillow, PNG", "Pillow, TIFF", "libvips, JPEG", "SimpleITK, PNG"))
    stated = stated and right and np.allclose([seen["Pillow, JPEG"], seen["that file again by Pillow"]], wrapped, rtol=0.02) and seen["SimpleITK, JPEG"] == 1000.0
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
