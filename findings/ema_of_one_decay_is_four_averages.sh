#!/usr/bin/env bash
# What: a moving average with a decay of .99 lies 63 steps behind its model after 100 steps and 99 after 1,000. Of four packages that are told .99 and nothing else one does; two lie 10 behind after 100 steps, of which one was left with `use_ema_warmup=False`; one lies 9 behind and then 499. The running statistics of BatchNorm in them are today's in three and 499 steps old in the fourth.
# Versions: torch 2.13.0, torch-ema 0.3, diffusers 0.42.1, ema-pytorch 0.8.3. Seen 2026-12-01.
# Why it matters: a cohort has some hundred slides, so that a training of MIL lies wholly in those first steps. A teacher, an anchor or a mean model "with decay .99" is another one in every code base.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'torch==2.13.0' 'torch-ema==0.3' 'diffusers==0.42.1' 'ema-pytorch==0.8.3' 'numpy==2.4.6'
cd "$folder"
cat > trial.py <<'PYTHON'
import warnings

warnings.filterwarnings("ignore")
import torch
from diffusers.training_utils import EMAModel
from ema_pytorch import EMA
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch_ema import ExponentialMovingAverage

LOOKS = (10, 100, 1000)


@torch.no_grad()
def put(model, step):
    """A model whose weight and running mean are the number of its step: their average tells how many steps it lies behind."""
    model[0].weight.fill_(float(step))
    model[1].running_mean.fill_(float(step))


def of(model):
    return model[0].weight.detach().clone(), model[1].running_mean.clone()


def put_in(ema, model):
    ema.store(model.parameters())
    ema.copy_to(model.parameters())
    found = of(model)
    ema.restore(model.parameters())
    return found


packages = {
    "torch": (lambda m: AveragedModel(m, multi_avg_fn=get_ema_multi_avg_fn(0.99)), lambda e, m: e.update_parameters(m), lambda e, m: of(e.module)),
    "torch-ema": (lambda m: ExponentialMovingAverage(m.parameters(), 0.99), lambda e, m: e.update(m.parameters()), put_in),
    "diffusers": (lambda m: EMAModel(m.parameters(), decay=0.99, use_ema_warmup=False), lambda e, m: e.step(m.parameters()), put_in),
    "ema-pytorch": (lambda m: EMA(m, beta=0.99), lambda e, m: e.update(), lambda e, m: of(e.ema_model)),
}
by_formula, own = [], 0.0
for step in range(1, max(LOOKS) + 1):
    own = 0.99 * own + 0.01 * step
    if step in LOOKS:
        by_formula.append(round(step - own))
print(f"expected: {by_formula} steps behind after {LOOKS} steps")
seen = {}
for name, (start, update, average) in packages.items():
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    put(model, 0)
    ema, behind = start(model), []
    for step in range(1, max(LOOKS) + 1):
        put(model, step)
        update(ema, model)
        if step in LOOKS:
            behind.append([round(step - value.item()) for value in average(ema, model)])
    seen[name] = [weight for weight, _ in behind], behind[-1][1]
    print(f"seen:     {name:12s} {seen[name][0]}; running mean {seen[name][1]}")
stated = {"torch": ([9, 62, 99], 0), "torch-ema": ([1, 10, 96], 0), "diffusers": ([1, 10, 96], 0), "ema-pytorch": ([9, 9, 499], 499)}
raise SystemExit(0 if seen == stated else "no longer as stated")
PYTHON
venv/bin/python trial.py 2> said || { cat said >&2; exit 1; }
