#!/usr/bin/env bash
# What: PyTorch Geometric adds to an attribute whose name contains "batch" what the slides before it had, when it puts slides together: staining batches 3, 3, 1 become 3, 7, 9.
# Versions: torch_geometric 2.8.1, torch 2.13.0. Seen 2026-12-01.
# Why it matters: the staining or scanning batch of a slide is what one balances, corrects or reports by. The documentation names "index" as the word that does this, not "batch";
# taken apart again the numbers are right, so a look at single slides shows nothing, and a plain number instead of a tensor is left alone.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'torch_geometric==2.8.1' 'torch==2.13.0' 'numpy==2.4.6'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata

import torch
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader

print("torch_geometric", importlib.metadata.version("torch_geometric"))
stained, tiles = (3, 3, 1), (5, 7, 9)
slides = [
    Data(x=torch.rand(n, 4), stain_batch=torch.tensor([b]), stain_group=torch.tensor([b]), batch_number=b) for n, b in zip(tiles, stained, strict=True)
]
batch = next(iter(DataLoader(slides, batch_size=3)))
apart = [slide.stain_batch.item() for slide in batch.to_data_list()]
print("expected: the staining batch of three slides is", list(stained))
for name in ("stain_group", "batch_number", "stain_batch"):
    print(f"seen:     {name} {batch[name].tolist()}")
print("seen:     stain_batch of the slides taken apart again", apart)
stated = batch.stain_batch.tolist() == [3, 7, 9] and batch.stain_group.tolist() == batch.batch_number.tolist() == apart == list(stained)
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
