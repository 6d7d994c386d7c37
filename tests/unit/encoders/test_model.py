"""Precision by card and GPU, and the pooling of tokens."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from asmil.encoders import PRECISIONS, ModelEncoder, card
from asmil.encoders.model import half_type, pooled
from asmil.errors import EncoderError
from asmil.extraction import ExtractSettings, store_name

BF16, FP16 = card("uni2-h"), card("uni")
HOPPER, TURING = (9, 0), (7, 5)


@pytest.mark.parametrize(
    ("facts", "asked", "capability", "wanted"),
    [
        (BF16, None, HOPPER, torch.bfloat16),
        (BF16, "auto", TURING, torch.float16),
        (FP16, "auto", TURING, torch.float16),
        (FP16, "bf16", HOPPER, torch.bfloat16),
        (FP16, "fp32", HOPPER, None),
        (FP16, "fp16", None, None),
        (card("conch"), None, HOPPER, None),
    ],
)
def test_precision_is_the_cards_as_far_as_the_gpu_has_it(facts, asked, capability, wanted):
    assert half_type(asked, card=facts, capability=capability) is wanted


@pytest.mark.parametrize(("capability", "wanted"), [(HOPPER, "bf16"), (TURING, "fp16"), (None, "fp32")])
def test_an_encoder_says_what_it_computes_in_and_a_store_is_of_one_precision(monkeypatch, capability, wanted):
    monkeypatch.setattr("asmil.encoders.model.weight_hash", lambda state: "0")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    device = "cpu" if capability is None else "cuda"
    with FakeTensorMode():
        encoder = ModelEncoder(nn.Flatten(), BF16, device=device, precision="auto")
    assert encoder.precision == wanted
    settings = ExtractSettings(mpp=0.5, tile_px=224)
    others = [SimpleNamespace(card=BF16, weight_hash="0", precision=name) for name in PRECISIONS]
    names = [store_name(settings, other) for other in others]
    assert len(set(names)) == 3
    assert store_name(settings, encoder) == names[PRECISIONS.index(wanted)]


def test_bf16_on_an_old_gpu_is_refused_when_asked_for():
    with pytest.raises(EncoderError, match=r"7\.5"):
        half_type("bf16", card=FP16, capability=TURING)


def test_pooling():
    tokens = torch.arange(12.0).reshape(1, 4, 3)
    facts = replace(FP16, registers=1)
    for kind, wanted in (("cls", [0, 1, 2]), ("mean", [7.5, 8.5, 9.5]), ("cls+mean", [0, 1, 2, 7.5, 8.5, 9.5])):
        assert pooled(tokens, card=replace(facts, tokens=kind)).tolist() == [wanted]
    assert pooled(tokens[..., None], card=replace(facts, tokens="pooled")).shape == (1, 12)
    assert pooled([tokens, torch.ones(1, 5, 2, 2)], card=replace(facts, tokens="map")).shape == (1, 5)
    with pytest.raises(EncoderError, match="returns no tensor"):
        pooled([tokens], card=facts)


def test_networks_of_convolutions_are_channels_last():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.AdaptiveAvgPool2d(1))
    facts = replace(FP16, dim=4, tokens="pooled", tile_px=16)
    encoder = ModelEncoder(net, facts, device="cpu", precision=None)
    assert encoder.model[0].weight.is_contiguous(memory_format=torch.channels_last)
    patches = nn.Sequential(nn.Conv2d(3, 4, 16, stride=16), nn.Flatten(), nn.Linear(4, 4))
    encoder = ModelEncoder(patches, facts, device="cpu", precision=None)
    assert encoder.model[0].weight.is_contiguous()


def test_compiled_features_are_the_same():
    facts = replace(FP16, dim=4, tokens="pooled", tile_px=16)
    net = nn.Sequential(nn.Conv2d(3, 4, 16, stride=16), nn.Flatten(), nn.Linear(4, 4))
    tiles = torch.randint(0, 256, (3, 16, 16, 3), dtype=torch.uint8)
    plain = ModelEncoder(net, facts, device="cpu", precision=None)
    with torch.compiler.set_stance("force_eager"):  # the wrapper without the minute of the compiler
        compiled = ModelEncoder(net, facts, device="cpu", precision=None, compile=True)
        torch.testing.assert_close(compiled(tiles), plain(tiles))
    assert compiled.model is not plain.model
    assert compiled.weight_hash == plain.weight_hash
