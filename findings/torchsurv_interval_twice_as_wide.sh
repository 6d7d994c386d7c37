#!/usr/bin/env bash
# What: the default ("noether") standard error of torchsurv's C-index is twice what it is: each pair of patients is counted for the one who died first, not for both of them.
# Its 95 % interval covers always, its p below .05 does not come where it should in one of twenty, and a model that a paired bootstrap finds better is not.
# Versions: torchsurv 0.2.0, torch 2.13.0. Seen 2026-12-01.
# Why it matters: "not significant" against .5, and against another model, is said of cohorts that show the difference. With method="bootstrap" the interval is near to right, the comparison is not: it draws the two
# models from a common pool and apart from each other, as if they had predicted other patients.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'torchsurv==0.2.0' 'torch==2.13.0' 'torchmetrics==1.9.0' 'numpy==2.4.6' 'pandas==2.3.3'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata
import warnings

warnings.simplefilter("ignore")
import numpy as np
import torch
from torchsurv.metrics.cindex import ConcordanceIndex

print("torchsurv", importlib.metadata.version("torchsurv"))


def cohort(seed, patients, effect):  # half of the patients are lost before they die
    draw = torch.Generator().manual_seed(seed)
    risk = torch.randn(patients, generator=draw)
    death, lost = (-torch.log(torch.rand(patients, generator=draw)) for _ in range(2))
    death = death * torch.exp(-effect * risk)
    noise = torch.randn(2, patients, generator=draw)
    return risk, noise, death <= lost, torch.minimum(death, lost)


def pairs(risk, died, months):
    comparable = (months[:, None] < months) & died[:, None]
    return comparable & (risk[:, None] > risk), comparable & (risk[:, None] < risk)


def by_hand(sides, risk, died, months):
    n = len(risk)
    right, wrong = ((kind + kind.T if sides == 2 else kind).sum(1) for kind in (kind.astype(float) for kind in pairs(risk, died, months)))
    share, triples = n * (n - 1), n * (n - 1) * (n - 2)
    pc, pd = right.sum() / share, wrong.sum() / share
    pcc, pdd, pcd = (right * (right - 1)).sum() / triples, (wrong * (wrong - 1)).sum() / triples, (right * wrong).sum() / triples
    return np.sqrt(4 / (pc + pd) ** 4 * (pd**2 * pcc - 2 * pc * pd * pcd + pc**2 * pdd) / n)


def c_index(risk, died, months):
    right, wrong = pairs(risk, died, months)
    return right.sum() / (right.sum() + wrong.sum())


values, intervals, errors, chance = [], [], [], []
for seed in range(200):
    risk, _, died, months = cohort(seed, 100, effect=1)
    index = ConcordanceIndex()
    values.append(index(risk, died, months).item())
    low, high = index.confidence_interval().tolist()
    intervals.append((low, high))
    plain = [value.numpy() for value in (risk, died, months)]
    errors.append([(high - low) / 2 / 1.96, by_hand(1, *plain), by_hand(2, *plain)])
    coin, _, died, months = cohort(seed, 100, effect=0)
    index(coin, died, months)
    chance.append(index.p_value().item())
middle, (theirs, one, two) = np.mean(values), np.mean(errors, 0)
covered = np.mean([low <= middle <= high for low, high in intervals])
below = np.mean(np.array(chance) < 0.05)
print("expected: of 200 cohorts of 100 patients a standard error near the spread of the C-indices, 95 % of intervals with the middle in them, 5 % of p below .05 where the model is a coin")
print(f"seen:     spread {np.std(values):.3f}, standard error {theirs:.3f}; covered {covered:.1%}; p below .05 {below:.1%}")
print(f"seen:     Noether's by hand: {two:.3f} with each pair for both patients, {one:.3f} with each for the earlier one only")
found = {"compare()": 0, 'compare(method="bootstrap")': 0, "both models on the same redrawn patients": 0}
draw = np.random.default_rng(0)
for seed in range(10):  # the second model is the first with noise added
    risk, noise, died, months = cohort(seed, 150, effect=1)
    good = risk + 0.7 * noise[0]
    models = good, good + 1.2 * noise[1]
    first, second = ConcordanceIndex(), ConcordanceIndex()
    for index, model in zip((first, second), models, strict=True):
        index(model, died, months)
    torch.manual_seed(seed)
    gains = []
    for rows in draw.integers(0, 150, (300, 150)):
        gains.append(np.subtract(*(c_index(model.numpy()[rows], died.numpy()[rows], months.numpy()[rows]) for model in models)))
    p = first.compare(second).item(), first.compare(second, method="bootstrap", n_bootstraps=59).item(), np.mean(np.array(gains) <= 0)
    found = {name: times + bool(value < 0.05) for (name, times), value in zip(found.items(), p, strict=True)}
print("seen:     of 10 cohorts of 150 patients, a model is found better (p below .05) than itself with noise added: " + ", ".join(f"{name} {times}" for name, times in found.items()))
stated = theirs > 1.7 * np.std(values) and abs(theirs - one) < 0.002 and two < 1.15 * np.std(values) and covered > 0.985 and below < 0.015
theirs_found, shuffled, paired = found.values()
raise SystemExit(0 if stated and max(theirs_found, shuffled) <= paired - 4 else "no longer as stated")
PYTHON
