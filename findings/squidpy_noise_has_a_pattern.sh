#!/usr/bin/env bash
# What: the permutation test of Moran's I and Geary's C in squidpy shuffles the rows of the graph and not its columns, so a tile is compared with the neighbours of another tile instead of the values being dealt out anew. The spread
# of that is half of what chance gives in a feature without a pattern, and more than chance where neighbours are alike. A feature that is constant has p = 1 / (permutations + 1).
# Versions: squidpy 1.8.2, esda 2.9.0. Seen 2026-12-01.
# Why it matters: "which features (attention, genes, scores of cells) have a spatial pattern in this slide" is answered with more than twice as many false ones as promised.
# The two p-values by permutation are one-sided by the side on which the value lies, as in esda, so that 10 % of noise should be below .05. The p-value by formula (`pval_norm`) is right. Not found among squidpy's reports.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'squidpy==1.8.2' 'esda==2.9.0' 'libpysal==4.14.1' 'anndata==0.12.19'
cd "$folder"
OMP_NUM_THREADS=1 MPLBACKEND=agg venv/bin/python -W ignore - <<'PYTHON'
import importlib.metadata
import logging

import anndata
import esda
import libpysal
import numpy as np
import squidpy

logging.disable(logging.INFO)
print(*(f"{name} {importlib.metadata.version(name)}" for name in ("squidpy", "esda")))
draw = np.random.default_rng(0)
side, features, shuffles = 20, 400, 199
place = np.array([(column, row) for row in range(side) for column in range(side)], float)
noise = draw.normal(size=(side * side, features))
smooth = np.sin(place[:, 0] / 3)[:, None] + np.cos(place[:, 1] / 4)[:, None] + 0.3 * draw.normal(size=(side * side, 1))
slide = anndata.AnnData(np.concatenate([noise, smooth, np.ones((side * side, 1))], 1), obsm={"spatial": place})
squidpy.gr.spatial_neighbors(slide, coord_type="grid", n_neighs=4)
weights = libpysal.weights.lat2W(side, side)
np.random.seed(0)
esdas = [esda.Moran(noise[:, feature], weights, permutations=shuffles) for feature in range(features)]
by_esda = np.mean([test.p_sim < 0.05 for test in esdas])
chance = np.mean([test.VI_sim for test in esdas])
print("expected: of 400 features without a pattern some 10 % have a one-sided p below .05, and the spread (variance) of the shuffled values is that of chance")
print(f"seen:     esda: {by_esda:.0%}, variance of Moran's I {chance:.5f} by shuffling and {np.var([test.I for test in esdas]):.5f} over the features")
seen = {}
for mode, key in (("moran", "moranI"), ("geary", "gearyC")):
    squidpy.gr.spatial_autocorr(slide, mode=mode, n_perms=shuffles, seed=0, show_progress_bar=False)
    table = slide.uns[key].loc[slide.var_names]
    rows = table.iloc[:features]
    seen[mode] = {column: (rows[column] < 0.05).mean() for column in ("pval_norm", "pval_sim", "pval_z_sim")}
    seen[mode]["spread"] = rows.var_sim.mean() / rows.var_norm.mean()
    print(f"seen:     squidpy, {mode}: {seen[mode]['pval_sim']:.0%} by permutation, {seen[mode]['pval_z_sim']:.0%} by its normal approximation, {seen[mode]['pval_norm']:.0%} by formula; "
          f"variance by shuffling {rows.var_sim.mean():.5f}, by formula {rows.var_norm.mean():.5f}")
    wave, dead = table.iloc[features], table.iloc[features + 1]
    seen[mode]["wave"], seen[mode]["dead"] = wave.var_sim / wave.var_norm, dead.pval_sim
    print(f"seen:     a feature of waves: variance {wave.var_sim:.5f} by shuffling; a constant one: {dead.iloc[0]} with p = {dead.pval_sim:.3f}")
stated = 0.05 < by_esda < 0.15 and all(one["pval_sim"] > 0.18 and one["pval_z_sim"] > 0.18 and 0.05 < one["pval_norm"] < 0.15 and 0.4 < one["spread"] < 0.6 and one["wave"] > 1.3 and one["dead"] < 0.01 for one in seen.values())
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
