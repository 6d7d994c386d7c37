#!/usr/bin/env bash
# What: the same picture in files with and without a second level, the same call of `sopa.patches.compute_embeddings`: `obsm["spatial"]` of the same tile is (1344, 448) and (336, 112), because it counts in pixels of the level that happened to be read. Tiles that reach over the edge of the slide are filled with black.
# Versions: sopa 2.2.11, spatialdata 0.7.3, torch 2.14.1. Seen 2026-12-01.
# Why it matters: neighbourhoods, distances and heat maps of a cohort are made from obsm["spatial"]; scanners and conversions differ in their levels. Black is no glass to an encoder. The shapes beside it, transformed to "global", are right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'sopa[wsi]==2.2.11' 'spatialdata==0.7.3' 'torch==2.14.1' 'torchvision==0.29.1' 'openslide-python==1.4.7' 'openslide-bin==4.0.1.2' 'tifffile==2026.3.3' 'imagecodecs==2026.3.6' 'numpy==2.4.6'
cd "$folder"
venv/bin/python - 2> said <<'PYTHON' || { cat said >&2; exit 1; }
import importlib.metadata
import logging
import warnings

import numpy as np
import sopa
import tifffile
import torch
from spatialdata import transform

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
print(*(f"{name} {importlib.metadata.version(name)}" for name in ("sopa", "spatialdata", "openslide-bin")))
SIDE = 2560
rows, columns = np.mgrid[:SIDE, :SIDE]
slide = np.stack([columns // 16, rows // 16, np.full_like(rows, 90)], -1).astype(np.uint8)  # red and green say the place
said = "Aperio Image Library v12\r\n|AppMag = 40|MPP = 0.25"


def write(name, levels):
    with tifffile.TiffWriter(name) as file:
        for level in levels:
            picture = slide.reshape(SIDE // level, level, SIDE // level, level, 3).mean((1, 3)).round().astype(np.uint8)
            file.write(picture, tile=(256, 256), photometric="rgb", compression="zlib", metadata=None, description=said)
            if level == 1:
                file.write(slide[::20, ::20], rowsperstrip=128, photometric="rgb", compression="zlib", metadata=None, description=said)


class Colours(torch.nn.Module):
    """The mean colour of a tile and its darkest blue, which is 90 everywhere on the slide."""

    def forward(self, tiles):
        return torch.cat([tiles.mean((2, 3)), tiles.amin((2, 3))[:, 2:]], 1) * 255


print("expected: the middle of the second tile of 896 px at (1344, 448) for both files; no colour that the slide has not")
seen = {}
for name, levels in (("one_level.svs", (1,)), ("two_levels.svs", (1, 4))):
    write(name, levels)
    data = sopa.io.wsi(name, backend="openslide")
    table = data[sopa.patches.compute_embeddings(data, Colours(), patch_width=224, magnification=10, level=None)]
    (middle,) = transform(data["embeddings_patches"], to_coordinate_system="global").geometry.centroid[1:2]
    spatial, black = tuple(float(value) for value in table.obsm["spatial"][1]), int((table.X[:, 3] == 0).sum())
    seen[name] = spatial, (middle.x, middle.y), (black, len(table))
    print(f"seen:     {name:14s} obsm {spatial}, shapes {(middle.x, middle.y)}, by its colour {(table.X[1, :2] * 16 + 8).round().tolist()}; {black} of {len(table)} tiles have black in them")
stated = seen == {"one_level.svs": ((1344.0, 448.0), (1344.0, 448.0), (5, 9)), "two_levels.svs": ((336.0, 112.0), (1344.0, 448.0), (5, 9))}
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
