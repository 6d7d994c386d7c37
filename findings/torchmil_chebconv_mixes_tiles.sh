#!/usr/bin/env bash
# What: torchmil's ChebConv, and with it DeepGraphSurv, takes the features of one tile for those of another: the orders of the
# polynomial are stacked before the tiles, then the array is read as if they came after.
# Versions: torchmil 1.0.2, torch 2.13.0. Seen 2026-11-29.
# Why it matters: the attention of tile n is not about tile n, the answer depends on the order of the tiles, and on the padding of the batch.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'torchmil==1.0.2' 'torch==2.13.0'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata

import torch
from torchmil.models import DeepGraphSurv
from torchmil.nn.gnns import ChebConv

print("torchmil", importlib.metadata.version("torchmil"))
torch.manual_seed(0)
tiles = torch.randn(1, 40, 8)
alone = torch.zeros(1, 40, 40)  # no neighbours: row n of a graph convolution depends on tile n only
layer = ChebConv(8, 4, K=5, compute_lambda_max=False)
changed = tiles.clone()
changed[0, 20] += 1.0
moved = (layer(changed, alone) - layer(tiles, alone)).abs().sum(-1)[0]
rows = moved.nonzero().flatten().tolist()
print("expected: without edges, changing tile 20 changes row 20")
print("seen:     it changes rows", rows)

model = DeepGraphSurv(in_shape=(8,)).eval()
chain = torch.zeros(1, 40, 40)
steps = torch.arange(39)
chain[0, steps, steps + 1] = chain[0, steps + 1, steps] = 1.0
order = torch.randperm(40)
padded = torch.cat([tiles, torch.zeros(1, 60, 8)], 1)
frame = torch.zeros(1, 100, 100)
frame[:, :40, :40] = chain
mask = torch.cat([torch.ones(1, 40), torch.zeros(1, 60)], 1)
with torch.no_grad():
    plain = model(tiles, chain).item()
    shuffled = model(tiles[:, order], chain[:, order][:, :, order]).item()
    in_batch = model(padded, frame, mask).item()
print("expected: one answer of DeepGraphSurv for a slide, whatever the order of its tiles and the padding of its batch")
print(f"seen:     {plain:.3f}; tiles and graph reordered together {shuffled:.3f}; padded to 100 with the mask {in_batch:.3f}")
stated = rows != [20] and abs(plain - shuffled) > 1e-3 and abs(plain - in_batch) > 1e-3
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
