#!/usr/bin/env bash
# What: without a mask nystrom-attention, the layer of TransMIL, attends to the zeros that it puts in front of a bag itself: with TransMIL's 256 landmarks half of
# all attention of a bag of 257 tokens, and two fifths of one of 300.
# Versions: nystrom-attention 0.0.14, torch 2.13.0. Seen 2026-12-01.
# Why it matters: TransMIL calls the layer without a mask, and makes 257 tokens of any slide of 226 to 256 tiles (a square and a class token). A mask that is True everywhere
# gives plain attention within 1 %.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'nystrom-attention==0.0.14' 'torch==2.13.0' 'numpy==2.4.6'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata

import torch
from nystrom_attention import NystromAttention

print("nystrom-attention", importlib.metadata.version("nystrom-attention"))
torch.manual_seed(0)
torch.set_grad_enabled(False)
heads, each, landmarks = 8, 64, 256  # as in TransMIL
layer = NystromAttention(dim=512, dim_head=each, heads=heads, num_landmarks=landmarks, pinv_iterations=6, residual=False).eval()


def plain(tokens):
    """Softmax attention of the same weights, and its output."""
    query, key, value = (part.view(1, -1, heads, each).transpose(1, 2) for part in layer.to_qkv(tokens).chunk(3, dim=-1))
    weights = (query @ key.mT / each**0.5).softmax(-1)
    return layer.to_out((weights @ value).transpose(1, 2).flatten(2))


print("expected: what is approximated is attention among the tokens of the bag; no mask means the same as a mask that is True everywhere")
off, lost = {}, {}
for length in (256, 257, 300, 1000):
    tokens = torch.nn.functional.layer_norm(torch.randn(1, length, 512) + 2 * torch.randn(1, 1, 512), (512,))
    truth = plain(tokens)
    bare, weights = layer(tokens, return_attn=True)
    masked = layer(tokens, mask=torch.ones(1, length, dtype=torch.bool))
    off[length] = [((seen - truth).norm() / truth.norm()).item() for seen in (bare, masked)]
    lost[length] = weights[0, :, -length:, :-length].sum(-1).mean().item() if weights.shape[-1] > length else 0.0
    print(f"seen:     {length} tokens: {lost[length]:.0%} of the attention on zeros of its own; off plain attention by {off[length][0]:.1%} without a mask, {off[length][1]:.1%} with one of True")
stated = lost[256] == 0 and lost[257] > 0.4 and lost[300] > 0.3 and off[257][0] > 0.3 and max(masked for _, masked in off.values()) < 0.01
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
