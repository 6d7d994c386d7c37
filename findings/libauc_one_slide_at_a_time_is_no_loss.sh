#!/usr/bin/env bash
# What: the share of positive slides that LibAUC's AUCMLoss is given is ignored. "If this value is not given, it will be automatically calculated with mini-batch samples"; it is calculated where it is given too, unless each call says `auto=False`, which no docstring names. With one slide at a time the share is then 0 or 1, and the loss and all its gradients are exactly 0, also where eight slides are accumulated for a step: the model is never trained.
# Versions: libauc 2.0.1, torch 2.13.0. Seen 2026-12-01.
# Why it matters: bags go one at a time, and AUC is optimised where positive slides are rare, so that the share in a batch is not that of the cohort. A loss of 0 looks like a model that is perfect. That the multi-label loss is 0 for a batch of one is an open report, https://github.com/Optimization-AI/LibAUC/issues/36; that `imratio` has no effect is none that we found. Source: `forward` in libauc/losses/auc.py.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'torch==2.13.0' 'numpy==2.4.6' 'scikit-learn==1.9.1' 'tqdm==4.70.1'
# without what its graph models, pictures and samplers need, of which nothing is used here
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check --no-deps 'libauc==2.0.1'
cd "$folder"
cat > trial.py <<'PYTHON'
import copy
import warnings

warnings.simplefilter("ignore")
import torch
from libauc.losses import AUCMLoss
from libauc.optimizers import PESG
from torch import nn

torch.manual_seed(0)
slides = torch.randn(400, 8)
labels = (torch.arange(400) % 4 == 0).float()
slides[labels == 1, 0] += 2  # a quarter is positive
untrained = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1), nn.Sigmoid())


def auc(model):
    with torch.no_grad():
        scores = model(slides)[:, 0]
    positive, negative = scores[labels == 1, None], scores[labels == 0]
    return ((positive > negative).float() + (positive == negative).float() / 2).mean().item()


def trained(batch, accumulated, **how):
    model, loss = copy.deepcopy(untrained), AUCMLoss(imratio=0.25)
    optimizer = PESG(model.parameters(), loss_fn=loss, lr=0.1, momentum=0.9, weight_decay=0, epoch_decay=0)
    torch.manual_seed(1)
    largest, step = 0.0, 0
    for _ in range(10):
        for rows in torch.randperm(400).split(batch):
            value = loss(model(slides[rows]), labels[rows], **how) / accumulated
            value.backward()
            largest, step = max(largest, abs(value.item())), step + 1
            if step % accumulated == 0:
                optimizer.step()
                optimizer.zero_grad()
    return auc(model), largest, (model[0].weight - untrained[0].weight).abs().max().item(), float(loss.p)


print(f"expected: with imratio=.25 an AUC above .9 (untrained {auc(untrained):.2f}), by one slide at a time as by eight; the share that is used is .25")
seen = {}
for name, batch, accumulated, how in (
    ("8 slides at once", 8, 1, {}),
    ("1 slide, 8 accumulated", 1, 8, {}),
    ("1 slide", 1, 1, {}),
    ("8 at once, auto=False", 8, 1, {"auto": False}),
    ("8 accumulated, auto=False", 1, 8, {"auto": False}),
):
    seen[name] = area, largest, moved, share = trained(batch, accumulated, **how)
    print(f"seen:     {name:26s} AUC {area:.2f}, largest loss {largest:.3f}, weights moved by up to {moved:.3f}, share in the last batch {share:.3f}")
silent = all(seen[name][1] == seen[name][2] == 0 for name in ("1 slide", "1 slide, 8 accumulated"))
by_batch = seen["8 slides at once"][3] == 0.125 and seen["8 at once, auto=False"][3] == 0.25
raise SystemExit(0 if silent and by_batch and seen["8 accumulated, auto=False"][0] > 0.9 else "no longer as stated")
PYTHON
OMP_NUM_THREADS=1 venv/bin/python trial.py
