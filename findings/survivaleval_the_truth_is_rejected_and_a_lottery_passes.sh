#!/usr/bin/env bash
# What: SurvivalEVAL's log-rank test of predicted survival curves rejects the curves that the times were drawn from: in two of three cohorts of 100 patients without losses and in nearly all of 300 (with half lost 18 and 38 %). A lottery, in which each patient has the curve around a time drawn for another patient, passes.
# Versions: SurvivalEVAL 0.9.0, lifelines 0.30.3. Seen 2026-12-01.
# Why it matters: it stands in one list with D-calibration, and "p = .001, predicted and observed survival differ" is said of the better model, the more surely the larger the cohort.
# The test compares the observed times with each curve's median, one a patient, all taken for deaths. Patients' medians are spread by risk only, their times by risk and chance, so that the true medians are too narrow.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'SurvivalEVAL==0.9.0' 'lifelines==0.30.3' 'numpy==1.26.4' 'scipy==1.17.1' 'pandas==2.3.3'
cd "$folder"
OMP_NUM_THREADS=1 venv/bin/python - <<'PYTHON'
import importlib.metadata
import warnings

warnings.simplefilter("ignore")
import numpy as np
from lifelines.utils import concordance_index
from SurvivalEVAL import SurvivalEvaluator

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("SurvivalEVAL", "lifelines")))
draw = np.random.default_rng(0)
months = np.linspace(0, 400, 801)


def judged(patients, lost, cohorts=60):
    """Shares of cohorts with p below .05 by log-rank and by D-calibration, and the mean C-index, of the true curves and of a lottery."""
    seen = {"truth": [], "lottery": []}
    for _ in range(cohorts):
        rate = np.exp(draw.normal(-3, 0.5, patients))
        dies = draw.exponential(1 / rate)
        leaves = draw.exponential(20, patients) if lost else np.full(patients, 1e9)
        time, event = np.minimum(dies, leaves), (dies <= leaves).astype(int)
        other = np.log(2) / draw.permutation(draw.exponential(1 / rate))
        for name, its in (("truth", rate), ("lottery", other)):
            evaluator = SurvivalEvaluator(np.exp(-its[:, None] * months), months, time, event)
            seen[name].append((evaluator.log_rank()[0] < 0.05, evaluator.d_calibration()[0] < 0.05, concordance_index(time, -its, event)))
    return {name: np.mean(values, 0) for name, values in seen.items()}


print("expected: p below .05 in 5 % of cohorts for the curves that the times were drawn from, and in many for a lottery")
found = {}
for patients in (50, 100, 300):
    for lost in (False, True):
        found[patients, lost] = judged(patients, lost)
        for name, (log_rank, calibration, concordance) in found[patients, lost].items():
            print(f"seen:     {patients:3d} patients, {'half lost' if lost else 'none lost'}, {name:7s}: p < .05 by log-rank {log_rank:4.0%}, by D-calibration {calibration:4.0%}; C-index {concordance:.2f}")
stated = found[100, False]["truth"][0] > 0.4 and found[300, False]["truth"][0] > 0.9 and found[300, True]["truth"][0] > 0.2
stated = stated and all(values["lottery"][0] < 0.15 and values["truth"][1] < 0.15 for values in found.values()) and found[300, False]["lottery"][1] > 0.9
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
