#!/usr/bin/env bash
# What: Flower's MultiKrum (and Krum, Bulyan), which leave out the hospital whose model lies far from the others', choose it in half of the rounds, as by drawing lots, where the models have a BatchNorm with variances of 100: its model is ten times as far from the others as they are from each other. In double precision, or without the BatchNorm (which is equal in all), never.
# Versions: flwr 1.42.0, numpy 2.4.6. Seen 2026-12-01.
# Why it matters: the strategy is there against a hospital with wrong labels or a wrong scale. Models come whole and not as differences, and nearly equal, since all begin with the same weights; features of encoders have variances of tens and hundreds. Nothing is logged.
# The squared distance of two models is taken as |x|^2 + |y|^2 - 2xy in single precision: with squares of ten millions it is right to about 1, where the distances are .005 and .3. The older interface (flwr.server.strategy) takes the difference first, and is right.
# Source: compute_distances in flwr/serverapp/strategy/multikrum.py. An open pull request has the same formula for the older interface, for speed: https://github.com/flwrlabs/flower/pull/7224. Nothing of precision was found reported there.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'flwr==1.42.0' 'numpy==2.4.6'
cd "$folder"
OMP_NUM_THREADS=1 venv/bin/python - <<'PYTHON'
import importlib.metadata

import numpy as np
from flwr.app import ArrayRecord, RecordDict
from flwr.server.strategy.aggregate import _compute_distances
from flwr.serverapp.strategy.multikrum import compute_distances, select_multikrum

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("flwr", "numpy")))
ROUNDS = 30


def models(variance, seed):
    generator = np.random.default_rng(seed)
    weights, variances = 0.05 * generator.normal(size=(1024, 256)), variance * generator.uniform(0.5, 1.5, 1024)
    learnt = [1e-3 if hospital == seed % 6 else 1e-4 for hospital in range(6)]
    return [[weights + much * generator.normal(size=weights.shape), variances] for much in learnt]


def records(sent, kind):
    return [ArrayRecord([array.astype(kind) for array in model]) for model in sent]


def chosen(sent, kind):
    contents = [RecordDict({"arrays": record}) for record in records(sent, kind)]
    return [next(i for i, content in enumerate(contents) if content is one) for one in select_multikrum(contents, 1, 3)]


print("expected: of six hospitals, one of which is ten times as far out, three of the others are chosen in every round")
share = {}
for variance in (0, 1, 100, 1000):
    for kind in ("float32", "float64"):
        share[variance, kind] = np.mean([seed % 6 in chosen(models(variance, seed), kind) for seed in range(ROUNDS)])
    print(f"seen:     BatchNorm variances of {variance}: it is among the three in {share[variance, 'float32']:.0%} of {ROUNDS} rounds in single precision, {share[variance, 'float64']:.0%} in double")
sent = models(100, 0)
theirs, older = compute_distances(records(sent, "float32"))[:2], np.array(_compute_distances([[array.astype("float32") for array in model] for model in sent]))[:2]
print(f"expected: squared distances of the first two hospitals (the first is the far one), by the older interface {older.round(3).tolist()}")
print(f"seen:     {theirs.round(3).tolist()}")
stated = share[100, "float32"] > 0.25 and share[1000, "float32"] > 0.25 and all(share[variance, "float64"] == 0 for variance in (0, 1, 100, 1000)) and share[0, "float32"] == 0
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
