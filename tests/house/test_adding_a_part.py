"""A part is one file or one row: new ones in a copy of the source pass the contracts without being announced."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
IGNORED = shutil.ignore_patterns("__pycache__")

MODEL = '''"""The mean of the embedded tiles, weighted evenly."""

import torch
from torch import nn

from asmil.models import MILOutput

PAPER = "none: made by a test"
ALIGNED = ""


class EvenPool(nn.Module):
    """`hidden` is the width of the embedded tiles."""

    def __init__(self, in_dim, n_classes, *, hidden=8):
        super().__init__()
        self.embed, self.classify = nn.Linear(in_dim, hidden), nn.Linear(hidden, n_classes)

    def forward(self, batch):
        tiles = torch.tanh(self.embed(batch.features.to(self.embed.weight.dtype)))
        embedding = torch.stack([bag.mean(0) for bag in batch.split(tiles)])
        even = torch.cat([torch.full((n,), 1 / n, device=tiles.device) for n in batch.lengths])
        return MILOutput(self.classify(embedding), even, embedding)


MODEL = EvenPool
'''

ENCODER = '''"""The mean colour of a tile, no weights."""

from asmil.encoders import EncoderCard

CARD = EncoderCard("mean-colour", 3, None, None, "Apache-2.0", "made by a test")


def load(card, *, device, weights, precision):
    return MeanColour(device)


class MeanColour:
    card, weight_hash, precision = CARD, "1", "fp32"

    def __init__(self, device):
        self.device = device

    def __call__(self, tiles):
        import torch

        return torch.as_tensor(tiles, device=self.device).float().mean((1, 2)) / 255
'''


ROW = """
[resnet18-again]
about = "ResNet-18 under another name."
dim = 512
tile_px = 224
licence = "BSD-3-Clause"
source = "made by a test"
weights = "hf-hub:timm/resnet18.tv_in1k"
architecture = "resnet18"
millions = 11.18
"""


def test_new_parts_are_found_and_examined_by_their_contracts(tmp_path):
    source, contracts = tmp_path / "src" / "asmil", tmp_path / "tests" / "contracts"
    shutil.copytree(ROOT / "src" / "asmil", source, ignore=IGNORED)
    shutil.copytree(ROOT / "tests" / "contracts", contracts, ignore=IGNORED)
    (source / "models" / "even_pool.py").write_text(MODEL, encoding="utf-8")
    (source / "encoders" / "own" / "mean_colour.py").write_text(ENCODER, encoding="utf-8")
    with (source / "encoders" / "cards.toml").open("a", encoding="utf-8") as cards:
        cards.write(ROW)
    files = [contracts / "test_models.py", contracts / "test_encoders.py"]
    options = ["-c", os.devnull, "--rootdir", tmp_path, "--import-mode=importlib", "-p", "no:cacheprovider", "-v"]
    names = ("even_pool", "mean_colour", "resnet18_again")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *files, "-k", " or ".join(names)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(source.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    passed = {name: done.stdout.count(f"[{name}") for name in names}
    assert min(passed.values()) >= 2, passed
