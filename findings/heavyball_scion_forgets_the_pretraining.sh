#!/usr/bin/env bash
# What: an optimiser draws the model's weights anew. HeavyBall's Scion, at its first step and with any learning rate, 0 too, puts random orthogonal matrices in the place of all parameters of two and more dimensions, and zeros in that of those of one: biases and the scales of LayerNorm. A trained ABMIL with a LayerNorm that tells all of 200 slides says the same of each after a step of a rate of 0. Of the same name in pytorch_optimizer the weights stay, and its formula for initial weights is a method to be called.
# Versions: heavyball 3.2.1, pytorch_optimizer 4.1.0, torch 2.13.0. Seen 2026-12-01.
# Why it matters: tile encoders and aggregators are fine-tuned from somebody's weights. Nothing says that they are gone; the loss of the first step, which is computed before, is the good one. Neither docstring nor README has it (source: `scion_auto_init_param_`). A run resumed without the optimiser's state begins anew too.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'torch==2.13.0' 'heavyball==3.2.1' 'pytorch_optimizer==4.1.0' 'numpy==2.4.6'
cd "$folder"
cat > trial.py <<'PYTHON'
import copy
import warnings

warnings.filterwarnings("ignore")
import heavyball
import pytorch_optimizer
import torch
from torch import nn


class ABMIL(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.norm = nn.Linear(16, 32), nn.LayerNorm(32)
        self.value, self.gate, self.score = nn.Linear(32, 16), nn.Linear(32, 16), nn.Linear(16, 1)
        self.head = nn.Linear(32, 1)

    def forward(self, bags):
        tiles = torch.relu(self.norm(self.embed(bags)))
        attention = torch.softmax(self.score(torch.tanh(self.value(tiles)) * torch.sigmoid(self.gate(tiles))), 1)
        return self.head((attention * tiles).sum(1))[:, 0]


torch.manual_seed(0)
labels = (torch.arange(200) % 2).float()
bags = torch.randn(200, 30, 16)
bags[labels == 1, :5, :2] += 3  # a sixth of the tiles of a positive slide is tumour
pretrained = ABMIL()
optimizer = torch.optim.AdamW(pretrained.parameters(), lr=3e-3)
for _ in range(150):
    optimizer.zero_grad()
    nn.functional.binary_cross_entropy_with_logits(pretrained(bags), labels).backward()
    optimizer.step()


def told(model):
    with torch.no_grad():
        logits = model(bags)
    return ((logits > 0) == labels.bool()).float().mean().item(), logits.std().item()


def stepped(make):
    model = copy.deepcopy(pretrained)
    optimizer = make(list(model.parameters()))
    nn.functional.binary_cross_entropy_with_logits(model(bags), labels).backward()
    optimizer.step()
    alike = nn.functional.cosine_similarity(model.embed.weight.flatten(), pretrained.embed.weight.flatten(), 0).item()
    return *told(model), alike, model.norm.weight.abs().max().item()


print(f"expected: after a step of a learning rate of 0 the model is what it was: {100 * told(pretrained)[0]:.0f} % of slides right, deviation of the logits {told(pretrained)[1]:.2f}")
seen = {
    "heavyball": stepped(lambda parameters: heavyball.Scion(parameters, lr=0.0, compile_step=False)),
    "pytorch_optimizer": stepped(lambda parameters: pytorch_optimizer.SCION(parameters, lr=0.0)),
}
for name, (right, spread, alike, scale) in seen.items():
    print(f"seen:     {name:17s} {100 * right:.0f} % right, deviation {spread:.2f}; cosine of the first layer with itself {alike:.2f}; largest scale of LayerNorm {scale:.2f}")
ours, theirs = seen["heavyball"], seen["pytorch_optimizer"]
stated = told(pretrained)[0] > 0.95 and ours[0] < 0.6 and ours[1] == 0 and abs(ours[2]) < 0.2 and ours[3] == 0 and theirs[0] > 0.95 and theirs[2] > 0.999
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
OMP_NUM_THREADS=1 TORCHDYNAMO_DISABLE=1 venv/bin/python trial.py 2> said || { cat said >&2; exit 1; }
