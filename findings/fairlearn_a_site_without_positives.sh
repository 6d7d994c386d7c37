#!/usr/bin/env bash
# What: a hospital that sent no positive slide has a true positive rate of 0 in fairlearn and counts; a model that is right everywhere has an equalized odds difference of 1, the worst there is. So in aif360, with that hospital against another.
# Versions: fairlearn 0.15.0, aif360 0.6.1, scikit-learn 1.9.1. Seen 2026-12-01.
# Why it matters: "fair between sites" is asked of cohorts in which a small site has no case of the rare class. False negatives of that site are 0 as well, so its two rates do not add up to 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'fairlearn==0.15.0' 'aif360==0.6.1' 'scikit-learn==1.9.1' 'pandas==2.3.3' 'numpy==2.1.3'
cd "$folder"
venv/bin/python - 2>/dev/null <<'PYTHON'
import importlib.metadata

import fairlearn.metrics as fair
import numpy as np
import pandas as pd
from aif360.sklearn.metrics import equal_opportunity_difference

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("fairlearn", "aif360")))
site = np.repeat(["A", "B", "C"], 100)
true = np.tile(np.repeat([1, 0], 50), 3)
true[site == "C"] = 0
said = true.copy()
said[::10] = 1 - said[::10]  # one of ten slides is wrong, in every site


def theirs(answers, rows):
    return fair.equalized_odds_difference(true[rows], answers[rows], sensitive_features=site[rows])


everywhere, with_positives = np.full(300, True), site != "C"
rates = {"tpr": fair.true_positive_rate, "fnr": fair.false_negative_rate}
of_c = fair.MetricFrame(metrics=rates, y_true=true, y_pred=said, sensitive_features=site).by_group.loc["C"]
print("expected: 300 slides of sites A, B and C, C without a positive; a model that is right has a difference of 0 between sites, or none can be given")
right = theirs(true, everywhere)
print(f"seen:     fairlearn {right:.2f}; without site C {theirs(true, with_positives):.2f}")
print("expected: a model that errs in one of ten slides everywhere: a difference near 0")
wrong = theirs(said, everywhere)
print(f"seen:     fairlearn {wrong:.2f}; without site C {theirs(said, with_positives):.2f}; in C a true positive rate of {of_c['tpr']:.2f} and a false negative rate of {of_c['fnr']:.2f}")
two = site != "B"
by_site = pd.Series(true[two], index=pd.Index(site[two], name="site"))
other = equal_opportunity_difference(by_site, true[two], prot_attr="site", priv_group="A")
print(f"seen:     aif360, the model that is right, site C against A: {other:.2f}")
stated = right == 1 and wrong > 0.85 and theirs(true, with_positives) == 0 and theirs(said, with_positives) < 0.05 and of_c.sum() == 0 and other == -1
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
