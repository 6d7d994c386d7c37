"""Precision by card and GPU, and the pooling of tokens."""

import json
import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from asmil.encoders import PRECISIONS, ModelEncoder, build_model, card, create_encoder
from asmil.encoders.model import half_type, load_model, pooled
from asmil.errors import EncoderError
from asmil.extraction import ExtractSettings, store_name
from asmil.machine import prepare_torchvision

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


CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
HIBOU = ((0.7068, 0.5755, 0.722), (0.195, 0.2316, 0.1816))
OPTIMUS = ((0.707223, 0.578729, 0.703617), (0.211883, 0.230117, 0.177517))
AUTHORS = {
    "conch": (448, 448, "bicubic", CLIP),
    "conch-v1-5": (448, 448, "bilinear", IMAGENET),
    "ctranspath": (224, 224, "bilinear", IMAGENET),
    "gpfm": (224, 224, "bicubic", IMAGENET),
    "h-optimus-0": (224, 224, "bilinear", OPTIMUS),
    "h-optimus-1": (224, 224, "bilinear", OPTIMUS),
    "hibou-l": (224, 224, "bicubic", HIBOU),
    "kaiko-vitb8": (224, 224, "bilinear", HALF),
    "keep": (224, 224, "bicubic", IMAGENET),
    "midnight-12k": (224, 224, "bilinear", HALF),
    "phikon": (224, 224, "bilinear", IMAGENET),
    "plip": (224, 224, "bicubic", CLIP),
    "prov-gigapath": (256, 224, "bicubic", IMAGENET),
    "uni": (224, 224, "bilinear", IMAGENET),
    "uni2-h": (224, 224, "bilinear", IMAGENET),
    "virchow": (224, 224, "bicubic", IMAGENET),
    "virchow2": (224, 224, "bicubic", IMAGENET),
}
"""What the loaders that the cards name in `checked` do: resize, centre crop, interpolation, mean and std."""


@pytest.mark.parametrize("name", AUTHORS)
def test_a_tile_becomes_what_the_authors_transform_makes_of_it(name):
    prepare_torchvision()
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize, ToTensor

    resize, crop, interpolation, (mean, std) = AUTHORS[name]
    transform = Compose(
        [Resize(resize, InterpolationMode(interpolation)), CenterCrop(crop), ToTensor(), Normalize(mean, std)]
    )
    seen = []
    facts = replace(card(name), tokens="cls", dim=4)
    encoder = ModelEncoder(_Seen(seen), facts, device="cpu", precision=None)
    for side in (256, 512):
        tile = np.random.default_rng(side).integers(0, 256, (side, side, 3), dtype=np.uint8)
        theirs = transform(Image.fromarray(tile))
        encoder(tile[None])
        assert seen[-1].shape == (1, 3, crop, crop)
        grey = ((seen[-1][0] - theirs) * torch.tensor(std).view(3, 1, 1) * 255).abs()
        assert grey.max() < 2.01  # Pillow counts in fixed point, and rounds twice
        assert grey.mean() < 0.2


class _Seen(nn.Module):
    """Keeps the pixels that a model would see."""

    def __init__(self, seen):
        super().__init__()
        self.seen = seen

    def forward(self, pixels):
        self.seen.append(pixels)
        return torch.zeros(len(pixels), 2, 4)


def test_other_pixels_of_a_repository_are_told_with_both_values(tmp_path):
    facts = replace(card("uni"), options={"embed_dim": 48, "depth": 1, "num_heads": 2, "init_values": 1e-5}, dim=48)
    torch.manual_seed(0)
    save_file(build_model(facts).state_dict(), tmp_path / "model.safetensors")
    stated = {"input_size": [3, 224, 224], "mean": [0.5, 0.5, 0.5], "std": IMAGENET[1], "interpolation": "bicubic"}
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "vit", "pretrained_cfg": stated}))
    with pytest.warns(
        UserWarning, match=r"mean is \(0\.5.*in config\.json and \(0\.485.*checked: .*mahmoodlab/UNI"
    ) as told:
        load_model(facts, build_model, weights=tmp_path / "model.safetensors", device="cpu", precision=None)
    assert "interpolation" not in str(told[0].message)  # known to be as on the card
    unchecked = replace(facts, checked="")
    with pytest.warns(UserWarning, match=r"interpolation is bicubic in config\.json and bilinear.*nobody has checked"):
        load_model(unchecked, build_model, weights=tmp_path / "model.safetensors", device="cpu", precision=None)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit"}))
    processor = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.1, 0.1, 0.1], "size": 224}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor))
    with pytest.warns(UserWarning, match=r"std is \(0\.1, 0\.1, 0\.1\) in preprocessor_config\.json and \(0\.229"):
        load_model(facts, build_model, weights=tmp_path / "model.safetensors", device="cpu", precision=None)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor | {"image_std": IMAGENET[1]}))
    with warnings.catch_warnings(action="error"):
        load_model(facts, build_model, weights=tmp_path / "model.safetensors", device="cpu", precision=None)


@pytest.mark.parametrize("name", ["musk", "genbio-pathfm", "GenBio_PathFM"])
def test_encoders_with_code_of_their_own_are_refused_in_words(name):
    for ask in (card, create_encoder):
        with pytest.raises(EncoderError, match=r"own network.*TRIDENT"):
            ask(name)
