#!/usr/bin/env bash
# What: optimisers that take the mean off each row of a gradient by default (gradient centralisation: Ranger, Ranger21 and ROSE of pytorch_optimizer) never train a parameter whose rows hold one number: the mean of one number is that number, and 0 is left.
# A layer for one clinical number (age), a LoRA of rank 1, a temperature for each head (heads, 1, 1) and a convolution of one channel stay as they were drawn; with a weight decay they shrink to nothing. Nothing is said.
# Versions: pytorch_optimizer 4.1.0, torch 2.13.0. Seen 2026-12-01.
# Why it matters: "age adds nothing to the slide", "rank 1 is not enough", with an optimiser that was chosen from a list. The documentation says what is subtracted (as published), not what is left; use_gc=False, centralize_gradients=False and centralize=False.
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
from pytorch_optimizer import ROSE, Ranger, Ranger21
from torch import nn

print("pytorch_optimizer", importlib.metadata.version("pytorch_optimizer"))
torch.manual_seed(0)
SLIDES, WIDTH, STEPS = 200, 32, 300
tiles = torch.randn(SLIDES, 20, WIDTH)
age = torch.randn(SLIDES, 1)
label = ((age[:, 0] + 0.3 * torch.randn(SLIDES)) > 0).float()  # it goes by the age alone


class Lora(nn.Module):
    def __init__(self, rank):
        super().__init__()
        self.frozen = nn.Linear(WIDTH, WIDTH).requires_grad_(False)
        self.a, self.b = nn.Parameter(torch.randn(rank, WIDTH) / WIDTH**0.5), nn.Parameter(torch.zeros(WIDTH, rank))

    def forward(self, x):
        return self.frozen(x) + x @ self.a.T @ self.b.T


class Mil(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.four = Lora(1), Lora(4)
        self.attention, self.temperature = nn.Linear(WIDTH, 4), nn.Parameter(torch.ones(4, 1, 1))
        self.channel = nn.Conv1d(1, 4, 1)
        self.age = nn.Linear(1, WIDTH)
        self.age.weight.data.mul_(0.01)
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, tiles, age):
        tiles = self.four(self.one(tiles).relu()).relu()
        maps = self.attention(tiles).transpose(0, 2) * self.temperature  # (heads, tiles, slides)
        slide = torch.einsum("hts,std->sd", maps.softmax(1), tiles) / 4
        slide = torch.einsum("scd,c->sd", self.channel(slide[:, None]), torch.tensor([1.0, 0.5, -0.5, 0.7]))
        return self.head(slide + self.age(age))[:, 0]


def train(optimiser, **options):
    torch.manual_seed(1)
    model = Mil()
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    steps = optimiser([value for value in model.parameters() if value.requires_grad], lr=0.003, **options)
    for _ in range(STEPS):
        loss = nn.functional.binary_cross_entropy_with_logits(model(tiles, age), label)
        steps.zero_grad()
        loss.backward()
        steps.step()
    moved = {name: (value.detach() - before[name]).abs().max().item() for name, value in model.named_parameters() if value.requires_grad}
    change = (model.one(tiles) - model.one.frozen(tiles)).abs().max().item()
    return moved, change, loss.item()


SINGLE = {"age.weight": "weights of the age", "one.b": "B of a LoRA of rank 1", "temperature": "temperatures", "channel.weight": "one channel"}
WITHOUT_GRADIENT = "one.a", "attention.bias"  # of the first there is none while B is 0, and the second shifts all tiles alike
optimisers = {
    "Adam": (torch.optim.Adam, {}),
    "Ranger": (Ranger, {"weight_decay": 0.0}),
    "Ranger21": (Ranger21, {"weight_decay": 0.0, "num_iterations": STEPS, "norm_loss_factor": 0.0}),
    "ROSE": (ROSE, {"weight_decay": 0.0}),
    "Ranger, use_gc=False": (Ranger, {"weight_decay": 0.0, "use_gc": False}),
}
print("expected: every parameter moves, and a LoRA changes what its layer answers")
stated = True
for name, (optimiser, options) in optimisers.items():
    moved, change, loss = train(optimiser, **options)
    least = min(value for key, value in moved.items() if key not in SINGLE and key not in WITHOUT_GRADIENT)
    single = max(moved[key] for key in SINGLE)
    print(f"seen:     {name:20s} " + ", ".join(f"{text} {moved[key]:.2g}" for key, text in SINGLE.items()) + f"; the others at least {least:.2g}; the LoRA of rank 1 changes its layer by {change:.2g}; loss {loss:.2f}")
    frozen = name in ("Ranger", "Ranger21", "ROSE")
    stated = stated and least > 1e-4 and (single < 1e-5 and change < 1e-5 if frozen else min(moved[key] for key in SINGLE) > 1e-3 and change > 1e-3)
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
OMP_NUM_THREADS=1 venv/bin/python trial.py
