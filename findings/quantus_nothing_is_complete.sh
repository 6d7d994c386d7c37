#!/usr/bin/env bash
# What: Completeness of Quantus asks whether the numbers of an explanation add up to what the model's answer changes by. Of the exact explanation of a model that adds up its tiles, and of integrated gradients of an attention model by captum, whose sums are right to 1e-5, none of 100 slides is complete with the defaults; without them 40, 39 and 17 % of slides of 10, 40 and 1,000 tiles by the exact one, and 3, 8 and 4 % by integrated gradients.
# By default an explanation is divided by its largest number before it is added up, and the tiles are replaced by "black", the lowest value in the slide, which is not 0 for features. With normalise=False and perturb_baseline=0.0 the two sums are compared for equality to the last bit.
# Versions: quantus 0.6.0, captum 0.9.0, torch 2.13.0. Seen 2026-12-01.
# Why it matters: by default no explanation of features is complete, and without the defaults which slides are is settled by rounding. Compare the sums yourself, with a tolerance. The docstring names the defaults, not what they do to it; not reported that we found.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'quantus==0.6.0' 'captum==0.9.0' 'torch==2.13.0' 'numpy==2.4.6' 'scipy==1.17.1' 'pandas==3.1.1' 'scikit-image==0.26.0' 'scikit-learn==1.9.1' 'matplotlib==3.11.2'
cd "$folder"
cat > trial.py <<'PYTHON'
import importlib.metadata
import warnings

warnings.simplefilter("ignore")
import numpy as np
import quantus
import torch
from captum.attr import IntegratedGradients

torch.set_num_threads(1)
for name in ("quantus", "captum", "torch"):
    print(name, importlib.metadata.version(name).split("+")[0], end="; ")
print()
SLIDES = 100


class Sum(torch.nn.Module):
    """A slide's logit is the sum of its tiles, one feature each."""

    def forward(self, bags):
        logit = bags[:, 0].sum(1)
        return torch.stack([-logit, logit], 1)


class Attention(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.score, self.head = torch.nn.Linear(1, 8), torch.nn.Linear(8, 1), torch.nn.Linear(8, 2)

    def forward(self, bags):
        tiles = torch.tanh(self.embed(bags.transpose(1, 2)))
        return self.head((torch.softmax(self.score(tiles), 1) * tiles).sum(1))


def complete(model, bags, explanation, **options):
    measure = quantus.Completeness(abs=False, disable_warnings=True, **options)
    return round(100 * float(np.mean(measure(model=model, x_batch=bags, y_batch=np.ones(SLIDES, dtype=int), a_batch=explanation, softmax=False, channel_first=True))))


seen = {}
print("expected: 100 % of slides are complete, where the sums are as far apart as rounding makes them")
for tiles in (10, 40, 1000):
    bags = np.random.default_rng(0).normal(size=(SLIDES, 1, tiles)).astype(np.float32)
    for name, model in (("exact sum", Sum().eval()), ("integrated gradients", Attention().eval())):
        explanation = bags if name == "exact sum" else IntegratedGradients(model).attribute(torch.tensor(bags), target=1, n_steps=50, method="gausslegendre", internal_batch_size=SLIDES).detach().numpy().astype(np.float32)
        with torch.no_grad():
            change = (model(torch.tensor(bags)) - model(torch.zeros(1, 1, tiles)))[:, 1].numpy()
        apart = float(np.abs(explanation.sum((1, 2), dtype=np.float64) - change).max())
        seen[name, tiles] = complete(model, bags, explanation), complete(model, bags, explanation, normalise=False, perturb_baseline=0.0), apart
        print(f"seen:     {name:20s} {tiles:4d} tiles: {seen[name, tiles][0]} %; with normalise=False, perturb_baseline=0.0 {seen[name, tiles][1]} %; the sums are {apart:.0e} apart at most")
stated = all(default == 0 and last < 75 and apart < 1e-4 for default, last, apart in seen.values())
stated = stated and all(seen["integrated gradients", tiles][1] < 30 for tiles in (10, 40, 1000))
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
OMP_NUM_THREADS=1 MPLCONFIGDIR="$folder" venv/bin/python trial.py 2> said || { cat said >&2; exit 1; }
