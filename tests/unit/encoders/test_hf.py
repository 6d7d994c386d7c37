"""Models of transformers from a folder: what they return is what transformers returns; no code of others runs."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from asmil.encoders import ModelEncoder, card, create_encoder
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


ROOT = {"image_size": 32, "patch_size": 8}
SWIN = {"image_size": 32, "patch_size": 2, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 4}
CONVNEXT = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}


def _mae(model, pixels):
    """The class token of a plain ViT with the same weights, which masks nothing."""
    import transformers

    plain = transformers.ViTModel(transformers.ViTConfig(**SMALL, **ROOT), add_pooling_layer=False).eval()
    plain.load_state_dict(model.state_dict())
    return plain(pixels).last_hidden_state[:, 0]


def _beit(model, pixels):
    tokens = model(pixels).last_hidden_state
    return torch.nn.functional.layer_norm(
        tokens[:, 1:].mean(1), (32,), model.pooler.layernorm.weight, model.pooler.layernorm.bias, eps=1e-12
    )


@torch.inference_mode()
@pytest.mark.parametrize(
    ("kind", "options", "wanted"),
    [
        ("ViTMAE", SMALL | ROOT, _mae),  # masks three quarters of a tile at random in its training
        ("ViTMSN", SMALL | ROOT, lambda model, pixels: model(pixels).last_hidden_state[:, 0]),
        ("Beit", SMALL | ROOT, _beit),
        ("Beit", SMALL | ROOT | {"use_mean_pooling": False}, lambda m, pixels: m(pixels).last_hidden_state[:, 0]),
        ("Swin", SWIN, lambda model, pixels: model(pixels).last_hidden_state.mean(1)),
        (
            "ConvNext",
            CONVNEXT,
            lambda model, pixels: model.layernorm(model(pixels).last_hidden_state.mean((2, 3))),
        ),
        ("SiglipVision", SMALL | ROOT, lambda model, pixels: model(pixels).pooler_output),
        ("CLIPVision", SMALL | ROOT, lambda model, pixels: model(pixels).pooler_output),
        ("DINOv3ViT", SMALL | ROOT, lambda model, pixels: model(pixels).last_hidden_state[:, 0]),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_each_family_gives_its_embedding_in_float32(transformers, saved, tiles, kind, options, wanted, dtype):
    model = getattr(transformers, f"{kind}Model")(getattr(transformers, f"{kind}Config")(**options))
    folder = saved(model.to(dtype), side=32)
    encoder = create_encoder(f"hf:{folder}")
    assert encoder.precision == "fp32"
    assert {value.dtype for value in encoder.model.state_dict().values() if value.is_floating_point()} == {
        torch.float32
    }
    features = encoder(tiles)
    assert features.shape == (2, encoder.card.dim)
    torch.testing.assert_close(features, wanted(model.float(), _pixels(tiles)), rtol=1e-4, atol=1e-4)
    assert torch.equal(encoder(tiles), features)


@pytest.mark.parametrize("kind", ["Data2VecVision", "IJepa"])
def test_a_model_that_pools_nothing_is_refused(transformers, saved, tiles, kind):
    model = getattr(transformers, f"{kind}Model")(getattr(transformers, f"{kind}Config")(**SMALL, **ROOT))
    encoder = create_encoder(f"hf:{saved(model, side=32)}")
    with pytest.raises(EncoderError, match="pools nothing"):
        encoder(tiles)


@torch.inference_mode()
def test_a_projection_is_not_lost(transformers, saved, tiles):
    config = transformers.CLIPVisionConfig(**SMALL, **ROOT, projection_dim=24)
    model = transformers.CLIPVisionModelWithProjection(config)
    folder = saved(model, side=32)
    encoder = create_encoder(f"hf:{folder}")
    assert encoder.card.dim == 24
    torch.testing.assert_close(encoder(tiles), model(_pixels(tiles)).image_embeds, rtol=1e-4, atol=1e-4)
    facts = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(facts | {"architectures": None}))
    with pytest.raises(EncoderError, match="a projection that its configuration does not name"):
        create_encoder(f"hf:{folder}")


STEPS = [
    {"do_normalize": False},
    {"do_rescale": False},
    {"do_rescale": False, "do_normalize": False},
    {"rescale_factor": 1 / 127.5},
    {"do_resize": False},
    {"size": {"height": 32, "width": 32}, "resample": 2},
    {"size": {"height": 32, "width": 32}, "resample": 3},
]


@torch.inference_mode()
@pytest.mark.parametrize("steps", STEPS, ids=str)
def test_a_processors_steps_are_those_of_transformers(transformers, saved, tiles, steps):
    model = transformers.ViTModel(transformers.ViTConfig(**SMALL, **ROOT))
    folder = saved(model, side=32)
    (folder / "preprocessor_config.json").unlink()
    plain = {"size": {"height": 32, "width": 32}, "image_mean": MEAN, "image_std": STD}
    processor = transformers.ViTImageProcessor(**plain | steps)
    processor.save_pretrained(folder)
    encoder = create_encoder(f"hf:{folder}")
    sides = [tiles] if steps.get("do_resize") is False else [tiles, np.tile(tiles, (1, 2, 2, 1))[:, :49, :49]]
    for ones in sides:
        pixels = processor(list(ones), return_tensors="pt")["pixel_values"]
        wanted = model(pixels).last_hidden_state[:, 0]
        loose = 1e-4 if ones is tiles else 0.05  # a grey value of rounding, twice
        torch.testing.assert_close(encoder(ones), wanted, rtol=1e-4, atol=loose)


@torch.inference_mode()
def test_a_crop_is_taken_from_the_resized_tile(transformers, saved, tiles):
    model = transformers.Dinov2Model(transformers.Dinov2Config(**SMALL, **ROOT))
    folder = saved(model, side=32)
    (folder / "preprocessor_config.json").unlink()
    processor = transformers.BitImageProcessor(
        size={"shortest_edge": 40}, crop_size={"height": 32, "width": 32}, image_mean=MEAN, image_std=STD
    )
    processor.save_pretrained(folder)
    encoder = create_encoder(f"hf:{folder}")
    assert (encoder.card.tile_px, encoder.card.resize_px, encoder.card.interpolation) == (32, 40, "bicubic")
    large = np.tile(tiles, (1, 2, 2, 1))[:, :50, :50]
    wanted = model(processor(list(large), return_tensors="pt")["pixel_values"]).last_hidden_state[:, 0]
    torch.testing.assert_close(encoder(large), wanted, rtol=1e-4, atol=0.05)
    uncropped = ModelEncoder(encoder.model, replace(encoder.card, resize_px=None), device="cpu", precision=None)
    assert (uncropped(large) - wanted).abs().max() > 5 * (encoder(large) - wanted).abs().max()
    assert uncropped.weight_hash != encoder.weight_hash


def test_tiles_of_another_size_are_refused_where_resizing_is_not_said(transformers, saved, tiles):
    folder = saved(transformers.ViTModel(transformers.ViTConfig(**SMALL, **ROOT)), side=32)
    with pytest.raises(EncoderError, match=r"Found: tiles of 30 x 30 px.*--tile-px 32"):
        create_encoder(f"hf:{folder}")(tiles[:, :30, :30])


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ({"do_pad": True}, "do_pad = True"),
        ({"do_flip_channel_order": True}, "do_flip_channel_order"),
        ({"include_top": True, "image_processor_type": "EfficientNetImageProcessor"}, "include_top.*EfficientNet"),
        ({"crop_pct": 0.9}, "crop_pct"),
        ({"size": {"height": 32, "width": 48}, "crop_size": None, "do_center_crop": None}, "no square images"),
        ({"size": 16}, "pads its images"),
        ({"rescale_factor": 0}, "rescale_factor"),
        ({"image_mean": [0.5], "image_std": [0.5]}, "not for RGB"),
        ({"image_processor": []}, "image processor is none"),
        ({"resample": []}, "image processor is none"),
    ],
)
def test_what_a_processor_does_otherwise_is_refused(transformers, saved, steps, message):
    file = saved(transformers.ViTModel(transformers.ViTConfig(**SMALL, **ROOT)), side=32) / "preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | steps))
    with pytest.raises(EncoderError, match=message):
        card(f"hf:{file.parent}")


@torch.inference_mode()
def test_transformers_5_saves_one_file_for_images_and_texts(transformers, saved, tiles):
    config = transformers.CLIPConfig(
        vision_config=SMALL | ROOT, text_config=SMALL | {"vocab_size": 50}, projection_dim=24
    )
    model = transformers.CLIPModel(config)
    folder = saved(model, side=32)
    (folder / "preprocessor_config.json").unlink()
    (folder / "vocab.json").write_text(json.dumps({"a": 0, "<|endoftext|>": 1}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    images = transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    tokenizer = transformers.CLIPTokenizer.from_pretrained(folder)
    transformers.CLIPProcessor(image_processor=images, tokenizer=tokenizer).save_pretrained(folder)
    if (folder / "preprocessor_config.json").exists():
        pytest.skip("this transformers writes the older file")
    pixels = images(list(tiles), return_tensors="pt")["pixel_values"]
    wanted = model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output)
    torch.testing.assert_close(create_encoder(f"hf:{folder}")(tiles), wanted, rtol=1e-4, atol=1e-4)


def test_code_of_the_repository_is_not_run(transformers, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "foreign", "auto_map": {"AutoConfig": "evil.C"}}))
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass C: pass\n")
    with pytest.raises(EncoderError, match="code of their own are not loaded"):
        create_encoder(f"hf:{tmp_path}")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", ["[1]", "{", "3"])
def test_a_damaged_preprocessing_is_refused(transformers, saved, content):
    folder = saved(transformers.ViTModel(transformers.ViTConfig(**SMALL, image_size=32, patch_size=8)), side=32)
    (folder / "processor_config.json").write_text(content)
    with pytest.raises(EncoderError, match=r"no readable processor_config\.json"):
        card(f"hf:{folder}")


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
