#!/usr/bin/env bash
# What: dcor's permutation tests of distance covariance and of energy distance make no permutation unless told how many (`num_resamples=0` is the default), and say p = 1 of whatever they are given.
# Versions: dcor 0.7, numpy 2.4.6. Seen 2026-12-01.
# Why it matters: the features of two sites, or a score and a stage, are "not different" and "not related", with a statistic beside it that looks like a result. No warning.
# p is (count + 1) / (permutations + 1), which is 1 for none. The default stands in the signature only. Somebody asked why p is always 1, and was not answered so: https://github.com/vnmabus/dcor/issues/11
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'dcor==0.7' 'numpy==2.4.6' 'scipy==1.17.1'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata

import numpy as np
from dcor.homogeneity import energy_test
from dcor.independence import distance_correlation_t_test, distance_covariance_test, partial_distance_covariance_test

print("dcor", importlib.metadata.version("dcor"))
draw = np.random.default_rng(0)
site = draw.normal(size=(40, 8))
tests = {
    "distance_covariance_test of a table with itself": lambda **options: distance_covariance_test(site, site, **options),
    "partial_distance_covariance_test of the same": lambda **options: partial_distance_covariance_test(site, site, draw.normal(size=(40, 8)), **options),
    "energy_test of two sites five deviations apart": lambda **options: energy_test(site, site + 5, **options),
}
print("expected: a small p, or an error that no number of permutations was given")
seen = {}
for name, test in tests.items():
    seen[name] = test().pvalue, test(num_resamples=199, random_state=0).pvalue
    print(f"seen:     {name}: p = {seen[name][0]} by default, {seen[name][1]:.3f} with num_resamples=199")
other = distance_correlation_t_test(site, site).pvalue
print(f"seen:     distance_correlation_t_test, which needs no permutations: p = {other:.0e}")
raise SystemExit(0 if all(default == 1 and told <= 0.01 for default, told in seen.values()) and other < 1e-6 else "no longer as stated")
PYTHON
