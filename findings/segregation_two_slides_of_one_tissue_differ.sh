#!/usr/bin/env bash
# What: segregation's TwoValueTest by "composition", "dual_composition" and "share" finds two slides different in how unevenly a marker lies over the tiles, in half of the pairs, where both were drawn by one rule; by "random_label" in some 5 %.
# Versions: segregation 2.5.4, numpy 1.26.4. Seen 2026-12-01.
# Why it matters: "the marker is more clustered in responders", p < .05, of pairs that differ by nothing but chance.
# Its simulations exchange a tile's value with the one of the same rank in the other slide, by a coin for each tile. Values of the same rank are nearly equal where the slides are alike, so that all simulations nearly are; that cells fell into tiles by chance is not in them.
# Source: _generate_counterfactual and _simulate_counterfactual_difference of segregation/inference/comparative.py.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'segregation==2.5.4' 'numpy==1.26.4' 'pandas==2.3.3' 'scipy==1.17.1'
cd "$folder"
OMP_NUM_THREADS=1 venv/bin/python - 2> log <<'PYTHON' || { tail -5 log; exit 1; }
import importlib.metadata
import warnings

warnings.simplefilter("ignore")
import numpy as np
import pandas as pd
from segregation.inference import TwoValueTest
from segregation.singlegroup import Dissim

print("segregation", importlib.metadata.version("segregation"))


def slide(draw, tiles=40, share=0.3):
    """Cells of each tile, and those that are positive, each with the same chance."""
    cells = draw.integers(20, 60, tiles)
    return Dissim(pd.DataFrame({"positive": draw.binomial(cells, share), "cells": cells}), "positive", "cells")


print("expected: of 30 pairs of slides drawn by one rule some 5 % have a p below .05")
seen = {}
for approach in ("random_label", "composition", "dual_composition", "share"):
    draw = np.random.default_rng(5)
    np.random.seed(5)
    tests = [TwoValueTest(slide(draw), slide(draw), iterations_under_null=99, null_approach=approach, n_jobs=1) for _ in range(30)]
    seen[approach] = np.mean([test.p_value < 0.05 for test in tests])
    print(f"seen:     {approach}: {seen[approach]:.0%}; the simulated differences have a deviation of {np.mean([np.std(test.est_sim) for test in tests]):.4f}, the true ones {np.std([test.est_point_diff for test in tests]):.4f}")
stated = seen["random_label"] <= 0.15 and seen["composition"] >= 0.3 and seen["dual_composition"] >= 0.3 and seen["share"] >= 0.2
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
