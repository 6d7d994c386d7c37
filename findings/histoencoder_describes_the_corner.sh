#!/usr/bin/env bash
# What: `extract_features(..., num_blocks=4)` of HistoEncoder joins "the outputs of the last 4 attention blocks". Its encoders have a class token in the last two only; of the two before them it takes the first token all the same, which is the patch of 16 px in the upper left corner of the tile. Half of the vector describes 1 of 196 patches.
# Versions: histoencoder 0.1.1, timm 0.5.4, torch 2.0.1. Seen 2026-12-01. Weights as drawn, since its own are not in the package.
# Why it matters: the longer vector, which one would take for a harder task, says the same as the shorter one and something of a corner; a tile that is turned or mirrored has other features. Up to 2 blocks it is right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'histoencoder==0.1.1' 'torch==2.0.1' 'torchvision==0.15.2' 'timm==0.5.4' 'numpy==1.26.4'
cd "$folder"
cat > trial.py <<'PYTHON'
import warnings

warnings.filterwarnings("ignore")
import histoencoder.functional as histoencoder
import torch
from timm.models.xcit import xcit_small_12_p16_224

torch.manual_seed(0)
encoder = xcit_small_12_p16_224(num_classes=0).eval()  # what its `prostate_small` is made of
tokens = []
encoder.blocks[-1].register_forward_hook(lambda module, inputs, output: tokens.append(output))


@torch.no_grad()
def third_from_last(tile):
    return histoencoder.extract_features(encoder, tile, num_blocks=3)[0, :384]


def with_new(rows, columns):
    changed = tile.clone()
    changed[..., rows, columns] = torch.rand_like(changed[..., rows, columns])
    return changed


tile = torch.rand(1, 3, 224, 224)
rest = torch.rand_like(tile)
rest[..., :16, :16] = tile[..., :16, :16]
features = third_from_last(tile)
with torch.no_grad():
    corner = torch.equal(features, encoder.norm(tokens[0])[0, 0])
apart = {
    "a patch in the middle": with_new(slice(112, 128), slice(112, 128)),
    "the patch in the corner": with_new(slice(0, 16), slice(0, 16)),
    "everything but the corner": rest,
}
apart = {name: 100 * ((third_from_last(other) - features).norm() / features.norm()).item() for name, other in apart.items()}
print("expected: features of the tile: any patch that is changed moves them about as far, all others together much farther")
print(f"seen:     the first 384 values of 3 blocks are the token of the upper left patch: {corner}")
for name, percent in apart.items():
    print(f"seen:     {name} changed: {percent:.3f} % off")
middle, upper_left, others = apart.values()
raise SystemExit(0 if corner and upper_left > others > 10 * middle else "no longer as stated")
PYTHON
venv/bin/python trial.py 2> said || { cat said >&2; exit 1; }
