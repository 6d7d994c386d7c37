#!/usr/bin/env bash
# What: a loss that is there to raise the AUC lowers it. MONAI's AUCMLoss has three parameters of its own, of which alpha is to be maximised and starts at 0. With an optimiser of the model's parameters, as its docstring's example has it, all of them stay 0 and what is left of the loss draws the scores of both classes to 0. With the loss's parameters in the optimiser too, alpha is minimised, without a bound: it becomes negative, and positive slides are ranked below negative ones.
# Versions: monai 1.6.1, torch 2.13.0. Seen 2026-12-01.
# Why it matters: rare classes are where AUC is optimised. The loss falls to 0, or to -100, so nothing looks wrong, and no optimiser that maximises alpha is part of MONAI; its docstring names none. LibAUC, whose formula it is, moves alpha upwards in an optimiser of its own, PESG. Source: monai/losses/aucm_loss.py; of LibAUC the question was asked: https://github.com/Optimization-AI/LibAUC/issues/9
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'torch==2.13.0' 'monai==1.6.1' 'numpy==2.4.6'
cd "$folder"
cat > trial.py <<'PYTHON'
import copy
import warnings

warnings.simplefilter("ignore")
import torch
from monai.losses.aucm_loss import AUCMLoss
from torch import nn

torch.manual_seed(0)
slides = torch.randn(400, 8)
labels = (torch.arange(400) % 4 == 0).float()
slides[labels == 1, 0] += 2  # a quarter is positive
untrained = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))


def auc(model):
    with torch.no_grad():
        scores = model(slides)[:, 0]
    positive, negative = scores[labels == 1, None], scores[labels == 0]
    return ((positive > negative).float() + (positive == negative).float() / 2).mean().item(), scores.std().item()


def trained(loss, of_the_loss, alpha_upwards=False):
    model = copy.deepcopy(untrained)
    groups = [{"params": list(model.parameters())}]
    if of_the_loss:
        groups += [{"params": [loss.a, loss.b]}, {"params": [loss.alpha], "maximize": alpha_upwards}]
    optimizer = torch.optim.Adam(groups, lr=1e-2)
    torch.manual_seed(1)
    for _ in range(60):
        for rows in torch.randperm(400).split(40):
            value = loss(model(slides[rows]), labels[rows, None])
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
    return *auc(model), value.item(), loss.alpha.item()


print(f"expected: from an AUC of {auc(untrained)[0]:.2f} untrained to above .9, as with alpha maximised")
stated = True
for version in ("v1", "v2"):
    model_only = trained(AUCMLoss(version=version), False)
    everything = trained(AUCMLoss(version=version), True)
    upwards = trained(AUCMLoss(version=version), True, alpha_upwards=True)
    for name, (area, spread, value, alpha) in (("the model's parameters", model_only), ("those of the loss too", everything), ("alpha maximised by hand", upwards)):
        print(f"seen:     {version}, {name:24s} AUC {area:.2f}, deviation of the scores {spread:.3f}, loss {value:8.2f}, alpha {alpha:6.2f}")
    stated &= model_only[1] < 0.02 and model_only[0] < 0.8 and everything[0] < 0.1 and everything[3] < -5 and upwards[0] > 0.9
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
OMP_NUM_THREADS=1 venv/bin/python trial.py
