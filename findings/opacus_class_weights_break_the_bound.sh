#!/usr/bin/env bash
# What: differential privacy by Opacus rests on one slide changing the sum of clipped gradients by no more than `max_grad_norm`, here 1. With class weights in `CrossEntropyLoss` one positive slide among 64 changes it by 23, as the loss is divided by the sum of the weights and Opacus multiplies by the number of slides: what each of the others is clipped from depends on it. With `grad_sample_mode="ghost"` of the same package, which takes the loss slide by slide, it is 1; without weights it is .56 in both.
# Versions: opacus 1.6.0, torch 2.13.0. Seen 2026-12-01.
# Why it matters: rare classes are weighted in nearly every cohort. The model passes the validator (BatchNorm, which joins slides in the same way, does not), and the epsilon that is reported is that of noise 23 times as large. In the two modes the same training also has other gradients. Use `reduction="none"` and take the mean, or "ghost".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'torch==2.13.0' 'opacus==1.6.0' 'numpy==2.4.6'
cd "$folder"
cat > trial.py <<'PYTHON'
import torch
from opacus import PrivacyEngine
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

BOUND, SLIDES = 1.0, 64
torch.manual_seed(0)
bags, labels = torch.randn(SLIDES, 50, 5), (torch.arange(SLIDES) == SLIDES - 1).long()


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.score, self.head = nn.Linear(5, 1), nn.Linear(5, 2)
        with torch.no_grad():
            for part in (self.score, self.head):
                part.weight.copy_(torch.linspace(-0.3, 0.3, part.weight.numel()).view_as(part.weight))
                part.bias.copy_(torch.linspace(-0.4, 0.4, part.bias.numel()))

    def forward(self, bag):
        return self.head((torch.softmax(self.score(bag), 1) * bag).sum(1))


def summed(mode, loss, slides):
    """The sum of clipped gradients that noise is added to, without the noise: a step of a learning rate of 1, times the batch it is divided by."""
    model = Model()
    with_all = dict(module=model, optimizer=torch.optim.SGD(model.parameters(), lr=1.0), data_loader=DataLoader(TensorDataset(bags, labels), batch_size=SLIDES), noise_multiplier=0.0, max_grad_norm=BOUND, poisson_sampling=False)
    if mode == "ghost":
        model, optimizer, loss, _ = PrivacyEngine().make_private(criterion=loss, grad_sample_mode=mode, **with_all)
    else:
        model, optimizer, _ = PrivacyEngine().make_private(grad_sample_mode=mode, **with_all)
    before = [value.detach().clone() for value in model.parameters()]
    optimizer.zero_grad()
    loss(model(bags[:slides]), labels[:slides]).backward()
    optimizer.step()
    return SLIDES * torch.cat([(old - new.detach()).flatten() for old, new in zip(before, model.parameters())])


print(f"expected: a slide more changes the sum of clipped gradients by at most {BOUND}")
seen = {}
for mode in ("hooks", "functorch", "ghost"):
    for weights in (None, torch.tensor([1.0, 63.0])):
        losses = [nn.CrossEntropyLoss(weight=weights) for _ in range(2)]
        seen[mode, weights is not None] = (summed(mode, losses[0], SLIDES) - summed(mode, losses[1], SLIDES - 1)).norm().item()
        print(f"seen:     {mode:9s} {'class weights' if weights is not None else 'no weights':13s} {seen[mode, weights is not None]:.2f}")
stated = all(change < 1.001 for (mode, weighted), change in seen.items() if mode == "ghost" or not weighted) and all(seen[mode, True] > 5 for mode in ("hooks", "functorch"))
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
venv/bin/python trial.py 2> said || { cat said >&2; exit 1; }
