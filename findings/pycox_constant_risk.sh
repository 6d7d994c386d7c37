#!/usr/bin/env bash
# What: pycox's C-index of a model that gives every patient the same curve is not .5: with whole months .53 by default, 0 by method="antolini".
# Versions: pycox 0.3.0, scikit-survival 0.28.0, lifelines 0.30.3. Seen 2026-11-29.
# Why it matters: the default counts two deaths of the same month as a pair, wholly right where the curves are equal and half where they differ, so a
# model that knows nothing looks better than chance; the other method gives nothing for equal curves, and a survival head of few levels loses a tenth. C-indices by
# pycox, lifelines and scikit-survival are not comparable.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'pycox==0.3.0' 'torch==2.13.0' 'scikit-survival==0.28.0' 'lifelines==0.30.3' 'numpy==2.4.6' 'setuptools'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata
import warnings

warnings.simplefilter("ignore")
import numpy as np
import pandas as pd
from lifelines.utils import concordance_index
from pycox.evaluation import EvalSurv
from sksurv.metrics import concordance_index_censored

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("pycox", "scikit-survival", "lifelines")))
draw = np.random.default_rng(0)
risk = draw.normal(size=200)
death, lost = np.ceil(draw.exponential(18 * np.exp(-0.6 * risk))), np.ceil(draw.exponential(24, 200))  # whole months
months, died = np.minimum(death, lost), death <= lost
print("expected: the same number from all, .5 for a constant model")
seen = {}
for name, score in (("four levels of risk", np.digitize(risk, [-0.7, 0, 0.7]).astype(float)), ("all patients alike", np.zeros(200))):
    grid = np.unique(months)
    curves = pd.DataFrame(np.exp(-np.outer(grid / 18, np.exp(0.6 * score))), index=grid)
    judge = EvalSurv(curves, months, died.astype(int))
    seen[name] = [concordance_index_censored(died, months, score)[0], concordance_index(months, -score, died), judge.concordance_td(), judge.concordance_td("antolini")]
    print(f"seen:     {name}: scikit-survival {seen[name][0]:.3f}, lifelines {seen[name][1]:.3f}, pycox {seen[name][2]:.3f}, pycox 'antolini' {seen[name][3]:.3f}")
alike = seen["all patients alike"]
raise SystemExit(0 if alike[:2] == [0.5, 0.5] and alike[2] > 0.52 and alike[3] == 0 else "no longer as stated")
PYTHON
