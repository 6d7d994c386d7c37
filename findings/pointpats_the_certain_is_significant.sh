#!/usr/bin/env bash
# What: pointpats' tests of a pattern of points by simulation (`g_test`, `k_test`; `f_test` and `l_test` share the code) have p = 0 at each distance where the pattern and all simulations say the same,
# and p = 0 wherever the pattern is as low as the lowest: with 99 simulations the least possible p is .01 on the one side and 0 on the other.
# Versions: pointpats 2.5.5, numpy 2.4.6. Seen 2026-12-01.
# Why it matters: "tiles of high attention are clustered at these distances" is said of points thrown at random, at the shortest and the longest distances of nearly every slide.
# p is the smaller of (count + 1) / (n + 1), of simulations that are as high, and 1 minus that; where all are equal the first is 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'pointpats==2.5.5' 'libpysal==4.14.1' 'numpy==2.4.6' 'scipy==1.17.1' 'pandas==2.3.3'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata
import warnings

warnings.simplefilter("ignore")
import numpy as np
from pointpats import g_test, k_test

print("pointpats", importlib.metadata.version("pointpats"))
np.random.seed(0)
draw = np.random.default_rng(0)
tiles = draw.uniform(0, 100, (80, 2))
distances = np.array([0.0, 5, 10, 20, 40, 80])
one = g_test(tiles, support=distances, n_simulations=99, keep_simulations=True)
equal = (one.simulations == one.statistic).all(0)
print("expected: 80 tiles thrown at random have no small p; where every pattern says the same, 1 (or no number)")
print(f"seen:     g_test at {distances.astype(int).tolist()}: {one.statistic.round(2).tolist()}, p {one.pvalue.round(2).tolist()}; all 99 simulations are equal to it at {distances[equal].astype(int).tolist()}")
default, smallest = [], []
for _ in range(20):
    test = g_test(draw.uniform(0, 100, (80, 2)), n_simulations=99)
    default.append((test.pvalue[1:] < 0.01).mean())
    smallest.append(test.pvalue[1:].min())
print(f"seen:     of 20 such slides {sum(p < 0.01 for p in smallest)} have a p below .01 at some of the {len(test.pvalue) - 1} distances above 0 that it takes by default, and {np.mean(default):.0%} of these p are below .01")
low = [k_test(draw.uniform(0, 100, (80, 2)), support=np.array([0.0, 10, 20]), n_simulations=19, keep_simulations=True) for _ in range(100)]
lowest = np.array([(test.simulations >= test.statistic).all(0)[1:] for test in low])
highest = np.array([(test.simulations < test.statistic).all(0)[1:] for test in low])
p = np.array([test.pvalue[1:] for test in low])
print(f"seen:     k_test with 19 simulations: {p[lowest].max():.2f} below all of them ({lowest.sum()} times), {p[highest].min():.2f} above ({highest.sum()} times)")
stated = equal[[0, -1]].all() and (one.pvalue[equal] == 0).all() and sum(p < 0.01 for p in smallest) >= 18 and lowest.any() and p[lowest].max() == 0 and (p > 0)[highest].all()
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
