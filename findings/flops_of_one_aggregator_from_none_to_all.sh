#!/usr/bin/env bash
# What: a layer of nn.TransformerEncoderLayer over 1,000 tiles of width 64 takes 161 million multiply-adds by formula. PyTorch's own counter says all of them in training mode, a fifth in evaluation mode and 0 in evaluation without gradients; fvcore a fifth or a tenth, thop a tenth, torchinfo 17 thousand, ptflops 3 % more than the formula. Gated attention pooling is right in four of the five, and 4 thousand instead of 4.2 million in torchinfo.
# In evaluation the layer is one fused operation (and on a CPU the attention another) that the counters do not know; modules that are not called are not seen by those that use hooks; torchinfo counts a linear layer once for a slide, not for each tile.
# Versions: torch 2.13.0, thop 0.1.1.post2209072238, ptflops 0.7.5, fvcore 0.1.5.post20221221, torchinfo 1.8.0. Seen 2026-12-01.
# Why it matters: tables of aggregators list FLOPs beside the AUC; by these a transformer is for nothing, or 4, 8 or 38 times as dear as gated attention, and 38 is right for 1,000 tiles. Count in training mode, with dropout, or by formula.
# Parts are known: linear layers of torchinfo (https://github.com/TylerYep/torchinfo/issues/77, mended since this release), zeros of thop (https://github.com/Lyken17/pytorch-OpCounter/issues/128), and fvcore logs what it left out. Of PyTorch's counter we found only that of inference_mode, mended (https://github.com/pytorch/pytorch/issues/126268).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'torch==2.13.0' 'thop==0.1.1.post2209072238' 'ptflops==0.7.5' 'fvcore==0.1.5.post20221221' 'torchinfo==1.8.0' 'numpy==2.4.6'
cd "$folder"
cat > trial.py <<'PYTHON'
import contextlib
import io
import logging
import warnings

warnings.simplefilter("ignore")
import thop
import torch
import torchinfo
from fvcore.nn import FlopCountAnalysis
from ptflops import get_model_complexity_info
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

logging.disable(logging.CRITICAL)
TILES, WIDTH, HIDDEN = 1000, 64, 128
bag = torch.randn(1, TILES, WIDTH)


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.v, self.u, self.w, self.head = nn.Linear(WIDTH, 32), nn.Linear(WIDTH, 32), nn.Linear(32, 1), nn.Linear(WIDTH, 2)

    def forward(self, tiles):
        weights = self.w(self.v(tiles).tanh() * self.u(tiles).sigmoid()).softmax(1)
        return self.head(weights.transpose(1, 2) @ tiles)


def by_torch(model):
    with FlopCounterMode(display=False) as counter:
        model(bag)
    return counter.get_total_flops() / 2


counters = {
    "torch": by_torch,
    "thop": lambda model: thop.profile(model, inputs=(bag,), verbose=False)[0],
    "ptflops": lambda model: get_model_complexity_info(model, (TILES, WIDTH), as_strings=False, print_per_layer_stat=False, backend="pytorch")[0],
    "fvcore": lambda model: FlopCountAnalysis(model, bag).total(),
    "torchinfo": lambda model: torchinfo.summary(model, input_data=bag, verbose=0).total_mult_adds,
}
modes = {"training": (True, True), "evaluation": (False, True), "evaluation, no_grad": (False, False)}
models = {
    "gated attention": (Gated, TILES * (2 * WIDTH * 32 + 32) + TILES * WIDTH + 2 * WIDTH),
    "transformer layer": (lambda: nn.TransformerEncoderLayer(WIDTH, 4, HIDDEN, batch_first=True), TILES * 4 * WIDTH**2 + 2 * TILES**2 * WIDTH + 2 * TILES * WIDTH * HIDDEN),
}
found = {}
for name, (make, formula) in models.items():
    print(f"expected: {name}, {TILES:,} tiles: {formula / 1e6:.1f} million multiply-adds, in any mode")
    for mode, (training, gradients) in modes.items():
        for package, count in counters.items():
            with contextlib.redirect_stdout(io.StringIO()), torch.set_grad_enabled(gradients):
                found[name, mode, package] = count(make().train(training)) / formula
        print(f"seen:     {mode:19s} " + ", ".join(f"{package} {found[name, mode, package] * formula / 1e6:.3f}" for package in counters))
gated = [found["gated attention", mode, package] for mode in modes for package in counters if package != "torchinfo"]
layer = {(mode, package): share for (name, mode, package), share in found.items() if name == "transformer layer"}
stated = all(abs(share - 1) < 0.03 for share in gated) and all(abs(layer[mode, "ptflops"] - 1) < 0.05 and layer[mode, "thop"] < 0.15 and layer[mode, "torchinfo"] < 0.01 and layer[mode, "fvcore"] < 0.3 for mode in modes)
stated = stated and abs(layer["training", "torch"] - 1) < 0.01 and 0.1 < layer["evaluation", "torch"] < 0.3 and layer["evaluation, no_grad", "torch"] < 0.01
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
OMP_NUM_THREADS=1 venv/bin/python trial.py 2> said || { cat said >&2; exit 1; }
