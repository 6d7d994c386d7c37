#!/usr/bin/env bash
# What: the optimiser CAME, at a rate of .0001, changes a weight of a matrix by .0011 at the first step and one of a vector by .00001: 111 times as far, by the number of dimensions only. The same 64 numbers as a class token of (1, 1, 64) or (1, 64), and as (64,), with the same gradients, are 11 times apart at the 100th step and 3 times at the 1,000th. AdamW takes .0001 for all at the first step, and the same as CAME's vector afterwards.
# What is kept for matrices only, the mean instability, begins at 0, has a decay of .9999 and is not corrected for that: after t steps it is about t / 10,000 of what it will be, and its root divides the step. Neither is the mean of steps corrected, so a vector begins with a tenth.
# Versions: came-pytorch 0.1.3 (its authors' own), pytorch_optimizer 4.1.0, torch 2.13.0. Seen 2026-12-01.
# Why it matters: a cohort gives some hundred or thousand steps, so a training lies wholly within the 10,000; fine-tuning at "a rate of .0001" begins with ten times that on encoder and attention, and LayerNorm and biases lag behind. A token written in another shape is another training. The published algorithm has the matrices so; it says nothing of vectors, and neither do the docstrings.
# That it wants a rate 1 to 10 times smaller than AdamW's is experience: https://github.com/bmaltais/kohya_ss/pull/1811
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'torch==2.13.0' 'came-pytorch==0.1.3' 'pytorch_optimizer==4.1.0' 'numpy==2.4.6'
cd "$folder"
cat > trial.py <<'PYTHON'
import importlib.metadata
import warnings

warnings.simplefilter("ignore")
import pytorch_optimizer
import torch
from came_pytorch import CAME

for name in ("came-pytorch", "pytorch_optimizer", "torch"):
    print(name, importlib.metadata.version(name).split("+")[0], end="; ")
print()
RATE, WIDTH, STEPS = 1e-4, 64, 1000
SHAPES = {"(64,)": (WIDTH,), "(1, 64)": (1, WIDTH), "(1, 1, 64)": (1, 1, WIDTH)}


def steps(make):
    """Root mean square of the change at each step, in learning rates, of one vector of 64 numbers in three shapes, all given the same gradients."""
    draws = torch.Generator().manual_seed(0)
    parameters = [torch.nn.Parameter(torch.ones(shape)) for shape in SHAPES.values()]
    optimizer = make(parameters)
    taken = []
    for _ in range(STEPS):
        gradient = torch.randn(WIDTH, generator=draws)
        before = [value.detach().clone() for value in parameters]
        for value in parameters:
            value.grad = gradient.reshape(value.shape).clone()
        optimizer.step()
        taken.append([((value - old).square().mean().sqrt() / RATE).item() for value, old in zip(parameters, before)])
    return torch.tensor(taken), [value.detach().flatten() for value in parameters]


makers = {
    "AdamW": lambda parameters: torch.optim.AdamW(parameters, lr=RATE, weight_decay=0.0),
    "CAME, came-pytorch": lambda parameters: CAME(parameters, lr=RATE),
    "CAME, pytorch_optimizer": lambda parameters: pytorch_optimizer.CAME(parameters, lr=RATE),
}
print("expected: the same numbers with the same gradients take the same steps in any shape, about one learning rate at first")
found = {}
for name, make in makers.items():
    taken, ends = steps(make)
    found[name] = {step: taken[step - 1] for step in (1, 10, 100, 1000)}
    print(f"seen:     {name}: " + "; ".join(f"step {step} " + ", ".join(f"{shape} {far:.2f}" for shape, far in zip(SHAPES, row)) for step, row in found[name].items()))
stated = all(abs(row[0] - row[1]) < 1e-3 and abs(row[0] - row[2]) < 1e-3 for row in found["AdamW"].values()) and abs(found["AdamW"][1][0] - 1) < 0.01
for name in list(makers)[1:]:
    rows = found[name]
    apart = {step: (rows[step][1] / rows[step][0]).item() for step in rows}
    print(f"seen:     {name}: the token of (1, 64) goes " + ", ".join(f"{ratio:.0f}" for ratio in apart.values()) + " times as far as that of (64,) at steps " + ", ".join(map(str, apart)))
    stated = stated and 105 < apart[1] < 115 and 25 < apart[10] < 60 and 8 < apart[100] < 16 and 3 < apart[1000] < 6 and abs(rows[1][0] - 0.1) < 0.01
    stated = stated and all(abs(row[1] / row[2] - 1) < 0.1 for row in rows.values())
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
OMP_NUM_THREADS=1 TORCHDYNAMO_DISABLE=1 venv/bin/python trial.py 2> said || { cat said >&2; exit 1; }
