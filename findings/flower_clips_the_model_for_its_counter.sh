#!/usr/bin/env bash
# What: Flower's differential privacy scales what a hospital has learnt so that its norm is `clipping_norm`, and takes all arrays for one vector. BatchNorm's `num_batches_tracked`, a whole number that is part of a state_dict, is among them: it grows by 40 in 40 bags, so the norm is 40 instead of .5, and of what was learnt a fortieth is kept. After 400 bags it is a four-hundredth.
# Versions: flwr 1.42.0, torch 2.13.0. Seen 2026-12-01.
# Why it matters: the more slides a hospital has, the less of what it learnt arrives; the loss stays where it was, and that looks like the price of privacy. The logged line says only that parameters are clipped; the same with `fixedclipping_mod` in the client. The example in Flower's own docstring of ArrayRecord sends all of `state_dict()`. Users who met it let whole numbers pass (https://github.com/londonaicentre/FLIP/issues/832); in Flower's tracker none was found. Source: `compute_clip_model_update` and `get_norm`, which are given every array.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'torch==2.13.0' 'flwr==1.42.0' 'numpy==2.4.6'
cd "$folder"
cat > trial.py <<'PYTHON'
import logging
import warnings

warnings.simplefilter("ignore")
logging.disable(logging.WARNING)
import numpy as np
import torch
from flwr.common import Code, FitRes, Status, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.server.strategy import DifferentialPrivacyServerSideFixedClipping, FedAvg
from torch import nn


def arrays(model):
    return [value.detach().numpy().copy() for value in model.state_dict().values()]


def kept(steps, with_counter, norm=1.0):
    """Which part of the change of the first layer is left after a round in which two hospitals learnt the same."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))
    names = list(model.state_dict())
    sent = [index for index, name in enumerate(names) if with_counter or not name.endswith("num_batches_tracked")]
    before = arrays(model)
    with torch.no_grad():
        change = torch.randn(8, 16)
        model[0].weight += 0.5 * change / change.norm()
        model[1].num_batches_tracked += steps  # as `steps` bags in training mode do
    after = arrays(model)
    strategy = DifferentialPrivacyServerSideFixedClipping(FedAvg(), noise_multiplier=1e-12, clipping_norm=norm, num_sampled_clients=2)
    strategy.current_round_params = [before[index] for index in sent]  # as configure_fit leaves them
    told = [(None, FitRes(Status(Code.OK, ""), ndarrays_to_parameters([after[index] for index in sent]), 50, {})) for _ in range(2)]
    parameters, _ = strategy.aggregate_fit(1, told, [])
    return np.linalg.norm(parameters_to_ndarrays(parameters)[0] - before[0]) / 0.5


print("expected: a change of norm .5 is below the clipping norm of 1, and is kept whole (the noise is as good as none here)")
seen = {(steps, with_counter): kept(steps, with_counter) for steps in (1, 40, 400) for with_counter in (False, True)}
for (steps, with_counter), share in seen.items():
    print(f"seen:     {steps:3d} bags, {'all of state_dict' if with_counter else 'without the counter':19s}: {100 * share:6.2f} % of the change is kept")
stated = all(abs(seen[steps, False] - 1) < 1e-3 for steps in (1, 40, 400)) and abs(seen[40, True] - 1 / 40) < 1e-3 and abs(seen[400, True] - 1 / 400) < 1e-4
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
OMP_NUM_THREADS=1 venv/bin/python trial.py
