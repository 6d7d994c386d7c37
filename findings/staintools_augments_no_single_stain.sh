#!/usr/bin/env bash
# What: an augmentor of torch-staintools told to change one stain only (`target_stain_idx=(0,)`) gives the tile back unchanged: it fails within, says so in its log, and dismisses it. Told of both in the other order it exchanges haematoxylin and eosin.
# Versions: torch-staintools 1.0.7, torch 2.14.1. Seen 2026-12-01.
# Why it matters: a model that was trained "with strong augmentation of haematoxylin" was trained with none, and nothing but a line of the log per batch tells.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'torch-staintools==1.0.7' 'torch==2.14.1' 'torchvision==0.29.1' 'numpy==2.4.6'
cd "$folder"
TORCHDYNAMO_DISABLE=1 venv/bin/python - 2> said <<'PYTHON' || { cat said >&2; exit 1; }
import importlib.metadata

import numpy as np
import torch
from torch_staintools.augmentor import AugmentorBuilder

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("torch-staintools", "torch")))


def tile(seed):
    """128 x 128 px of haematoxylin and eosin, as Beer and Lambert have it."""
    draw = np.random.default_rng(seed)
    amounts = np.stack([draw.gamma(1.5, 0.35, (128, 128)), draw.gamma(2, 0.25, (128, 128))], -1)
    rgb = 255 * np.exp(-amounts @ np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])) + draw.normal(0, 1, (128, 128, 3))
    return torch.from_numpy(np.clip(rgb, 0, 255).round().astype(np.float32) / 255).permute(2, 0, 1)


tiles = torch.stack([tile(seed) for seed in range(4)])


def change(stains, strength):
    augmentor = AugmentorBuilder.build("macenko", rng=1, sigma_alpha=strength, sigma_beta=strength, target_stain_idx=stains)
    return float((augmentor(tiles) - tiles).abs().mean() * 255)


print("expected: with strength .4 both stains, the first and the second alone change the tiles; with next to none, in either order, nothing does")
strong = {stains: change(stains, 0.4) for stains in ((0, 1), (0,), (1,))}
faint = {stains: change(stains, 1e-6) for stains in ((0, 1), (1, 0))}
for stains, grey in strong.items():
    print(f"seen:     strength .4, target_stain_idx={stains!s:7} tiles change by {grey:.1f} grey levels in the mean")
for stains, grey in faint.items():
    print(f"seen:     strength 0,  target_stain_idx={stains!s:7} {grey:.1f}")
stated = strong[0, 1] > 5 and strong[0,] == strong[1,] == 0 and faint[0, 1] < 1 and faint[1, 0] > 10
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
