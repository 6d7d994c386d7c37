"""timm models: real loading code on tiny random weights, no download."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from asmil.encoders import ModelEncoder, card, create_encoder
from asmil.encoders.model import to_input
from asmil.encoders.weights import read_weights, weight_hash
from asmil.errors import EncoderError, UnknownPartError
from asmil.machine import prepare_torchvision
from asmil.testing import check_encoder

NAME = "timm:test_vit"  # timm's own miniature for tests: 160 px, 64 values


@pytest.fixture(scope="module")
def timm():
    prepare_torchvision()
    return pytest.importorskip("timm")


@pytest.fixture(scope="module")
def state(timm):
    torch.manual_seed(0)
    return timm.create_model("test_vit", pretrained=False).state_dict()  # with its classifier, as files have it


@pytest.fixture(scope="module")
def weights(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_file(state, path)
    return path


@pytest.fixture(scope="module")
def encoder(weights):
    return create_encoder(NAME, weights=weights)


def test_card_comes_from_the_model(timm):
    facts = card(NAME)
    config = timm.get_pretrained_cfg("test_vit")
    assert (facts.name, facts.dim, facts.tile_px) == (NAME, 64, config.input_size[-1])
    assert facts.mean == tuple(config.mean)


def test_contract(encoder):
    report = check_encoder(encoder)
    assert report.ok, str(report)


def test_preprocessing_is_the_cards(timm, state, encoder):
    tiles = np.random.default_rng(0).integers(0, 256, (2, 160, 160, 3), dtype=np.uint8)
    model = timm.create_model("test_vit", pretrained=False, num_classes=0).eval()
    model.load_state_dict({k: v for k, v in state.items() if not k.startswith("head.")})
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (encoder.card.mean, encoder.card.std))
    with torch.inference_mode():
        wanted = model((torch.from_numpy(tiles).permute(0, 3, 1, 2) / 255 - mean) / std)
    torch.testing.assert_close(encoder(tiles), wanted, rtol=1e-3, atol=1e-4)


def test_tiles_of_another_size_are_resized(encoder):
    plain = np.full((1, 160, 160, 3), (200, 120, 180), np.uint8)
    torch.testing.assert_close(encoder(plain[:, :37, :37]), encoder(plain), rtol=1e-3, atol=1e-3)


def test_pth_with_wrapper_gives_the_same_encoder(state, encoder, tmp_path):
    torch.save({"state_dict": state}, tmp_path / "model.pth")
    assert create_encoder(NAME, weights=tmp_path / "model.pth").weight_hash == encoder.weight_hash


def test_hash_sees_one_changed_weight(state):
    changed = {name: value.clone() for name, value in state.items()}
    changed["norm.bias"][0] += 1e-6
    assert weight_hash(changed) != weight_hash(state)
    assert weight_hash(dict(reversed(state.items()))) == weight_hash(state)


def test_half_precision_is_not_used_on_a_cpu(weights):
    assert create_encoder(NAME, weights=weights, precision="bf16").dtype is None


def test_resnet50_is_cut_after_its_third_stage(timm, tmp_path):
    model = timm.create_model("resnet50", pretrained=False).eval()
    save_file(model.state_dict(), tmp_path / "resnet50.safetensors")
    encoder = create_encoder("resnet50", weights=tmp_path / "resnet50.safetensors")
    tile = np.random.default_rng(0).integers(0, 256, (1, 256, 256, 3), dtype=np.uint8)
    with torch.inference_mode():
        pixels = (torch.from_numpy(tile).permute(0, 3, 1, 2).float() - encoder._mean) / encoder._std
        stages = model.forward_intermediates(pixels, intermediates_only=True)
    wanted = stages[3].mean((2, 3))
    assert wanted.shape == (1, encoder.card.dim)
    torch.testing.assert_close(encoder(tile), wanted, rtol=1e-3, atol=1e-4)


def test_a_folder_of_the_hub_stands_for_the_hub(state, encoder, tmp_path):
    facts = {"input_size": [3, 160, 160], "fixed_input_size": True, "mean": [0.1, 0.2, 0.3]}
    facts |= {"num_classes": 1000, "classifier": "head"}
    config = {"architecture": "test_vit", "pretrained_cfg": facts}
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file(state, tmp_path / "model.safetensors")
    loaded = create_encoder("hf-hub:org/name", weights=tmp_path)
    assert (loaded.card.name, loaded.card.mean) == ("hf-hub:org/name", (0.1, 0.2, 0.3))
    torch.testing.assert_close(loaded.model.state_dict(), encoder.model.state_dict())
    assert loaded.weight_hash != encoder.weight_hash  # of another mean the features are others


@pytest.fixture
def hub_folder(timm, tmp_path):
    """A function that saves a random ViT as timm's `push_to_hf_hub` does: arguments in `model_args`."""

    def save(**arguments):
        from timm.models import save_for_hf

        torch.manual_seed(1)
        model = timm.create_model("test_vit", pretrained=False, num_classes=0, **arguments).eval()
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        save_for_hf(model, tmp_path, model_args={"num_classes": 0, **arguments}, safe_serialization=True)
        return model, tmp_path

    return save


def _by_hand(model, tiles, card):
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (card.mean, card.std))
    with torch.inference_mode():
        return model.forward_features((torch.from_numpy(tiles).permute(0, 3, 1, 2) / 255 - mean) / std)


def test_a_model_that_pools_nothing_gives_its_class_token(hub_folder):
    model, folder = hub_folder(global_pool="", reg_tokens=2)
    encoder = create_encoder("hf-hub:org/name", weights=folder)
    assert (encoder.card.dim, encoder.card.tokens, encoder.card.registers) == (64, "cls", 2)
    tiles = np.random.default_rng(0).integers(0, 256, (2, 160, 160, 3), dtype=np.uint8)
    tokens = _by_hand(model, tiles, encoder.card)
    torch.testing.assert_close(encoder(tiles), tokens[:, 0], rtol=1e-4, atol=1e-4)


def test_a_repository_with_a_card_gives_what_the_card_says(hub_folder):
    model, folder = hub_folder(global_pool="")
    encoder = create_encoder("hf-hub:paige-ai/Virchow", weights=folder)
    assert (encoder.card.dim, encoder.card.tokens) == (128, "cls+mean")
    tiles = np.random.default_rng(0).integers(0, 256, (2, 160, 160, 3), dtype=np.uint8)
    tokens = _by_hand(model, tiles, encoder.card)
    wanted = torch.cat([tokens[:, 0], tokens[:, 1:].mean(1)], dim=1)
    torch.testing.assert_close(encoder(tiles), wanted, rtol=1e-4, atol=1e-4)


def test_tokens_without_a_class_token_are_not_flattened(hub_folder):
    _, folder = hub_folder(global_pool="", class_token=False)
    with pytest.raises(EncoderError, match="pools nothing and has no class token"):
        create_encoder("hf-hub:org/name", weights=folder)


def test_a_map_that_is_not_pooled_is_refused(timm, tmp_path):
    from timm.models import save_for_hf

    model = timm.create_model("test_resnet", pretrained=False, num_classes=0, global_pool="")
    save_for_hf(model, tmp_path, model_args={"num_classes": 0, "global_pool": ""}, safe_serialization=True)
    with pytest.raises(EncoderError, match="values of a tile instead of"):
        create_encoder("hf-hub:org/name", weights=tmp_path)(np.zeros((1, 160, 160, 3), np.uint8))


def test_a_features_length_that_the_card_does_not_say_is_refused(encoder):
    wrong = replace(encoder.card, dim=32)
    with pytest.raises(EncoderError, match="64 values of a tile instead of 32"):
        ModelEncoder(encoder.model, wrong, device="cpu", precision=None)(np.zeros((1, 160, 160, 3), np.uint8))


def test_larger_tiles_are_resized_and_cropped_as_timm_does(timm, weights):
    from PIL import Image
    from timm.data import create_transform

    encoder = create_encoder(NAME, weights=weights)
    config = timm.get_pretrained_cfg("test_vit").to_dict()
    assert encoder.card.resize_px == int(160 / config["crop_pct"])
    assert encoder.card.interpolation == config["interpolation"]
    transform = create_transform(
        (3, 160, 160),
        interpolation=config["interpolation"],
        crop_pct=config["crop_pct"],
        mean=config["mean"],
        std=config["std"],
    )
    for side in (97, 256, 301):
        tile = np.random.default_rng(side).integers(0, 256, (side, side, 3), dtype=np.uint8)
        theirs = transform(Image.fromarray(tile))
        mean, std = encoder._mean, encoder._std
        ours = (to_input(torch.from_numpy(tile)[None].permute(0, 3, 1, 2).float(), card=encoder.card) - mean) / std
        assert ours.shape == theirs[None].shape
        grey = (ours[0] - theirs).abs() * std
        assert grey.max() <= 1.01, side  # Pillow rounds after each of its two passes


def test_weights_of_another_model_are_refused(timm, weights):
    with pytest.raises(EncoderError, match="does not fit"):
        create_encoder("timm:test_resnet", weights=weights)


class _Code:
    def __reduce__(self):
        return print, ("this pickle ran code",)


def test_pickles_that_run_code_are_refused(tmp_path, capsys):
    torch.save({"a": _Code()}, tmp_path / "bad.pth")
    with pytest.raises(EncoderError, match="not a readable weights file"):
        read_weights(tmp_path / "bad.pth")
    assert "ran code" not in capsys.readouterr().out


def test_unreadable_weights(tmp_path):
    (tmp_path / "empty.safetensors").touch()
    torch.save([1, 2], tmp_path / "list.pth")
    for path, message in (
        (tmp_path / "absent.pth", "does not exist"),
        (tmp_path / "empty.safetensors", "not a readable"),
        (tmp_path / "list.pth", "no state dict"),
    ):
        with pytest.raises(EncoderError, match=message):
            read_weights(path)


def test_no_network_says_how_to_go_on(timm, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(EncoderError, match="--weights FILE"):
        create_encoder("hf-hub:nobody/has-such-a-model")


def test_unknown_names_devices_and_precisions(timm):
    with pytest.raises(EncoderError, match="timm knows no model"):
        create_encoder("timm:no_such_model")
    with pytest.raises(UnknownPartError, match="did you mean"):
        create_encoder("resnet5")
    with pytest.raises(EncoderError, match="precision"):
        create_encoder("colour-texture", precision="fp8")
    with pytest.raises(EncoderError, match="no device"):
        create_encoder("colour-texture", device="quantum")
