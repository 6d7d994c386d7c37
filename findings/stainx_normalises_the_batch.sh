#!/usr/bin/env bash
# What: stainx' Reinhard and HistogramMatching take the colours of the whole batch for those of each tile, also in its mode "reference". A tile comes out in other colours beside other tiles.
# Macenko takes each tile by itself. HistogramMatching also makes the brightest value of a batch 255, whatever the reference has: a picture matched to itself gets another white.
# Versions: stainx 0.1.6, torch 2.13.0, against scikit-image 0.26.0. Seen 2026-12-01.
# Why it matters: the colours, and so the features, depend on the size of the batch, the order of the tiles and what else is in the bag; a shuffled training sees others than a slide read in order.
# Its documentation warns of the mode "batch", which fits the reference to each batch, and prefers "reference": "fit once on a fixed reference".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'torch==2.13.0' 'numpy==2.4.6' 'scikit-image==0.26.0' 'setuptools==81.0.0' 'wheel==0.48.0' 'ninja==1.13.2' 'pybind11==3.1.0'
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check --no-build-isolation 'stainx==0.1.6'
cd "$folder"
OMP_NUM_THREADS=1 venv/bin/python - <<'PYTHON'
import importlib.metadata

import numpy as np
import torch
from skimage.exposure import match_histograms
from stainx import StainNormalizerTransform

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("stainx", "torch", "scikit-image")))
draw = np.random.default_rng(0)
stains = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])  # haematoxylin and eosin


def tile(haematoxylin, eosin):
    """128 x 128 px of two stains, a tenth of it glass of 240."""
    amounts = draw.gamma(2, 0.5, (128, 128, 2)) * [haematoxylin, eosin]
    amounts[draw.random((128, 128)) < 0.1] = 0
    return torch.tensor(np.clip(240 * np.exp(-amounts @ stains), 0, 255).astype(np.uint8)).permute(2, 0, 1)[None]


reference, one, dark, pale = tile(0.6, 0.4), tile(0.3, 0.6), tile(1.2, 1.0), tile(0.1, 0.1)
print('expected: with a fixed reference a tile comes out the same alone, beside a dark tile and beside a pale one')
moved = {}
for method in ("macenko", "reinhard", "histogram_matching"):
    normal = StainNormalizerTransform(method=method, mode="reference", reference=reference, normalize_to_0_1=False if method == "macenko" else None)
    alone = normal(one).double()
    moved[method] = []
    for other in (dark, pale):
        beside = normal(torch.cat([one, other]))[:1].double()
        moved[method].append((alone - beside).abs().mean().item())
    print(f"seen:     {method}: {moved[method][0]:.1f} grey levels off beside a dark tile, {moved[method][1]:.1f} beside a pale one")
print("expected: the reference matched to itself is what it was, as scikit-image has it")
itself = normal(reference)[0].permute(1, 2, 0).numpy().astype(int)
picture = reference[0].permute(1, 2, 0).numpy()
by_skimage = match_histograms(picture, picture, channel_axis=-1)
print(f"seen:     glass of {picture.max()} becomes {itself.max()}, and {by_skimage.max():.0f} in scikit-image; in the mean {np.abs(itself - picture).mean():.1f} and {np.abs(by_skimage - picture).mean():.1f} grey levels off")
stated = max(moved["macenko"]) == 0 and min(moved["reinhard"] + moved["histogram_matching"]) > 10 and itself.max() == 255 and by_skimage.max() == picture.max() == 240
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
