#!/usr/bin/env bash
# What: `StainAugmentor` of tiatoolbox without a stain matrix, called on tile after tile, takes every later tile apart by the stains of the first: with both strengths at 0, which give a tile back unchanged, the second one changes its colour. No seed has an influence on its draws.
# Versions: tiatoolbox 2.1.3, torch 2.12.1. Seen 2026-12-01.
# Why it matters: in training the colours of all slides depend on which tile each worker of the loader met first, and a second run with the same seeds has other pictures.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'tiatoolbox==2.1.3' 'torch==2.12.1' 'openslide-bin==4.0.1.1' 'zarr==3.1.6'
cd "$folder"
venv/bin/python - 2> said <<'PYTHON' || { cat said >&2; exit 1; }
import importlib.metadata
import random

import numpy as np
from tiatoolbox.tools.stainaugment import StainAugmentor

print("tiatoolbox", importlib.metadata.version("tiatoolbox"))


def tile(stains, seed):
    """128 x 128 px of two stains, rows of `stains`, as Beer and Lambert have it."""
    draw = np.random.default_rng(seed)
    amounts = np.stack([draw.gamma(1.5, 0.35, (128, 128)), draw.gamma(2, 0.25, (128, 128))], -1)
    return np.clip(255 * np.exp(-amounts @ np.array(stains)) + draw.normal(0, 1, (128, 128, 3)), 0, 255).round().astype(np.uint8)


def apart(one, other):
    return np.abs(one.astype(int) - other)


one_lab = tile([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]], 1)
other_lab = tile([[0.55, 0.76, 0.35], [0.27, 0.92, 0.28]], 2)
print("expected: with sigma1 and sigma2 at 0 every tile comes back as it was, whatever came before it")
alone = StainAugmentor(method="macenko", sigma1=0.0, sigma2=0.0, p=1.0)(other_lab)
augmentor = StainAugmentor(method="macenko", sigma1=0.0, sigma2=0.0, p=1.0)
first, second = augmentor(one_lab), augmentor(other_lab)
print(f"seen:     the tile alone: off by {apart(alone, other_lab).mean():.1f} grey levels, at most {apart(alone, other_lab).max()}; as the first of two: {apart(first, one_lab).mean():.1f}, {apart(first, one_lab).max()}")
print(f"seen:     the tile after one of another laboratory: {apart(second, other_lab).mean():.1f}, at most {apart(second, other_lab).max()}; mean colour {other_lab.mean((0, 1)).round().astype(int)} becomes {second.mean((0, 1)).round().astype(int)}")
drawn = []
for _ in range(2):
    np.random.seed(7)
    random.seed(7)
    drawn.append(StainAugmentor(method="macenko", sigma1=0.4, sigma2=0.2, p=1.0)(other_lab))
print(f"seen:     sigma1 .4, twice with the seeds of numpy and random set to 7: {apart(*drawn).mean():.1f} grey levels apart")
stated = apart(alone, other_lab).max() <= 8 and apart(first, one_lab).max() <= 8 and apart(second, other_lab).mean() > 3 and apart(second, other_lab).max() > 20 and apart(*drawn).mean() > 0
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
