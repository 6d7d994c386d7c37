#!/usr/bin/env bash
# What: MONAI's FROC never counts the detections of the lowest confidence: a detector that finds every lesion and nothing else has (n - 1) / n for n lesions of different confidence, and 0 where all have the same.
# Versions: monai 1.6.1. Seen 2026-12-01.
# Why it matters: attention maps that saturate, and masks, have one confidence. Few lesions cost the most. The thresholds are those of the official evaluation of CAMELYON16, which begins at the second.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'monai==1.6.1' 'torch==2.13.0' 'numpy==2.4.6'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata

import numpy as np
from monai.metrics import compute_froc_curve_data, compute_froc_score

print("monai", importlib.metadata.version("monai"))


def score(false, found, lesions, slides=5):
    return compute_froc_score(*compute_froc_curve_data(np.array(false), np.array(found), lesions, slides))


print("expected: 1 for every lesion found and nothing else")
seen = {
    "ten lesions, all different": score([], np.linspace(0.5, 0.95, 10), 10),
    "two lesions": score([], [0.9, 0.8], 2),
    "one lesion": score([], [0.9], 1),
    "ten lesions, all 1.0": score([], np.ones(10), 10),
}
for name, value in seen.items():
    print(f"seen:     {name}: {value:.2f}")
late = score([0.1], np.ones(10), 10)
print(f"seen:     ten lesions, all 1.0, and one false finding of .1 on five slides: {late:.2f}")
raise SystemExit(0 if np.allclose([*seen.values(), late], [0.9, 0.5, 0, 0, 1]) else "no longer as stated")
PYTHON
