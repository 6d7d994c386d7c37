#!/usr/bin/env bash
# What: HistoPrep cuts tiles over the right and lower edge of a slide, by default, and fills what lies outside with white at level 0. By OpenSlide at level 1 it is black but for the last rows, at level 2 and below all of it; by its Pillow backend it is white at all levels. And with out_of_bounds=False tiles still lie outside where the overlap is one half or more, since the last column and the last row only are left out.
# Versions: HistoPrep 2.0.5, openslide-python 1.4.7, openslide-bin 4.0.1.2. Seen 2026-12-01.
# Why it matters: tiles are saved at the level that the encoder wants, and tissue at the edge of the scanned area is common in small slides. Black is taken for what is darkest in tissue; the share of background beside the tile counts it as background.
# Source: read_region of its OpenSlide backend takes x and y in pixels of level 0, width and height in those of the level, and compares their sum with the sides at level 0: it asks OpenSlide for pixels outside, which are transparent, and leaves the alpha out.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'histoprep==2.0.5' 'openslide-python==1.4.7' 'openslide-bin==4.0.1.2' 'tifffile==2026.3.3' 'numpy==2.4.6'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata

import numpy as np
import tifffile
from histoprep import SlideReader

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("histoprep", "openslide-python", "openslide-bin")))
slide = np.full((2100, 3000, 3), 235, np.uint8)
slide[1500:, 2300:] = 200, 120, 170  # tissue up to the lower right corner
with tifffile.TiffWriter("slide.tiff", bigtiff=True) as file:
    for level in range(3):
        file.write(slide[::2**level, ::2**level], tile=(256, 256), photometric="rgb", subfiletype=int(level > 0))
left, top, side = 2560, 1536, 1024
stated = True
for backend in ("OPENSLIDE", "PILLOW"):
    reader = SlideReader("slide.tiff", backend=backend)
    for level in range(3):
        tile = reader.read_region((left, top, side, side), level=level)
        rows, columns = (2100 - top) // 2**level, (3000 - left) // 2**level
        tissue, below = tile[:rows, :columns], tile[rows:]
        black, white = (below == 0).mean(), (below == 255).mean()
        print(f"expected: {backend}, level {level}: {tile.shape[0]} px, tissue 163, below it white")
        print(f"seen:     {backend}, level {level}: {tile.shape[0]} px, tissue {tissue.mean():.0f}, below it {white:.0%} white and {black:.0%} black")
        due = {"OPENSLIDE": (0, 0.8, 1)[level], "PILLOW": 0}[backend]
        stated = stated and abs(tissue.mean() - 490 / 3) < 1 and (black >= due if due else black == 0) and black + white > 0.999
reader = SlideReader("slide.tiff")
threshold, mask = reader.get_tissue_mask()
kept = reader.get_tile_coordinates(mask, width=side).coordinates
outside = [xywh for xywh in kept if xywh[0] + side > 3000 or xywh[1] + side > 2100]
print(f"seen:     of {len(kept)} tiles with tissue {len(outside)} lie over the edge, by default")
for overlap in (0.25, 0.5, 0.75):
    corners = np.array(reader.get_tile_coordinates(None, width=512, overlap=overlap, out_of_bounds=False).coordinates)
    over = ((corners[:, 0] + 512 > 3000) | (corners[:, 1] + 512 > 2100)).sum()
    print(f"expected: out_of_bounds=False, overlap {overlap}: no tile over the edge\nseen:     {over} of {len(corners)}")
    stated = stated and (over > 0) == (overlap >= 0.5)
raise SystemExit(0 if stated and outside else "no longer as stated")
PYTHON
