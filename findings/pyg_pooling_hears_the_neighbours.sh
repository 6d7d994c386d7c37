#!/usr/bin/env bash
# What: five of PyTorch Geometric's aggregations answer for a slide by what else is in its batch: LSTM, GRU, LCM and PatchTransformer by the largest bag (its padding is run through),
# Equilibrium by the number of bags. PatchTransformer also leaves out the last tiles of the largest bag, up to nearly a whole patch of them.
# Versions: torch_geometric 2.8.1, torch 2.13.0. Seen 2026-12-01.
# Why it matters: a slide's answer changes with its company, in eval mode and without any batch norm, and a third of a bag can have no influence at all.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'torch_geometric==2.8.1' 'torch==2.13.0' 'numpy==2.4.6'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata

import torch
from torch_geometric.nn import aggr

print("torch_geometric", importlib.metadata.version("torch_geometric"))
torch.manual_seed(0)
linear = torch.nn.Linear
pools = {
    "Attentional": aggr.AttentionalAggregation(linear(16, 1)),
    "SetTransformer": aggr.SetTransformerAggregation(16, heads=4),
    "GraphMultisetTransformer": aggr.GraphMultisetTransformer(16, k=8, heads=4),
    "Quantile": aggr.QuantileAggregation([0.1, 0.9]),
    "LSTM": aggr.LSTMAggregation(16, 8),
    "GRU": aggr.GRUAggregation(16, 8),
    "LCM": aggr.LCMAggregation(16, 8),
    "PatchTransformer": aggr.PatchTransformerAggregation(16, 8, patch_size=4, hidden_channels=8),
    "Equilibrium": aggr.EquilibriumAggregation(16, 8, [8]),
}
slide, small, large = (torch.rand(tiles, 16) for tiles in (37, 37, 200))
print("expected: the same vector for a slide of 37 tiles alone and beside another slide")
moved = {}
for name, pool in pools.items():
    pool.eval()
    alone = pool(slide, torch.zeros(37, dtype=torch.long))
    pairs = [pool(torch.cat([slide, other]), torch.arange(2).repeat_interleave(torch.tensor([37, len(other)])))[:1] for other in (small, large)]
    moved[name] = [((pair - alone).norm() / alone.norm()).item() for pair in pairs]
    print(f"seen:     {name}: moves by {moved[name][0]:.0%} beside another of 37 tiles, {moved[name][1]:.0%} beside one of 200")
pool = aggr.PatchTransformerAggregation(16, 8, patch_size=64, hidden_channels=8).eval()
tiles = torch.rand(100, 16, requires_grad=True)
pool(tiles, torch.zeros(100, dtype=torch.long)).sum().backward()
read = int((tiles.grad.abs().sum(1) > 0).sum())
print(f"expected: all of 100 tiles have an influence\nseen:     {read} of them, in patches of 64")
by_size, by_number = ("LSTM", "GRU", "LCM", "PatchTransformer"), ("Equilibrium",)
right = [name for name in pools if name not in by_size + by_number]
stated = (
    all(max(moved[name]) < 1e-4 for name in right)
    and all(moved[name][0] < 1e-4 and moved[name][1] > 0.05 for name in by_size)
    and all(min(moved[name]) > 0.05 for name in by_number)
    and read == 64
)
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
