#!/usr/bin/env bash
# What: libvips makes a pyramid of a TIFF of several numbers a pixel that are no colours; its lower levels are means of the numbers weighed by the last one of them, which it takes for alpha: where the last class is 0 the others become 0 too, and the shares of three classes no longer add up to 1. The last class itself and the first level are right, and so is a pyramid of the same numbers given as an array, or after copy(interpretation="multiband").
# Versions: libvips 8.18.7 (pyvips 3.2.0), tifffile 2026.3.3. Seen 2026-12-01.
# Source: https://github.com/libvips/libvips/issues/2763, of 2022 and closed, where the alpha is named as the cause and the interpretation as the way round it.
# Why it matters: maps by class or head, and markers, become pyramids for viewers and for reading at a lower level. The classes of a slide in sight are others than those beneath it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'pyvips==3.2.0' 'pyvips-binary==8.18.7' 'tifffile==2026.3.3' 'numpy==2.4.6'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata

import numpy as np
import pyvips
import tifffile

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("pyvips-binary", "pyvips", "tifffile")))
SIDE = 256


def halves(maps):
    return maps.reshape(SIDE // 2, 2, SIDE // 2, 2, -1).mean((1, 3), dtype=float)


def levels(image):
    image.tiffsave("pyramid.tif", tile=True, pyramid=True, tile_width=64, tile_height=64, compression="deflate")
    with tifffile.TiffFile("pyramid.tif") as file:
        return [page.asarray().astype(float) for page in file.pages[:2]]


random = np.random.default_rng(0)
stated = True
for classes in (2, 3, 5):
    maps = random.dirichlet(np.ones(classes), (SIDE, SIDE)).astype(np.float32)
    maps[:128, :, -1] = 0  # the last class is nowhere in the upper half
    maps /= maps.sum(2, keepdims=True)
    path = f"maps_{classes}.tif"  # libvips remembers files by their name
    tifffile.imwrite(path, maps, photometric="minisblack", planarconfig="contig")
    image = pyvips.Image.new_from_file(path)
    expected = halves(maps)
    first, second = levels(image)
    weight = maps[..., -1:]
    weighed = np.nan_to_num(halves(maps * weight) / np.maximum(halves(weight), 1e-12))
    print(f"expected: {classes} classes, level 1: all add up to 1.00, upper and lower half; the first class has {expected[:64, :, 0].mean():.2f} and {expected[64:, :, 0].mean():.2f}")
    print(f"seen:     they add up to {second[:64].sum(2).mean():.2f} and {second[64:].sum(2).mean():.2f} in the mean; the first class has {second[:64, :, 0].mean():.2f} and {second[64:, :, 0].mean():.2f}; level 0 is {'right' if np.array_equal(first, maps) else 'wrong'}")
    stated = stated and np.array_equal(first, maps) and not second[:64, :, :-1].any()
    stated = stated and np.abs(second[..., :-1] - weighed[..., :-1]).max() < 1e-4 and np.abs(second[..., -1] - expected[..., -1]).max() < 1e-4
    for other in (pyvips.Image.new_from_array(maps), image.copy(interpretation="multiband")):
        stated = stated and np.abs(levels(other)[1] - expected).max() < 1e-4
print("seen:     as an array, or as multiband, all levels are right")
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
