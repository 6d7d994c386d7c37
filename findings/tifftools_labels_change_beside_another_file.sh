#!/usr/bin/env bash
# What: tifftools writes the pictures of several TIFF files into one whose byte order is that of the first (or what `--big-endian` says), with the stored pixels as they are. Those of the other order have their bytes exchanged: class 3 is 768, a score of .5 is 8.8e-44. In 8 bits, in JPEG, and in single precision with stored differences all is right.
# Versions: tifftools 1.7.0; written and read by tifffile 2026.3.3, read also by Pillow 12.0.0. Seen 2026-12-01.
# Why it matters: it is the tool by which pyramids are put together from levels and label maps from slides. Fiji and Bio-Formats write big-endian, Python little-endian, and which file is named first decides whose values are lost.
# Source: its README says that it changes the offsets and copies the data; write_tiff does so for image data of any depth, and merging is not said to be limited. Not reported that we found; https://github.com/DigitalSlideArchive/tifftools/pull/11 brought the choice of byte order.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'tifftools==1.7.0' 'tifffile==2026.3.3' 'imagecodecs==2026.3.6' 'numpy==2.4.6' 'pillow==12.0.0'
cd "$folder"
venv/bin/python - <<'PYTHON'
from importlib.metadata import version

import numpy as np
import tifffile
import tifftools
from PIL import Image, ImageSequence

print(*(f"{name} {version(name)}" for name in ("tifftools", "tifffile", "pillow")))
random = np.random.default_rng(0)
classes = random.integers(0, 6, (300, 400))
scores = random.random((300, 400)).astype(np.float32)
kinds = {
    "8 bits": (classes.astype(np.uint8), {}),
    "16 bits": (classes.astype(np.uint16), {}),
    "16 bits, Deflate": (classes.astype(np.uint16), {"compression": "zlib"}),
    "16 bits, LZW with differences": (classes.astype(np.uint16), {"compression": "lzw", "predictor": True}),
    "32 bits": (classes.astype(np.uint32), {}),
    "single precision, Zstandard": (scores, {"compression": "zstd"}),
    "single precision, Deflate with differences": (scores, {"compression": "zlib", "predictor": True}),
}


def by_tifffile(path):
    with tifffile.TiffFile(path) as file:
        return [page.asarray() for page in file.pages]


def by_pillow(path):
    with Image.open(path) as file:
        return [np.array(page) for page in ImageSequence.Iterator(file)]


print("expected: two files of the same numbers, one in each byte order, are the same two pictures in one file")
stated = True
for name, (numbers, how) in kinds.items():
    for order, path in (("<", "little.tif"), (">", "big.tif")):
        tifffile.imwrite(path, numbers, byteorder=order, **how)
        assert np.array_equal(by_tifffile(path)[0], numbers)
    tifftools.tiff_concat(["little.tif", "big.tif"], "both.tif", overwrite=True)
    tifftools.tiff_concat(["big.tif", "little.tif"], "turned.tif", overwrite=True)
    tifftools.tiff_concat(["little.tif"], "told.tif", overwrite=True, bigendian=True)
    right = [np.array_equal(page, numbers) for path in ("both.tif", "turned.tif", "told.tif") for page in by_tifffile(path)]
    second = by_tifffile("both.tif")[1]
    print(f"seen:     {name}: right are {right}; {numbers[0, :3].tolist()} of the second file is {second[0, :3].tolist()}")
    safe = name in ("8 bits", "single precision, Deflate with differences")
    stated = stated and right == ([True] * 5 if safe else [True, False, True, False, False])
    if name == "16 bits":
        pages = by_pillow("both.tif")
        stated = stated and np.array_equal(pages[0], numbers) and np.array_equal(pages[1], numbers.byteswap())
        print(f"seen:     {name}: by Pillow too, {pages[1][0, :3].tolist()}")
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
