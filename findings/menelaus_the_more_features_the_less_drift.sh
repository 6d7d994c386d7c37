#!/usr/bin/env bash
# What: menelaus' HDDDM, which by default can find drift in the first batch, holds the distance averaged over features against a threshold that is made of distances summed over features. The distance is below 1.42 whatever happens; the threshold is .4 for one feature, 1.9 for 16 and 5.3 for 64. Another scanner, five deviations away in all features and for good, is found at once with one feature, in one of ten cohorts with 16, and in no batch at all with 64. Where nothing has changed, two of three cohorts have an alarm within four batches with one feature.
# Versions: menelaus 0.2.0, scipy 1.17.1 (for comparison). Seen 2026-12-01.
# Why it matters: features of slides are many. A first batch that passes becomes part of the reference, so the new scanner is not found later either.
# Source: _estimate_initial_epsilon of menelaus/data_drift/histogram_density_method.py leaves the sum over features undivided, where update() divides; it also divides the sum of all differences (45 with the default five subsets) by the number of subsets.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'menelaus==0.2.0' 'numpy==1.26.4' 'scipy==1.17.1' 'pandas==2.3.3' 'scikit-learn==1.9.1'
cd "$folder"
OMP_NUM_THREADS=1 venv/bin/python - <<'PYTHON'
import importlib.metadata
import warnings

warnings.simplefilter("ignore")
import numpy as np
import pandas as pd
from menelaus.data_drift import HDDDM
from scipy.stats import ks_2samp

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("menelaus", "scipy")))


def watch(features, shift, cohorts=20, batches=4):
    """Shares of cohorts with an alarm in the first batch, in any, and by Kolmogorov-Smirnov with Bonferroni in the first; the first threshold and distance."""
    draw = np.random.default_rng(0)
    np.random.seed(0)
    first, ever, other, threshold, distance = [], [], [], [], []
    for _ in range(cohorts):
        detector = HDDDM()
        reference = pd.DataFrame(draw.normal(0, 1, (200, features)))
        detector.set_reference(reference)
        alarms = []
        for batch in range(batches):
            slides = pd.DataFrame(draw.normal(shift, 1, (60, features)))
            detector.update(slides)
            alarms.append(detector.drift_state == "drift")
            if batch == 0:
                other.append(min(ks_2samp(reference[name], slides[name]).pvalue for name in slides) < 0.05 / features)
                threshold.append(detector.beta)
                distance.append(detector.current_distance)
        first.append(alarms[0])
        ever.append(any(alarms))
    return tuple(float(np.mean(values)) for values in (first, ever, other, threshold, distance))


print("expected: four batches of 60 slides of a scanner five deviations away in all features, after 200 of another: an alarm in the first one, whatever the number of features; few without a change")
seen = {}
for features in (1, 4, 16, 64):
    for shift in (5, 0):
        seen[features, shift] = first, ever, other, threshold, distance = watch(features, shift)
        print(f"seen:     {features:2d} features, {'another' if shift else 'the same'} scanner: alarm in the first batch {first:.0%}, in any of four {ever:.0%} (first batch by Kolmogorov-Smirnov {other:.0%}); first distance {distance:.2f}, threshold of its change {threshold:.2f}")
stated = seen[1, 5][0] == 1 and seen[16, 5][1] <= 0.2 and seen[64, 5][1] == 0 and seen[64, 5][3] > 2**0.5 > seen[64, 5][4]
stated = stated and all(seen[features, 5][2] == 1 and seen[features, 0][2] <= 0.15 for features in (1, 4, 16, 64)) and seen[1, 0][1] >= 0.4
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
