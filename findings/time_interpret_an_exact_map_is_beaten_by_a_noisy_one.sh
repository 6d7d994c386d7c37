#!/usr/bin/env bash
# What: time-interpret's area under precision gives an explanation that names exactly the true tiles .57 where 15 % are true, and one with noise .83; a jitter of a thousandth on the exact one makes it 1. Its area under recall gives one that names exactly the wrong tiles .50, where one by chance has .50 and one that names them with a jitter has 0.
# Versions: time-interpret 0.3.0, captum 0.9.0, scikit-learn 1.9.1. Seen 2026-12-01.
# Why it matters: sparse attention, top-k and masks have few values, many of them equal. Against gradients they lose by nothing but that, and an upside-down map passes for chance.
# Source: tint/metrics/white_box/aup.py and aur.py integrate scikit-learn's precision and recall over the thresholds that occur, by straight lines between them; precision is a step there. The mean precision (auprc) and the ROC AUC beside them are right. Not reported that we found.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'torch==2.13.0' 'numpy==2.4.6' 'scipy==1.17.1' 'scikit-learn==1.9.1' 'pandas==3.1.1' 'tqdm==4.70.1' 'matplotlib==3.11.2'
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check --no-deps 'captum==0.9.0' 'time-interpret==0.3.0'
cd "$folder"
venv/bin/python - <<'PYTHON'
from importlib.metadata import version

import torch
from tint.metrics.white_box import aup, auprc, aur, roc_auc

print(*(f"{name} {version(name)}" for name in ("time-interpret", "captum", "scikit-learn")))
torch.manual_seed(0)
true = (torch.rand(10, 1000, 1) < 0.15).float()
chance, jitter = torch.rand_like(true), 0.001 * torch.rand_like(true)
maps = {
    "exact": true,
    "exact, with a jitter of a thousandth": true + jitter,
    "noisy": 3 * true + chance,
    "by chance": chance,
    "upside down": 1 - true,
    "upside down, with a jitter": 1 - true + jitter,
}


def by_steps(map, of):
    """The mean over thresholds evenly between 0 and 1 of a slide's map scaled to 0 to 1, as the paper defines both."""
    low, high = map.amin(1, keepdim=True), map.amax(1, keepdim=True)
    scaled = (map - low) / (high - low)
    found = []
    for threshold in torch.linspace(0.0005, 0.9995, 1000):
        chosen = scaled >= threshold
        hits = (true * chosen).sum()
        found.append(hits / (chosen.sum() if of == "precision" else true.sum()))
    return torch.stack(found).mean().item()


seen = {}
for name, map in maps.items():
    due = by_steps(map, "precision"), by_steps(map, "recall")
    seen[name] = aup(map, true), aur(map, true), due, auprc(map, true), roc_auc(map, true)
    print(f"expected: {name}: precision {due[0]:.2f}, recall {due[1]:.2f}")
    print(f"seen:     {name}: precision {seen[name][0]:.2f}, recall {seen[name][1]:.2f} (average precision {seen[name][3]:.2f}, ROC AUC {seen[name][4]:.2f})")
stated = seen["exact"][0] < 0.6 < 0.8 < seen["noisy"][0] and seen["exact, with a jitter of a thousandth"][0] > 0.99
stated = stated and seen["exact"][2][0] > 0.99 and abs(seen["upside down"][1] - 0.5) < 0.01 and seen["upside down, with a jitter"][1] < 0.01 and seen["upside down"][2][1] < 0.01
stated = stated and all(abs(found - due) < 0.02 for name in ("noisy", "by chance") for found, due in zip(seen[name][:2], seen[name][2]))
raise SystemExit(0 if stated and seen["exact"][4] == 1 else "no longer as stated")
PYTHON
