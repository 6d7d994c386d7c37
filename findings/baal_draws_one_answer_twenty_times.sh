#!/usr/bin/env bash
# What: Monte Carlo dropout over a model with nn.TransformerEncoderLayer draws the same answer each time: Baal puts its own dropouts, which are always on, in place of the layer's, and in evaluation without gradients, as Baal predicts, the layer takes a fast path that calls none of them. The disagreement of twenty draws (BALD) is 0 for every slide.
# The same model with the layer written out, with gradients on, or without the fast path, has a spread of its answers. Setting the dropouts to training mode by hand is lost as well; so is mc_dropout of torch-uncertainty 0.13.0 (not run here).
# Versions: baal 2.1.0, torch 2.13.0. Seen 2026-12-01.
# Why it matters: "the model is sure of every slide", and active learning asks for labels in the order of the table. torch.backends.mha.set_fastpath_enabled(False) is right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'baal==2.1.0' 'torch==2.13.0' 'numpy==2.4.6'
cd "$folder"
cat > trial.py <<'PYTHON'
import importlib.metadata
import warnings

warnings.simplefilter("ignore")
import torch
from baal.active.heuristics import BALD
from baal.bayesian.dropout import patch_module
from baal.modelwrapper import ModelWrapper, TrainingArgs
from torch import nn

print("baal", importlib.metadata.version("baal"), "torch", torch.__version__.split("+")[0])
SLIDES, TILES, WIDTH, DRAWS = 40, 9, 64, 20


class Aggregator(nn.Module):
    def __init__(self, written_out):
        super().__init__()
        self.layer, self.written_out = nn.TransformerEncoderLayer(WIDTH, 4, 128, dropout=0.3, batch_first=True), written_out
        self.head = nn.Linear(WIDTH, 2)

    def forward(self, tiles):
        layer = self.layer
        if not self.written_out:
            return self.head(layer(tiles).mean(1))
        mixed = layer.norm1(tiles + layer.dropout1(layer.self_attn(tiles, tiles, tiles, need_weights=False)[0]))
        return self.head(layer.norm2(mixed + layer.dropout2(layer.linear2(layer.dropout(layer.linear1(mixed).relu())))).mean(1))


torch.manual_seed(0)
bags = torch.randn(SLIDES, TILES, WIDTH)


def draw(written_out, by_hand=False):
    torch.manual_seed(1)
    model = Aggregator(written_out).eval()
    if by_hand:
        for module in model.modules():
            module.train(isinstance(module, nn.Dropout))
        with torch.no_grad():
            answers = torch.stack([model(bags) for _ in range(DRAWS)], -1)
    else:
        judge = ModelWrapper(patch_module(model, inplace=False), TrainingArgs(use_cuda=False, replicate_in_memory=False))
        judge.eval()
        answers = judge.predict_on_batch(bags, iterations=DRAWS)
    return answers.std(-1).mean().item(), float(BALD().compute_score(answers.softmax(1).numpy()).max())


found = {"layer written out": draw(True), "layer": draw(False), "layer, dropouts by hand": draw(False, by_hand=True)}
torch.backends.mha.set_fastpath_enabled(False)
found["layer, without the fast path"] = draw(False)
print(f"expected: {DRAWS} draws with dropout spread alike, however the layer is written")
for name, (spread, bald) in found.items():
    print(f"seen:     {name:30s} spread {spread:.3f}, largest BALD {bald:.4f}")
written, layer, hand, slow = found.values()
stated = all(value > 0.02 for value, _ in (written, slow)) and min(written[1], slow[1]) > 1e-4 and max(layer[0], hand[0]) < 1e-6 and max(layer[1], hand[1]) < 1e-6
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
OMP_NUM_THREADS=1 venv/bin/python trial.py 2> said || { cat said >&2; exit 1; }
