#!/usr/bin/env bash
# What: torchmil's DSMIL may choose a padded row as the critical tile, although it is given the mask.
# Versions: torchmil 1.0.2, torch 2.13.0. Seen 2026-11-29.
# Why it matters: the answer for a slide without suspicious tiles depends on how many tiles the other slides of its batch have.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'torchmil==1.0.2' 'torch==2.13.0'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata

import torch
from torchmil.data import collate_fn
from torchmil.models import DSMIL

print("torchmil", importlib.metadata.version("torchmil"))
torch.manual_seed(0)
model = DSMIL(in_shape=(16,)).eval()
with torch.no_grad():  # as after training: features are not negative, and a healthy tile scores below the bias
    model.inst_classifier.weight.fill_(-0.1)
    slide = {"X": torch.rand(30, 16) + 0.1}
    answers, places = {}, {}
    for others in (30, 31, 90):
        batch = collate_fn([slide, {"X": torch.rand(others, 16)}])
        logits, scores = model(batch["X"], batch["mask"], return_inst_pred=True)
        answers[others], places[others] = logits[0].item(), scores[0].argmax().item()
print("expected: the same answer for the slide of 30 tiles, and a critical tile among 0..29")
for others, answer in answers.items():
    print(f"seen:     beside a slide of {others} tiles: logit {answer:+.4f}, critical tile {places[others]}")
stated = abs(answers[30] - answers[31]) > 1e-3 and places[30] < 30 <= places[31]
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
