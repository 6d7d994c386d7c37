"""Models of transformers from a folder: what they return is what transformers returns; no code of others runs."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from asmil.encoders import card, create_encoder
from asmil.errors import EncoderError
from asmil.machine import prepare_torchvision
from asmil.testing import check_encoder

MEAN, STD = (0.5, 0.4, 0.6), (0.2, 0.3, 0.25)
SMALL = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}


@pytest.fixture(scope="module")
def transformers():
    prepare_torchvision()
    return pytest.importorskip("transformers")


@pytest.fixture
def saved(tmp_path):
    """A function that saves a model with weights that differ everywhere, and its preprocessing."""

    def save(model, *, side):
        torch.manual_seed(0)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        model.eval().save_pretrained(tmp_path)
        facts = {"image_mean": MEAN, "image_std": STD, "size": {"shortest_edge": 2 * side}, "crop_size": side}
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(facts))
        return tmp_path

    return save


def _pixels(tiles):
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (MEAN, STD))
    return (torch.from_numpy(tiles).permute(0, 3, 1, 2) / 255 - mean) / std


@pytest.fixture
def tiles():
    return np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)


@torch.inference_mode()
def test_a_transformer_gives_its_class_token(transformers, saved, tiles):
    model = transformers.ViTModel(transformers.ViTConfig(**SMALL, image_size=32, patch_size=8))
    folder = saved(model, side=32)
    encoder = create_encoder(f"hf:{folder}")
    assert (encoder.card.dim, encoder.card.tile_px, encoder.card.tokens) == (32, 32, "cls")
    wanted = model(_pixels(tiles)).last_hidden_state[:, 0]
    torch.testing.assert_close(encoder(tiles), wanted, rtol=1e-4, atol=1e-4)
    assert check_encoder(encoder).ok
    again = create_encoder("hf:org/name", weights=folder)  # for a machine without network
    assert again.weight_hash == encoder.weight_hash


@pytest.mark.parametrize("change", [dict.popitem, lambda state: state.update({"layernorm.bias": torch.zeros(3)})])
def test_weights_are_not_made_up(transformers, saved, change):
    model = transformers.Dinov2Model(transformers.Dinov2Config(**SMALL, image_size=32, patch_size=8))
    file = saved(model, side=32) / "model.safetensors"
    state = load_file(file)
    change(state)
    save_file(state, file, metadata={"format": "pt"})
    with pytest.raises(EncoderError, match=r"lacks weights.*norm"):
        create_encoder(f"hf:{file.parent}")


def test_a_pooler_that_is_not_there_changes_nothing(transformers, saved):
    config = transformers.ViTConfig(**SMALL, image_size=32, patch_size=8)
    folder = saved(transformers.ViTModel(config, add_pooling_layer=False), side=32)
    first, second = (create_encoder(f"hf:{folder}").weight_hash for _ in range(2))
    assert first == second


@torch.inference_mode()
def test_a_clip_gives_its_projected_image(transformers, saved, tiles):
    config = transformers.CLIPConfig(
        vision_config=SMALL | {"image_size": 32, "patch_size": 8},
        text_config=SMALL | {"vocab_size": 50},
        projection_dim=24,
    )
    model = transformers.CLIPModel(config)
    encoder = create_encoder(f"hf:{saved(model, side=32)}")
    assert encoder.card.dim == 24
    wanted = model.visual_projection(model.vision_model(pixel_values=_pixels(tiles)).pooler_output)
    torch.testing.assert_close(encoder(tiles), wanted, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_a_network_of_convolutions_gives_its_pooled_map(transformers, saved, tiles):
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    model = transformers.ResNetModel(config)
    encoder = create_encoder(f"hf:{saved(model, side=32)}")
    assert (encoder.card.dim, encoder.card.tokens) == (16, "pooled")
    torch.testing.assert_close(encoder(tiles), model(_pixels(tiles)).pooler_output.flatten(1), rtol=1e-4, atol=1e-4)


def test_code_of_the_repository_is_not_run(transformers, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "foreign", "auto_map": {"AutoConfig": "evil.C"}}))
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass C: pass\n")
    with pytest.raises(EncoderError, match="code of their own are not loaded"):
        create_encoder(f"hf:{tmp_path}")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [None, "{}", '{"image_mean": 1, "image_std": 2}'])
def test_no_preprocessing_is_not_guessed(transformers, saved, content):
    folder = saved(transformers.ViTModel(transformers.ViTConfig(**SMALL, image_size=32, patch_size=8)), side=32)
    file = folder / "preprocessor_config.json"
    file.unlink()
    if content:
        file.write_text(content)
    with pytest.raises(EncoderError, match="how its images are normalised"):
        card(f"hf:{folder}")


def test_without_network_it_says_how_to_go_on(transformers, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(EncoderError, match="--weights FOLDER"):
        create_encoder("hf:nobody/has-such-a-model")
