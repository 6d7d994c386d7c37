#!/usr/bin/env bash
# What: OpenFL's GeometricMedian, offered against outlying hospitals, goes over to one hospital. Of 0, 1, 2, 3 and 10 it says 3.00 (the median is 2, the mean 3.2). Layers of five hospitals with 100, 200, 300, 100 and 50 slides come out 1.8 from the largest and 31 from the others (by hand 9.4 and 24 to 26); with equally many slides 6 from the one that changed least and 33 from the others (17 and 28). By its own measure, the sum of distances to all, that is worse than the plain mean in 33 of 40 layers.
# Versions: openfl 1.9, numpy 1.26.4. Seen 2026-12-01.
# Why it matters: what the other hospitals learnt is lost, and the strategy that was chosen against one hospital's say gives one hospital the say. Nothing is logged, and the model works, as that hospital's own.
# In Weiszfeld's iteration a hospital's weight is its slides over its distance, each time anew; here that of the step before is divided by the distance again, so after four steps by four distances, and the nearest takes all. More steps make it worse.
# Source: geometric_median in openfl/interface/aggregation_functions/geometric_median.py. No report of it was found.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'openfl==1.9' 'numpy==1.26.4'
cd "$folder"
OMP_NUM_THREADS=1 venv/bin/python - <<'PYTHON'
import importlib.metadata

import numpy as np
from openfl.interface.aggregation_functions import GeometricMedian
from openfl.utilities import LocalTensor

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("openfl", "numpy")))


def theirs(tensors, slides):
    weights = np.asarray(slides) / sum(slides)
    return GeometricMedian().call([LocalTensor(f"hospital {i}", tensor, weight) for i, (tensor, weight) in enumerate(zip(tensors, weights))])


def by_hand(tensors, slides, steps=1000):
    median = np.average(tensors, axis=0, weights=slides)
    for _ in range(steps):
        median = np.average(tensors, axis=0, weights=[weight / max(1e-9, np.linalg.norm(median - tensor)) for weight, tensor in zip(slides, tensors)])
    return median


def distance(point, tensors, slides):
    return float(np.average([np.linalg.norm(point - tensor) for tensor in tensors], weights=slides))


numbers = [np.array([value]) for value in (0.0, 1.0, 2.0, 3.0, 10.0)]
print(f"expected: of 0, 1, 2, 3 and 10 the median {by_hand(numbers, [1] * 5)[0]:.2f} (mean {np.mean(numbers):.2f}); a point between the hospitals, nearer to all of them together than the mean")
of_numbers = float(theirs(numbers, [1] * 5)[0])
print(f"seen:     of 0, 1, 2, 3 and 10: {of_numbers:.2f}")
generator = np.random.default_rng(0)
worse, stated = 0, abs(of_numbers - 3) < 0.01
for slides, learnt in (([1] * 5, (0.4, 0.7, 0.7, 0.7, 0.7)), ([100, 200, 300, 100, 50], (0.5,) * 5)):
    away = {name: [] for name in ("theirs", "by hand", "mean")}
    for layer in range(20):
        shared = generator.normal(size=(64, 32))
        tensors = [shared + part * generator.normal(size=shared.shape) for part in learnt]
        points = {"theirs": theirs(tensors, slides), "by hand": by_hand(tensors, slides), "mean": np.average(tensors, axis=0, weights=slides)}
        for name, point in points.items():
            away[name].append([np.linalg.norm(point - tensor) for tensor in tensors])
        worse += distance(points["theirs"], tensors, slides) > distance(points["mean"], tensors, slides)
    for name, distances in away.items():
        print(f"{'seen:    ' if name == 'theirs' else 'expected:'} 20 layers, slides {slides}, {name}: distance from each hospital {np.mean(distances, axis=0).round(1).tolist()}")
    stated = stated and np.mean(away["theirs"], axis=0).min() < 0.5 * np.mean(away["by hand"], axis=0).min()
print(f"seen:     farther from the hospitals than their plain mean in {worse} of 40 layers")
raise SystemExit(0 if stated and worse > 20 else "no longer as stated")
PYTHON
