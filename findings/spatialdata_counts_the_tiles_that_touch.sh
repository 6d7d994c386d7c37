#!/usr/bin/env bash
# What: spatialdata's `aggregate` of tiles by an annotation counts, by default, the tiles that only touch its edge: an annotation of exactly 9 tiles has 25. With `fractions=True` tiles are right, but a mean is the sum of values times overlaps divided by the number of tiles: of a map that is 1 everywhere it is .83, and .16 in an annotation within one tile.
# Versions: spatialdata 0.7.3, geopandas 1.2.0, shapely 2.2.0, pandas 2.3.3. Seen 2026-12-01.
# Why it matters: mean attention, a share or a count of cells in an annotation is asked for so; annotations drawn on the grid of the tiles (or made of them) touch a whole frame of others, and the smaller the annotation the lower is its mean with fractions.
# Source: spatialdata/_core/operations/aggregate.py joins by "intersects", which a common edge is, where a comment takes it for the same as an overlay; with fractions it multiplies by the overlap, as documented, and then calls pandas' mean, which the documentation allows for numbers. Not reported that we found.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'spatialdata==0.7.3' 'geopandas==1.2.0' 'shapely==2.2.0' 'pandas==2.3.3' 'numpy==2.4.6' 'anndata==0.12.19' 'dask==2026.1.1' 'distributed==2026.1.1' 'zarr==3.1.6' 'xarray==2026.9.0' 'xarray-spatial==0.5.3' 'ome-zarr==0.15.0' 'dask-image==2026.5.0' 'datashader==0.19.1' 'numba==0.68.1'
cd "$folder"
venv/bin/python - <<'PYTHON'
import warnings
from importlib.metadata import version

import geopandas
import numpy as np

warnings.simplefilter("ignore")
from shapely import box
from spatialdata import aggregate
from spatialdata.models import ShapesModel

print(*(f"{name} {version(name)}" for name in ("spatialdata", "geopandas", "shapely", "pandas")))
places = [(x, y) for x in range(10) for y in range(10)]
tiles = geopandas.GeoDataFrame({"one": 1.0, "column": [float(x) for x, _ in places]}, geometry=[box(10 * x, 10 * y, 10 * x + 10, 10 * y + 10) for x, y in places])
regions = {"nine whole tiles": box(20, 20, 50, 50), "the same, smaller by a thousandth of a pixel": box(20.001, 20.001, 49.999, 49.999), "two and a half columns": box(0, 0, 25, 100), "within one tile": box(3, 3, 7, 7)}
annotation = geopandas.GeoDataFrame(geometry=list(regions.values()))


def by_spatialdata(key, how, fractions):
    table = aggregate(values=ShapesModel.parse(tiles.copy()), by=ShapesModel.parse(annotation.copy()), value_key=key, agg_func=how, fractions=fractions)["table"]
    return np.round(np.asarray(table.X.todense()).ravel(), 2).tolist()


overlap = np.array([[tile.intersection(region).area for tile in tiles.geometry] for region in regions.values()])
tiles_inside = (overlap > 0).sum(1).tolist()
mean = {key: np.round(overlap @ tiles[key].to_numpy() / overlap.sum(1), 2).tolist() for key in ("one", "column")}
seen = {"count": by_spatialdata("one", "count", False), "count, fractions": by_spatialdata("one", "count", True)}
seen |= {f"mean of {key}{', fractions' if fractions else ''}": by_spatialdata(key, "mean", fractions) for key in ("one", "column") for fractions in (False, True)}
print("annotations:", list(regions))
print(f"expected: tiles in them {tiles_inside}\nseen:     {seen['count']}, with fractions {seen['count, fractions']}")
for key, name in (("one", "a map that is 1 everywhere"), ("column", "a map of the number of the column")):
    print(f"expected: mean of {name}, weighted by area {mean[key]}\nseen:     {seen[f'mean of {key}']}, with fractions {seen[f'mean of {key}, fractions']}")
stated = tiles_inside == [9, 9, 30, 1] and seen["count"] == [25, 9, 30, 1] and seen["count, fractions"] == tiles_inside
stated = stated and mean["one"] == [1, 1, 1, 1] and seen["mean of one, fractions"] == [1, 1, 0.83, 0.16]
raise SystemExit(0 if stated and mean["column"][2] == 0.8 and seen["mean of column, fractions"][2] == 0.67 else "no longer as stated")
PYTHON
