#!/usr/bin/env bash
# What: scikit-learn's quadratic kappa counts distances between the grades that occur, not between grades: without grades 2 to 4 in a fold, calling a 1 a 5 is an error of one grade.
# Versions: scikit-learn 1.9.1, torchmetrics 1.9.0. Seen 2026-12-01.
# Why it matters: the rare grades (ISUP, Gleason, fibrosis) are missing in small folds and in resamples of them; kappas of folds are then on different scales, and another number than in training,
# where torchmetrics logs it. With labels=range(6) both agree.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'scikit-learn==1.9.1' 'torchmetrics==1.9.0' 'torch==2.13.0' 'numpy==2.4.6'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata

import numpy as np
import torch
from sklearn.metrics import cohen_kappa_score
from torchmetrics.classification import MulticlassCohenKappa

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("scikit-learn", "torchmetrics")))
draw = np.random.default_rng(0)
true = draw.choice(6, 2000, p=[0.3, 0.28, 0.05, 0.05, 0.05, 0.27])
said = np.where(draw.random(2000) < 0.7, true, draw.choice(6, 2000))
off, gaps = [], 0
for fold in range(100):
    rows = slice(20 * fold, 20 * fold + 20)
    theirs, whole = (cohen_kappa_score(true[rows], said[rows], weights="quadratic", labels=labels) for labels in (None, range(6)))
    logged = MulticlassCohenKappa(6, weights="quadratic")(torch.tensor(said[rows]), torch.tensor(true[rows])).item()
    assert abs(whole - logged) < 1e-4
    off.append(theirs - logged)
    gaps += len(np.union1d(true[rows], said[rows])) < 6
first = [0, 0, 1, 1, 5, 5, 0, 1, 5, 0], [0, 1, 1, 5, 5, 1, 0, 1, 5, 0]
kappas = cohen_kappa_score(*first, weights="quadratic"), MulticlassCohenKappa(6, weights="quadratic")(*map(torch.tensor, first[::-1])).item()
print("expected: one kappa")
print(f"seen:     ten slides of grades 0, 1 and 5: scikit-learn {kappas[0]:.3f}, torchmetrics {kappas[1]:.3f}")
print(f"seen:     100 folds of 20 slides, {gaps} of them without some grade: apart by up to {np.abs(off).max():.3f}")
raise SystemExit(0 if kappas[0] - kappas[1] > 0.1 and np.abs(off).max() > 0.03 else "no longer as stated")
PYTHON
