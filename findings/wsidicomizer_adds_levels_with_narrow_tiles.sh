#!/usr/bin/env bash
# What: levels that wsidicomizer adds (`--add-missing-levels`, or add_missing_levels=True) are cut short at their right and lower edge where the level below has an odd number of tiles: the file says tiles of 512 x 512 px, and those are stored 256, 128 or 64 px wide. OpenSlide and highdicom refuse them; wsidicom, fastslide and slideio, which do not look, read them.
# Versions: wsidicomizer 0.26.1 with wsidicom 0.31.0 (it asks for less than 0.32), openslide-bin 4.0.1.2, highdicom 0.28.2, fastslide 0.8.1. wsidicom 0.36.1 by itself adds whole tiles. Seen 2026-12-01.
# Why it matters: the conversion ends without a word, its own reader shows a right picture, and tiles inside the level open. Extraction of features stops at the first tile of the edge, for all slides but those whose sides fit.
# Source: in wsidicom 0.31.0 a tile of a new level is put together from the up to four tiles that exist, and halved, without being filled up.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --no-compile --disable-pip-version-check 'wsidicomizer==0.26.1' 'wsidicom==0.31.0' 'tiffslide==3.0.1' 'openslide-python==1.4.7' 'openslide-bin==4.0.1.2' 'highdicom==0.28.2' 'fastslide==0.8.1' 'pydicom==3.0.2' 'tifffile==2026.3.3' 'numpy==2.4.6' 'pillow==13.0.0'
venv/bin/python - <<'PYTHON'
import importlib.metadata
import io
import warnings
from pathlib import Path

import fastslide
import highdicom
import numpy as np
import openslide
import tifffile
from PIL import Image
from pydicom import dcmread
from pydicom.encaps import generate_frames
from wsidicom import WsiDicom
from wsidicomizer import WsiDicomizer
from wsidicomizer.extras.openslide.openslide_source import OpenSlideSource

warnings.filterwarnings("ignore")
print(*(f"{name} {importlib.metadata.version(name)}" for name in ("wsidicomizer", "wsidicom", "openslide-bin", "highdicom", "fastslide")))
row, column = np.mgrid[:1543, :2051]
tifffile.imwrite("slide.tif", np.stack([column // 9, row // 9, 0 * row + 180], -1).astype(np.uint8), tile=(512, 512), photometric="rgb", resolution=(40000, 40000), resolutionunit="CENTIMETER")
WsiDicomizer.convert("slide.tif", "converted", add_missing_levels=True, preferred_source=OpenSlideSource)
files = {dcmread(name, stop_before_pixels=True).TotalPixelMatrixColumns: name for name in Path("converted").rglob("*.dcm") if dcmread(name, stop_before_pixels=True).ImageType[2] == "VOLUME"}


def refused(read):
    try:
        return np.asarray(read())[..., :3], "reads it"
    except Exception as error:
        return None, f"{type(error).__name__}: {str(error)[:64]}"


def right(read, level):  # red is the column over 9; the last columns lie beside what fills up the tile, in one block of the JPEG
    found = None if read is None else read[100, :, 0].astype(float)
    return found is not None and bool(np.abs(found - (np.arange(len(found)) + 0.5) * 2**level / 9)[:-16].max() < 10)


print("expected: four levels whose tiles have the size that the file says")
widths, seen = {}, {}
by_wsidicom, by_fastslide = WsiDicom.open("converted"), fastslide.FastSlide.from_file_path(str(files[2051]))
for level, (columns, name) in enumerate(sorted(files.items(), reverse=True)):
    dataset = dcmread(name)
    widths[level] = sorted({Image.open(io.BytesIO(frame)).size for frame in generate_frames(dataset.PixelData, number_of_frames=int(dataset.NumberOfFrames))})
    size = columns, int(dataset.TotalPixelMatrixRows)
    print(f"seen:     level {level} of {size[0]} x {size[1]} px says {dataset.Columns} x {dataset.Rows}, and has tiles of", *(f"{w} x {h}" for w, h in widths[level]))
    readers = {
        "OpenSlide": lambda: openslide.OpenSlide(name).read_region((0, 0), level, size),
        "OpenSlide, 200 px": lambda: openslide.OpenSlide(name).read_region((0, 0), level, (200, 150)),
        "highdicom": lambda: highdicom.imread(name).get_total_pixel_matrix(apply_icc_profile=False),
        "wsidicom": lambda: by_wsidicom.read_region((0, 0), level, size),
        "fastslide": lambda: by_fastslide.read_region((0, 0), level, size).numpy(),
    }
    for reader, read in readers.items():
        pixels, said = refused(read)
        seen[level, reader] = said == "reads it", right(pixels, level)
        print(f"seen:         {reader:17s} {said}{'' if pixels is None or right(pixels, level) else ', wrongly'}")
stated = widths[0] == [(512, 512)] and all(widths[level] != [(512, 512)] for level in (1, 2, 3)) and all(seen[0, reader][0] for reader in readers)
stated = stated and not any(seen[level, reader][0] for level in (1, 2, 3) for reader in ("OpenSlide", "highdicom")) and all(seen[level, "wsidicom"] == (True, True) for level in (1, 2, 3)) and seen[1, "OpenSlide, 200 px"][0]
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
