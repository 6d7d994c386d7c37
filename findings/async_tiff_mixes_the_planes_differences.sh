#!/usr/bin/env bash
# What: a TIFF in tiles whose colours or classes are stored plane by plane and as differences (predictor 2 or 3, the usual partner of LZW, Deflate and Zstandard) comes from async-tiff, and from async-geotiff on it, as other numbers, without a message: two thirds or more of colours, and all scores of classes, up to 1e38 and NaN. The same planes without differences, and the same differences pixel by pixel, are right; so are tifffile, rasterio and virtual-tiff.
# Versions: async-tiff 0.7.2, async-geotiff 0.5.1; against tifffile 2026.3.3, rasterio 1.4.4, virtual-tiff 0.5.0. Seen 2026-12-01.
# Why it matters: maps by class or head and pictures of several markers are stored so, and these are the readers by which tiles are fetched from object storage. Size, type and number of channels are right.
# Source: what is taken off each number is the one before it of the same sample, n numbers earlier where the n samples of a pixel lie together, and one earlier in a plane of its own; the reader takes n in both, and the next rows with it (rev_hpredict_nsamp and rev_predict_f32 of its predictor). Predictors came with https://github.com/developmentseed/async-tiff/pull/86; geotiff.js mended the same in 2020, https://github.com/geotiffjs/geotiff.js/pull/111. Of async-tiff we found no report.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'async-tiff==0.7.2' 'async-geotiff==0.5.1' 'virtual-tiff==0.5.0' 'virtualizarr==2.5.1' 'zarr==3.1.6' 'obstore==0.12.1' 'obspec-utils==0.9.0' 'tifffile==2026.3.3' 'imagecodecs==2026.3.6' 'rasterio==1.4.4' 'numpy==2.4.6'
cd "$folder"
venv/bin/python - <<'PYTHON'
import asyncio
import importlib.metadata
import os
import warnings

import numpy as np
import rasterio
import tifffile
import zarr
from async_geotiff import GeoTIFF, Window
from async_tiff import TIFF
from obspec_utils.registry import ObjectStoreRegistry
from obstore.store import LocalStore
from virtual_tiff import VirtualTIFF

warnings.simplefilter("ignore")
print(*(f"{name} {importlib.metadata.version(name)}" for name in ("async-tiff", "async-geotiff", "virtual-tiff", "tifffile", "rasterio")))
here = LocalStore(os.getcwd())
SIDE = 64  # one tile


async def by_async_tiff(path):
    file = await TIFF.open(path, store=here)
    return np.asarray(await (await file.fetch_tile(0, 0, 0)).decode())


async def by_async_geotiff(path):
    file = await GeoTIFF.open(path, store=here)
    return np.asarray((await file.read(window=Window(0, 0, SIDE, SIDE))).data)


def by_virtual_tiff(path):
    store = VirtualTIFF(ifd=0)(url=f"file://{os.path.abspath(path)}", registry=ObjectStoreRegistry({"file://": LocalStore()}))
    group = zarr.open_group(store, mode="r", zarr_format=3)
    return group[next(iter(group.array_keys()))][:]


random = np.random.default_rng(0)
rows, columns = np.mgrid[:SIDE, :SIDE]
colours = np.stack([232 - rows, 186 - columns, np.full_like(rows, 215)]).astype(np.uint8)
scores = np.moveaxis(random.dirichlet(np.ones(3), (SIDE, SIDE)), 2, 0).astype(np.float32)
stated = True
for name, planes, photometric in (("colours", colours, "rgb"), ("scores", scores, "minisblack")):
    for layout in ("contig", "separate"):
        for differences in (False, True):
            path = f"{name}_{layout}_{differences}.tif"
            stored = planes if layout == "separate" else np.ascontiguousarray(np.moveaxis(planes, 0, 2))
            tifffile.imwrite(path, stored, photometric=photometric, planarconfig=layout, tile=(SIDE, SIDE), compression="deflate", predictor=differences)
            seen = asyncio.run(by_async_tiff(path))
            others = tifffile.imread(path), by_virtual_tiff(path) if layout == "separate" else stored
            wrong = (seen != stored).mean()
            print(f"expected: {name}, {'planes' if layout == 'separate' else 'pixel by pixel'}, {'differences' if differences else 'plain'}: as stored\nseen:     {wrong:.0%} wrong")
            stated = stated and all(np.array_equal(other, stored) for other in others) and (wrong > 0.6 if layout == "separate" and differences else wrong == 0)
profile = {"driver": "GTiff", "width": SIDE, "height": SIDE, "count": 3, "dtype": "float32", "tiled": True, "blockxsize": SIDE, "blockysize": SIDE, "compress": "deflate", "predictor": 3}
for interleave in ("pixel", "band"):
    with rasterio.open("map.tif", "w", interleave=interleave, crs="EPSG:3857", transform=rasterio.Affine(1, 0, 0, 0, -1, 0), **profile) as file:
        file.write(scores)
    seen = asyncio.run(by_async_geotiff("map.tif"))
    with rasterio.open("map.tif") as file:
        stated = stated and np.array_equal(file.read(), scores)
    print(f"expected: async-geotiff, a map by rasterio, interleaved by {interleave}: 0 to 1, {scores[0, 0, :3]}\nseen:     {np.nanmin(seen):.2g} to {np.nanmax(seen):.2g}, {np.isnan(seen).mean():.1%} NaN, {seen[0, 0, :3]}")
    stated = stated and np.array_equal(seen, scores) == (interleave == "pixel")
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
