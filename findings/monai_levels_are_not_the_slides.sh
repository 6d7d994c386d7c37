#!/usr/bin/env bash
# What: of an Aperio slide MONAI with `backend="tifffile"` lists the pages as levels: the thumbnail is level 1, label and macro are the last two. Pixels it takes by tifffile's own levels, which leave those out: a tile of "level 1" is of the true level 1, at a place divided by the downsample of the thumbnail.
# Versions: monai 1.6.1, tifffile 2026.3.3, openslide-bin 4.0.1.2. Seen 2026-12-01.
# Why it matters: tiles are of glass and tissue near the upper left corner and none of them lies where its location says; features come out. OpenSlide as the backend, and a plain pyramid, are right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'monai==1.6.1' 'torch==2.13.0' 'tifffile==2026.3.3' 'imagecodecs==2026.3.6' 'openslide-python==1.4.7' 'openslide-bin==4.0.1.2' 'numpy==2.4.6'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata
import warnings

import numpy as np
import tifffile
from monai.data import WSIReader

warnings.filterwarnings("ignore")
print(*(f"{name} {importlib.metadata.version(name)}" for name in ("monai", "tifffile", "openslide-bin")))
HEIGHT, WIDTH = 2304, 3072
rows, columns = np.mgrid[:HEIGHT, :WIDTH]
slide = np.stack([columns // 16, rows // 16, np.full_like(rows, 90)], -1).astype(np.uint8)  # red and green say the place


def smaller(factor):
    return slide.reshape(HEIGHT // factor, factor, WIDTH // factor, factor, 3).mean((1, 3)).round().astype(np.uint8)


def write(path, pages, *, plain=False):
    """As Aperio has it: the slide, a thumbnail in strips, the levels in tiles, label, macro."""
    with tifffile.TiffWriter(path) as file:
        for number, (kind, picture) in enumerate(pages):
            layout = {"tile": (256, 256)} if kind == "level" else {"rowsperstrip": 16}
            said = f"Aperio Image Library v12\r\n{kind if kind in ('label', 'macro') else f'{WIDTH}x{HEIGHT}'} {picture.shape[1]}x{picture.shape[0]} |AppMag = 40|MPP = 0.25"
            file.write(picture, photometric="rgb", compression="zlib", metadata=None, description=None if plain else said, subfiletype={"label": 1, "macro": 9}.get(kind, int(plain and number > 0)), **layout)


levels = [("level", slide), ("level", smaller(4)), ("level", smaller(16))]
small = [("label", np.full((100, 90, 3), 200, np.uint8)), ("macro", np.full((60, 150, 3), 30, np.uint8))]
write("slide.svs", [levels[0], ("thumbnail", smaller(24)), *levels[1:], *small])
write("plain.tif", levels, plain=True)
at = (512, 1024)  # row and column
print(f"expected: three levels, 1, 4 and 16 times smaller; a tile read at {at} of level 1 begins there")
seen = {}
for path in ("plain.tif", "slide.svs"):
    for backend in ("openslide", "tifffile"):
        reader = WSIReader(backend=backend)
        opened = reader.read(path)
        ratios = [round(reader.get_downsample_ratio(opened, level), 1) for level in range(reader.get_level_count(opened))]
        tile, _ = reader.get_data(opened, location=at, size=(32, 32), level=1)
        place = tuple(int(value) * 16 for value in (tile[1].min(), tile[0].min()))
        seen[path, backend] = ratios, place
        print(f"seen:     {path}, {backend:9s} levels {ratios}; the tile begins at about {place}")
right = [1.0, 4.0, 16.0], at
stated = all(found == right for case, found in seen.items() if case != ("slide.svs", "tifffile"))
stated = stated and seen["slide.svs", "tifffile"] == ([1.0, 24.0, 4.0, 16.0, 23.0, 38.4], (80, 160))
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
