"""Every encoder keeps the contract: cards offline for all, the vectors where no download is needed."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from asmil.encoders import EncoderCard, card, create_encoder, list_encoders
from asmil.testing import check_encoder

READY = [name for name in list_encoders() if card(name).weights is None]


@pytest.mark.parametrize("name", list_encoders())
def test_card_is_complete(name):
    facts = card(name)
    assert facts.name.replace("-", "_") == name
    assert facts.dim > 0
    assert facts.licence
    assert facts.source
    assert facts.precision in ("fp32", "fp16", "bf16")
    assert all(s > 0 for s in facts.std)
    assert facts.weights is None or facts.weights.startswith(("timm:", "hf-hub:"))


def test_cards_need_no_torch():
    code = (
        "import sys, asmil.encoders as e; [e.card(n) for n in e.list_encoders()]; "
        "sys.exit(any(m in sys.modules for m in ('torch', 'timm', 'torchvision')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", READY)
def test_contract(name):
    report = check_encoder(name)
    assert report.ok, str(report)


class _Broken:
    """An encoder that normalises over its batch and overflows: mistakes that the contract must see."""

    card = EncoderCard(name="broken", dim=3, tile_px=16, mpp=None, licence="-", source="-")
    weight_hash = "0"
    device = torch.device("cpu")

    def __call__(self, tiles):
        x = torch.as_tensor(tiles).float().mean((1, 2))
        return (x - x.mean(0)) * 1e6


def test_contract_sees_a_broken_encoder():
    failed = set(check_encoder(_Broken()).failed)
    assert {"batch_equals_loop", "fits_float16"} <= failed
    assert "shape_and_type" not in failed


def test_white_and_tissue_differ_for_the_default():
    encoder = create_encoder("colour-texture")
    white, tissue = np.full((1, 32, 32, 3), 255), np.full((1, 32, 32, 3), (150, 80, 160))
    assert (encoder(white.astype(np.uint8)) - encoder(tissue.astype(np.uint8))).abs().max() > 0.5
