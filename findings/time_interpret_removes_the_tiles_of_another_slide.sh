#!/usr/bin/env bash
# What: time-interpret's measures of an explanation (comprehensiveness, sufficiency, log-odds, cross-entropy, accuracy) with `n_samples` above 1 take from each slide of a batch the tiles that matter in another one, and judge it by another slide's class. An exact explanation has a comprehensiveness of .20 instead of .92. With `n_samples_batch_size=1` it is right, but then sufficiency leaves in turn what it keeps and what it removes: half of its value.
# Versions: time-interpret 0.3.0, captum 0.9.0, torch 2.13.0. Seen 2026-12-01.
# Why it matters: it has the shape of a bag (slides, tiles, features), and repeats are asked for where the tiles are disturbed by noise. An explanation by chance and an exact one look alike, and the more slides a batch has the worse both are.
# Source: tint/metrics/base.py: inputs are repeated slide by slide (repeat_interleave), attributions, targets and further arguments as a whole (repeat); and the share to be removed is turned into one minus itself inside the loop, once for each part. Not reported that we found.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'torch==2.13.0' 'numpy==2.4.6' 'scipy==1.17.1' 'scikit-learn==1.9.1' 'pandas==3.1.1' 'tqdm==4.70.1' 'matplotlib==3.11.2'
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check --no-deps 'captum==0.9.0' 'time-interpret==0.3.0'
cd "$folder"
venv/bin/python - <<'PYTHON'
from importlib.metadata import version

import torch
from tint.metrics import accuracy, comprehensiveness, cross_entropy, log_odds, sufficiency

print("time-interpret", version("time-interpret"), "captum", version("captum"), "torch", torch.__version__)
torch.manual_seed(0)
slides, tiles = 6, 50
bags = 0.1 * torch.rand(slides, tiles, 4)
for bag in bags:
    bag[torch.randperm(tiles)[: tiles // 5]] += 1


def model(bags):
    score = 20 * bags.mean((1, 2)) - 2
    return torch.stack([-score, score], -1)


def by_hand(mean, largest, bags, share=0.2):
    """The probability lost when the named share of each slide's own values is set to 0."""
    flat = bags.flatten(1)
    chosen = torch.topk(flat, int(flat.shape[1] * share), largest=largest).indices
    before, after = (model(now).softmax(-1) for now in (bags, flat.scatter(1, chosen, 0.0).view_as(bags)))
    rows, said = torch.arange(len(bags)), model(bags).argmax(-1)
    return mean((before - after)[rows, said]).item()


exact = bags.clone()  # the model is a mean, so each value's part is the value
due = {comprehensiveness: by_hand(torch.mean, True, bags), sufficiency: by_hand(torch.mean, False, bags, share=0.8)}
seen = {}
for measure in (comprehensiveness, sufficiency, log_odds, cross_entropy, accuracy):
    once = measure(model, bags, exact)
    repeated = measure(model, bags, exact, n_samples=10)
    in_parts = measure(model, bags, exact, n_samples=10, n_samples_batch_size=1)
    alone = sum(measure(model, bags[[row]], exact[[row]], n_samples=10) for row in range(slides)) / slides
    seen[measure] = once, repeated, in_parts, alone
    formula = f" (by the formula {due[measure]:.4f})" if measure in due else ""
    print(f"expected: {measure.__name__:17s} of ten repeats without noise, as of one: {once:.4f}{formula}")
    print(f"seen:     {measure.__name__:17s} six slides together {repeated:.4f}; in parts of one repeat {in_parts:.4f}; slide by slide {alone:.4f}")
stated = all(abs(seen[measure][0] - due[measure]) < 1e-5 for measure in due)
stated = stated and all(abs(once - alone) < 1e-5 for once, _, _, alone in seen.values())
stated = stated and seen[comprehensiveness][1] < 0.4 < 0.9 < seen[comprehensiveness][0] and seen[sufficiency][1] > 0.5 > 0.02 > seen[sufficiency][0]
stated = stated and abs(seen[comprehensiveness][2] - seen[comprehensiveness][0]) < 1e-5 and abs(seen[sufficiency][2] / seen[sufficiency][0] - 0.5) < 0.1
raise SystemExit(0 if stated and seen[accuracy][0] == 0 and seen[accuracy][1] > 0.5 else "no longer as stated")
PYTHON
