#!/usr/bin/env bash
# What: statsmodels' aggregate_raters, which makes the table for Fleiss' kappa, counts a missing reading as a grade of its own: three readers that never disagree, two of which read each slide, have a kappa of 0 instead of 1. It says that what cannot be made integers is an exception.
# Versions: statsmodels 0.15.0, krippendorff 0.9.0, irrCAC 0.4.4 (for comparison). Seen 2026-12-01.
# Why it matters: slides are shared out among readers, and the agreement of readers is the bar that a model is measured against. Two of ten readers that agree have -.05, two that guess -.08. With a number in place of the missing ones it is the same.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'statsmodels==0.15.0' 'krippendorff==0.9.0' 'numpy==2.1.3' 'scipy==1.14.1' 'pandas==2.3.3'
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check --no-deps 'irrCAC==0.4.4'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata
import warnings

warnings.simplefilter("ignore")
import krippendorff
import numpy as np
import pandas as pd
from irrCAC.raw import CAC
from statsmodels.stats.inter_rater import aggregate_raters, fleiss_kappa

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("statsmodels", "krippendorff", "irrCAC")))
draw = np.random.default_rng(0)


def read(readers, each, agree, slides=2000):
    true = draw.integers(0, 2, slides)
    table = np.array([true if agree else draw.integers(0, 2, slides) for _ in range(readers)], float).T
    for row in table:
        row[draw.permutation(readers)[each:]] = np.nan
    return table


print("expected: readers that never disagree have a kappa of 1, readers that guess one near 0; or an error")
seen = {}
for readers, each in ((3, 3), (3, 2), (10, 2)):
    for agree in (True, False):
        table = read(readers, each, agree)
        theirs = fleiss_kappa(aggregate_raters(table)[0])
        others = krippendorff.alpha(table.T, level_of_measurement="nominal"), CAC(pd.DataFrame(table)).fleiss()["est"]["coefficient_value"]
        seen[readers, each, agree] = float(theirs), *others
        who = "that agree" if agree else "that guess"
        print(f"seen:     {each} of {readers} readers {who}: statsmodels {theirs:.2f}; krippendorff {others[0]:.2f}, irrCAC (Fleiss) {others[1]:.2f}")
stated = all(value > 0.99 for key, values in seen.items() if key[2] for value in values[1:])
stated = stated and abs(seen[3, 2, True][0]) < 0.05 and seen[10, 2, True][0] < 0 and seen[3, 3, True][0] > 0.99
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
