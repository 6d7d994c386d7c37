#!/usr/bin/env bash
# What: exactextract given an array and an outline in its pixels, without an extent, takes row 0 for the top of a map: the mean is that of the mirrored place. Of a file without georeference the mean is no number, and rasterstats refuses; rasterio is right.
# Versions: exactextract 0.3.0, rasterio 1.4.4, rasterstats 0.21.0, shapely 2.2.0. Seen 2026-12-01.
# Why it matters: it is the one package that weighs pixels by their exact share in an outline, which is what "how much attention lies in the annotation" asks. The answer is of other tissue, and looks like any other number.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'exactextract==0.3.0' 'rasterio==1.4.4' 'rasterstats==0.21.0' 'shapely==2.2.0' 'numpy==2.4.6'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata
import warnings

import numpy as np
import rasterio.features
from affine import Affine
from exactextract import exact_extract
from exactextract.raster import NumPyRasterSource
from rasterstats import zonal_stats
from shapely.geometry import box

warnings.filterwarnings("ignore")
print(*(f"{name} {importlib.metadata.version(name)}" for name in ("exactextract", "rasterio", "rasterstats")))
HEIGHT, WIDTH = 60, 80
attention = np.arange(HEIGHT)[:, None] * np.ones((1, WIDTH))  # the value of a pixel is its row
outline = box(10, 2, 30, 12)  # in pixels, y counted downwards: rows 2 to 11
feature = [{"type": "Feature", "geometry": outline.__geo_interface__, "properties": {}}]
with rasterio.open("map.tif", "w", driver="GTiff", height=HEIGHT, width=WIDTH, count=1, dtype="float64") as file:
    file.write(attention, 1)


def by_array():
    return exact_extract(NumPyRasterSource(attention), feature, ["mean"])[0]["properties"]["mean"]


def by_array_turned_over():
    return exact_extract(NumPyRasterSource(attention[::-1]), feature, ["mean"])[0]["properties"]["mean"]


def by_file():
    return exact_extract(rasterio.open("map.tif"), feature, ["mean"])[0]["properties"]["mean"]


def by_rasterstats():
    return zonal_stats([outline], attention, affine=Affine.identity(), nodata=-1)[0]["mean"]


def by_rasterio():
    return attention[rasterio.features.rasterize([outline], out_shape=attention.shape).astype(bool)].mean()


print("expected: 6.5, the mean of the rows 2 to 11")
seen = {}
for name, read in (("rasterio", by_rasterio), ("exactextract, array", by_array), ("exactextract, array turned over first", by_array_turned_over), ("exactextract, file", by_file), ("rasterstats", by_rasterstats)):
    try:
        seen[name] = float(read())
    except Exception as error:
        seen[name] = f"error, {type(error).__name__}"
    print(f"seen:     {name:38s} {seen[name]}")
stated = seen["exactextract, array"] == HEIGHT - 1 - 6.5 and seen["rasterio"] == seen["exactextract, array turned over first"] == 6.5 and np.isnan(seen["exactextract, file"]) and str(seen["rasterstats"]).startswith("error")
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
