#!/usr/bin/env bash
# What: torch.onnx.export drops a named dynamic dimension without a word, where the model's code computes with the number of tiles in numpy.
# Versions: torch 2.13.0, onnx 1.23.2, onnxscript 0.7.2, onnxruntime 1.32.0. Seen 2026-11-29.
# Why it matters: the first attempt (strict=False) rightly fails, the second (strict=True) takes the example's number of tiles for a constant, and the export ends with a tick. So do models that fill a bag up to a
# square, as TransMIL's published code does: the file takes bags of exactly that size, which a test with the example's bag does not show.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'torch==2.13.0' 'onnx==1.23.2' 'onnxscript==0.7.2' 'onnxruntime==1.32.0' 'numpy==2.4.6'
cd "$folder"
venv/bin/python - <<'PYTHON'
import logging
import warnings

warnings.simplefilter("ignore")
logging.disable(logging.ERROR)
import numpy as np
import onnxruntime
import torch

print("torch", torch.__version__, "onnxruntime", onnxruntime.__version__)


class Square(torch.nn.Module):
    """Tiles repeated until they fill a square, then pooled by attention."""

    def __init__(self):
        super().__init__()
        self.score, self.head = torch.nn.Linear(16, 1), torch.nn.Linear(16, 2)

    def forward(self, tiles):
        side = int(np.ceil(np.sqrt(tiles.shape[0])))
        tiles = torch.cat([tiles, tiles[: side * side - tiles.shape[0]]])
        return self.head((torch.softmax(self.score(tiles), 0) * tiles).sum(0))


size = {0: torch.export.Dim("tiles")}
torch.onnx.export(Square().eval(), (torch.randn(50, 16),), "bag.onnx", dynamo=True, dynamic_shapes=(size,), input_names=["tiles"], output_names=["logits"])
session = onnxruntime.InferenceSession("bag.onnx")
shape, works = session.get_inputs()[0].shape, {}
for tiles in (50, 51, 1000):
    try:
        session.run(None, {"tiles": np.zeros((tiles, 16), np.float32)})
        works[tiles] = "runs"
    except Exception as error:
        works[tiles] = f"refused ({type(error).__name__})"
print("expected: an error at the export, or a file whose first dimension is 'tiles'")
print(f"seen:     exported without an error or a warning, input {shape}; bags of {works}")
raise SystemExit(0 if shape == [50, 16] and works[51] != "runs" else "no longer as stated")
PYTHON
