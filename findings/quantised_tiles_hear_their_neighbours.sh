#!/usr/bin/env bash
# What: an encoder whose layers are quantised to 8 bits "dynamically" gives a tile other features beside other tiles, as far off as the quantisation itself: PyTorch's `quantize_dynamic` and onnxruntime's take one scale for a whole batch. torchao's takes one for each token and is the same in any company.
# Versions: torch 2.13.0, torchao 0.18.0, onnxruntime 1.32.0, onnx 1.23.2. Seen 2026-12-01.
# Why it matters: the last tiles of a slide share their batch with whatever filled it up; another batch size, or tiles in another order, is another feature file. A check of one tile against the same tile alone finds it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'torch==2.13.0' 'torchao==0.18.0' 'onnxruntime==1.32.0' 'onnx==1.23.2' 'numpy==2.4.6'
cd "$folder"
cat > trial.py <<'PYTHON'
import copy
import logging
import warnings

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
import onnxruntime
import torch
from onnxruntime.quantization import quantize_dynamic
from torch import nn
from torch.nn import functional
from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

WIDTH, HEADS = 192, 3


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.before, self.between = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.wide, self.narrow = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x):
        n, tokens, _ = x.shape
        q, k, v = self.qkv(self.before(x)).reshape(n, tokens, 3, HEADS, -1).permute(2, 0, 3, 1, 4).unbind(0)
        x = x + self.out(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, tokens, WIDTH))
        return x + self.narrow(functional.gelu(self.wide(self.between(x))))


class Encoder(nn.Module):
    """A small vision transformer as pathology has them, with weights as drawn: patches of 16 px, the mean of the tokens."""

    def __init__(self):
        super().__init__()
        self.patches, self.blocks, self.last = nn.Conv2d(3, WIDTH, 16, 16), nn.Sequential(*(Block() for _ in range(4))), nn.LayerNorm(WIDTH)

    def forward(self, x):
        return self.last(self.blocks(self.patches(x).flatten(2).transpose(1, 2))).mean(1)


torch.manual_seed(0)
encoder = Encoder().eval()
tile, others = torch.rand(1, 3, 64, 64), {"tissue": torch.rand(15, 3, 64, 64), "glass": torch.full((15, 3, 64, 64), 2.2)}
torch.onnx.export(encoder, (tile.repeat(2, 1, 1, 1),), "plain.onnx", input_names=["x"], output_names=["y"], dynamic_axes={"x": {0: "n"}, "y": {0: "n"}}, dynamo=False)
quantize_dynamic("plain.onnx", "quantised.onnx")
session = onnxruntime.InferenceSession("quantised.onnx")
by_token = copy.deepcopy(encoder)
quantize_(by_token, Int8DynamicActivationInt8WeightConfig())
kinds = {
    "not quantised": encoder,
    "quantize_dynamic of torch": torch.ao.quantization.quantize_dynamic(copy.deepcopy(encoder), {nn.Linear}, dtype=torch.qint8),
    "quantize_dynamic of onnxruntime": lambda x: torch.from_numpy(session.run(None, {"x": x.numpy()})[0]),
    "Int8DynamicActivation of torchao": by_token,
}


def apart(a, b):
    return 100 * ((a - b).norm() / b.norm()).item()


print("expected: a tile's features are the same alone and beside 15 others")
seen = {}
with torch.inference_mode():
    plain = encoder(tile)[0]
    for name, kind in kinds.items():
        alone = kind(tile)[0]
        seen[name] = [apart(kind(torch.cat([tile, rest]))[0], alone) for rest in others.values()]
        print(f"seen:     {name:33s} {apart(alone, plain):.1f} % off by quantisation; beside tissue {seen[name][0]:.2f} %, beside glass {seen[name][1]:.2f} %")
free = all(max(seen[name]) < 0.01 for name in ("not quantised", "Int8DynamicActivation of torchao"))
heard = all(min(seen[name]) > 0.3 for name in kinds if name.startswith("quantize_dynamic"))
raise SystemExit(0 if free and heard else "no longer as stated")
PYTHON
venv/bin/python trial.py 2> said || { cat said >&2; exit 1; }
