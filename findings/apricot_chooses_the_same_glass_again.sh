#!/usr/bin/env bash
# What: a choice of various tiles by apricot, with its default optimizer "lazy", can consist of equal ones. As soon as two candidates in a row add exactly nothing, the second is taken, though others behind them would
# add something: equal tiles are such candidates. Whether it happens goes by their number; "naive" and "two-stage" choose one of them.
# Versions: apricot-select 0.6.1, against greedy choice by hand. Seen 2026-12-01.
# Why it matters: blank tiles filled up by a scanner, and tiles written twice, have the same features to the last bit. A set of 20 tiles that is to stand for the slide, or prototypes for a model, is 19 times the same glass.
# `gains` tells it: 0 from there on. Say `optimizer="naive"`, or keep one of each vector. An open report of gains out of order in this version may be the same:
# https://github.com/jmschrei/apricot/issues/19
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'apricot-select==0.6.1' 'numpy==2.4.6' 'numba==0.66.0' 'scikit-learn==1.9.1' 'scipy==1.17.1'
cd "$folder"
OMP_NUM_THREADS=1 venv/bin/python -W ignore - <<'PYTHON'
import importlib.metadata

import numpy as np
from apricot import FacilityLocationSelection
from sklearn.metrics.pairwise import cosine_similarity

print("apricot-select", importlib.metadata.version("apricot-select"))
draw = np.random.default_rng(0)
tissue, chosen = 500, 20
features = np.maximum(draw.normal(size=(tissue + 1, 64)), 0)


def by_hand(alike):
    """Greedy: each time the tile that brings all tiles nearest to one of those chosen."""
    taken, near = [], np.zeros(len(alike))
    for _ in range(chosen):
        taken.append(int(np.argmax(np.maximum(alike, near).sum(1))))
        near = np.maximum(near, alike[taken[-1]])
    return taken, near.sum()


print(f"expected: of {tissue} tiles of tissue and some equal tiles of glass {chosen} are chosen, one of them glass at most, as good as a greedy choice by hand")
seen = {}
for glass in (1, 20, 50, 100, 200, 400):
    tiles = np.concatenate([features[:-1], np.repeat(features[-1:], glass, 0)])
    alike = np.round(cosine_similarity(tiles) * 1024) / 1024  # so that no sum is rounded
    best = by_hand(alike)[1]
    for optimizer in ("lazy", "naive"):
        how = {} if optimizer == "lazy" else {"optimizer": optimizer}
        model = FacilityLocationSelection(chosen, metric="precomputed", verbose=False, **how).fit(alike)
        seen[glass, optimizer] = int((model.ranking >= tissue).sum()), alike[model.ranking].max(0).sum() / best
    print(f"seen:     {glass} of glass: {seen[glass, 'lazy'][0]} of {chosen} are glass by default, {seen[glass, 'naive'][0]} by naive; {seen[glass, 'lazy'][1]:.0%} and {seen[glass, 'naive'][1]:.0%} of the similarity of the choice by hand")
hit = [glass for (glass, optimizer), (count, _) in seen.items() if optimizer == "lazy" and count > 5]
stated = bool(hit) and all(count <= 1 and share > 0.999 for (_, optimizer), (count, share) in seen.items() if optimizer == "naive")
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
