#!/usr/bin/env bash
# What: `torch.optim.swa_utils.update_bn`, which a model of averaged weights needs where it has BatchNorm, takes means over batches and not over what is in them. With a bag a step, 20 slides of each of two scanners that are 4 apart, it finds a variance of 1.0 where the tiles have 5.0; where one scanner's slides have 50 tiles and the other's 5,000, a mean of 0 where the tiles' is 1.95.
# Versions: torch 2.13.0. Seen 2026-12-01.
# Why it matters: what differs between slides is left out of the variance and stays in the prediction, where the values are twice as wide as BatchNorm promises; a biopsy weighs as much as a resection. Batches of shuffled single tiles, for which it was written, have neither.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'torch==2.13.0' 'numpy==2.4.6'
cd "$folder"
cat > trial.py <<'PYTHON'
import torch
from torch import nn
from torch.optim.swa_utils import update_bn

seen = []
for few, many in ((500, 500), (50, 5000)):
    torch.manual_seed(0)
    bags = [torch.randn(few, 1) - 2 for _ in range(20)] + [torch.randn(many, 1) + 2 for _ in range(20)]
    norm = nn.BatchNorm1d(1)
    update_bn([(bag, 0) for bag in bags], norm)
    tiles = torch.cat(bags)
    with torch.no_grad():
        out = norm.eval()(tiles)
    print(f"expected: bags of {few} and {many} tiles: mean {tiles.mean():+.2f}, variance {tiles.var():.2f}")
    print(f"seen:     mean {norm.running_mean.item():+.2f}, variance {norm.running_var.item():.2f}; tiles come out with mean {out.mean():+.2f} and deviation {out.std():.2f}")
    seen.append((tiles.mean().item(), tiles.var().item(), norm.running_mean.item(), norm.running_var.item()))
stated = all(abs(mean) < 0.05 and 0.9 < variance < 1.1 for *_, mean, variance in seen) and seen[0][1] > 4.5 and seen[1][0] > 1.9
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
venv/bin/python trial.py 2> said || { cat said >&2; exit 1; }
