#!/usr/bin/env bash
# What: Ranger21 divides each gradient by the spread of its own numbers. Where three or more heads are averaged, all have the same gradient in their bias, the spread is rounding, and the bias is thrown away by tens to hundreds in 300 steps of .001; one or two heads, and no normalisation, are right.
# Versions: pytorch_optimizer 4.1.0, torch 2.13.0. Seen 2026-12-01.
# Why it matters: the loss goes from .7 to tens and hundreds without a NaN or a message, and looks like a rate that is too high; at a tenth of the rate it does the same. The division is as in the optimiser's first code, in which numbers that are not finite, with unknown cause, are reported: https://github.com/lessw2020/Ranger21/issues/30
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'pytorch_optimizer==4.1.0' 'torch==2.13.0' 'numpy==2.4.6'
cd "$folder"
cat > trial.py <<'PYTHON'
import importlib.metadata
import warnings

warnings.simplefilter("ignore")
import torch
from pytorch_optimizer import Ranger21
from torch import nn

print("pytorch_optimizer", importlib.metadata.version("pytorch_optimizer"))
SLIDES, WIDTH, STEPS = 60, 32, 300


def train(heads, optimiser, rate=0.001, **options):
    torch.manual_seed(0)
    slides = torch.randn(SLIDES, WIDTH)
    label = (slides[:, 0] > 0).float()
    model = nn.Sequential(nn.Linear(WIDTH, 16), nn.ReLU(), nn.Linear(16, heads))
    before = model[2].bias.detach().clone()
    steps = optimiser(model.parameters(), lr=rate, **options)

    def loss(rows):
        return nn.functional.binary_cross_entropy_with_logits(model(slides[rows]).mean(1), label[rows])

    for _ in range(STEPS):
        value = loss(torch.randperm(SLIDES)[:8])
        steps.zero_grad()
        value.backward()
        steps.step()
    return (model[2].bias.detach() - before).abs().max().item(), loss(torch.arange(SLIDES)).item()


kinds = {
    "Adam": (torch.optim.Adam, {}),
    "Ranger21": (Ranger21, {"num_iterations": STEPS}),
    "Ranger21, rate .0001": (Ranger21, {"num_iterations": STEPS, "rate": 0.0001}),
    "Ranger21, normalize_gradients=False": (Ranger21, {"num_iterations": STEPS, "normalize_gradients": False}),
}
HEADS = (1, 2, 3, 4, 8)
print(f"expected: after {STEPS} steps a loss below {torch.tensor(2.0).log().item():.2f}, and biases that moved by no more than {STEPS} x .001, for any number of heads whose mean is the answer")
stated = True
for name, (optimiser, options) in kinds.items():
    found = [train(heads, optimiser, **options) for heads in HEADS]
    print(f"seen:     {name:36s} " + "; ".join(f"{heads} heads: moved {moved:.2g}, loss {loss:.2f}" for heads, (moved, loss) in zip(HEADS, found, strict=True)))
    for heads, (moved, loss) in zip(HEADS, found, strict=True):
        thrown = name.startswith("Ranger21") and "False" not in name and heads > 2
        stated = stated and ((moved > 3 and loss > 1) if thrown else (moved < 0.3 and loss < 0.7))
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
OMP_NUM_THREADS=1 venv/bin/python trial.py
