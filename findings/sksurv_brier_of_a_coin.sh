#!/usr/bin/env bash
# What: saying one half for everybody has a Brier score of .25. Where times are whole months, half-years or years, scikit-survival and torchsurv give more,
# .317 with yearly visits: an event is weighed by the chance to be still followed *after* the losses of its own month. pycox and SurvivalEVAL give .25.
# Versions: scikit-survival 0.28.0, torchsurv 0.2.0, pycox 0.3.0, SurvivalEVAL 0.9.0. Seen 2026-12-01.
# Why it matters: survival tables of slide cohorts have whole months or years. A model looks worse than it is, by the grain of the table; scores of two cohorts, or by two
# packages, do not compare. For Uno's C-index of scikit-survival the same is an open report: https://github.com/sebp/scikit-survival/issues/428
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'scikit-survival==0.28.0' 'torchsurv==0.2.0' 'pycox==0.3.0' 'SurvivalEVAL==0.9.0' 'torch==2.13.0' 'numpy==2.4.6' 'setuptools'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata
import warnings

warnings.simplefilter("ignore")
import numpy as np
import pandas as pd
import torch
from pycox.evaluation import EvalSurv
from sksurv.metrics import brier_score
from sksurv.util import Surv
from SurvivalEVAL import SurvivalEvaluator
from torchsurv.metrics.brier_score import BrierScore
from torchsurv.stats.ipcw import get_ipcw

names = ("scikit-survival", "torchsurv", "pycox", "SurvivalEVAL")
print(*(f"{name} {importlib.metadata.version(name)}" for name in names))
draw = np.random.default_rng(0)
patients, at = 500, 24.0
death, lost = draw.exponential(30, patients), draw.exponential(30, patients)
print("expected: .25 at 24 months, whatever the grain of the times: half of everybody's squared error is a quarter")
seen = {}
for name, grain in (("as they are", None), ("whole months", 1), ("half-years", 6), ("years", 12)):
    own, end = (when if grain is None else np.ceil(when / grain) * grain for when in (death, lost))
    months, died = np.minimum(own, end), own <= end
    targets, half = Surv.from_arrays(died, months), np.full((patients, 1), 0.5)
    theirs = brier_score(targets, targets, half, [at])[1][0]
    event, time, when = torch.tensor(died), torch.tensor(months), torch.tensor([at], dtype=torch.float64)
    weights = {"weight": get_ipcw(event, time), "weight_new_time": get_ipcw(event, time, new_time=when)}
    of_torch = BrierScore()(torch.tensor(half), event, time, new_time=when, **weights).item()
    grid = np.array([0.0, at, 10 * at])
    curves = np.tile([1.0, 0.5, 0.25], (patients, 1))
    of_pycox = EvalSurv(pd.DataFrame(curves.T, index=grid), months, died.astype(int), censor_surv="km").brier_score(np.array([at])).iloc[0]
    of_eval = SurvivalEvaluator(curves, grid, months, died.astype(int), months, died.astype(int)).brier_score(at)
    seen[name] = [float(score) for score in (theirs, of_torch, of_pycox, of_eval)]
    print(f"seen:     {name}: " + ", ".join(f"{package} {score:.3f}" for package, score in zip(names, seen[name], strict=True)))
stated = (
    np.allclose(seen["as they are"], 0.25, atol=0.002)
    and min(seen["whole months"][:2]) > 0.253
    and min(seen["years"][:2]) > 0.3
    and all(abs(score - 0.25) < 0.002 for scores in seen.values() for score in scores[2:])
)
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
