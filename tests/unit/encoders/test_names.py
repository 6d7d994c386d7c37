"""Weights of transformers, DINOv2 and an older timm give, in timm's models, the features their own programs give."""

import re
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from asmil.encoders import build_model, card
from asmil.encoders.model import load_model, pooled
from asmil.machine import prepare_torchvision

SMALL = {"embed_dim": 48, "depth": 2, "num_heads": 4}
OURS = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}


@pytest.fixture(scope="module")
def transformers():
    prepare_torchvision()
    return pytest.importorskip("transformers")


def _saved(model, folder):
    """The model's file with weights that differ everywhere, as its own program writes it."""
    torch.manual_seed(1)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    model.eval().save_pretrained(folder)
    return folder / "model.safetensors"


def _features(name, file, **options):
    facts = card(name)
    facts = replace(facts, options={**facts.options, **SMALL, **options})
    model = load_model(facts, build_model, weights=file, device="cpu", precision=None).model
    return lambda pixels: pooled(model(pixels), card=facts)


@pytest.fixture(scope="module")
def pixels():
    return torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))


@torch.inference_mode()
def test_phikon_is_transformers_vit(transformers, pixels, tmp_path):
    theirs = transformers.ViTModel(transformers.ViTConfig(**OURS, intermediate_size=192))
    ours = _features("phikon", _saved(theirs, tmp_path))
    torch.testing.assert_close(ours(pixels), theirs(pixels).last_hidden_state[:, 0], rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_phikon_v2_is_transformers_dinov2(transformers, pixels, tmp_path):
    theirs = transformers.Dinov2Model(transformers.Dinov2Config(**OURS, image_size=224, patch_size=16))
    ours = _features("phikon-v2", _saved(theirs, tmp_path))
    torch.testing.assert_close(ours(pixels), theirs(pixels).last_hidden_state[:, 0], rtol=1e-4, atol=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize("prefix", ["", "dinov2.", "module.backbone."])
def test_hibou_is_transformers_dinov2_with_registers(transformers, pixels, tmp_path, prefix):
    config = transformers.Dinov2WithRegistersConfig(
        **OURS, image_size=224, patch_size=14, num_register_tokens=4, use_swiglu_ffn=True
    )
    theirs = transformers.Dinov2WithRegistersModel(config)
    file = _saved(theirs, tmp_path)
    save_file({prefix + name: value for name, value in load_file(file).items()}, file)
    ours = _features("hibou-b", file)
    torch.testing.assert_close(ours(pixels), theirs(pixels).last_hidden_state[:, 0], rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_plip_is_transformers_clip(transformers, pixels, tmp_path):
    small = OURS | {"intermediate_size": 192}
    config = transformers.CLIPConfig(
        vision_config=small | {"image_size": 224, "patch_size": 32, "hidden_act": "quick_gelu"},
        text_config=small | {"vocab_size": 100},
        projection_dim=512,
    )
    theirs = transformers.CLIPModel(config)
    ours = _features("plip", _saved(theirs, tmp_path))
    vision = theirs.vision_model(pixel_values=pixels).pooler_output
    torch.testing.assert_close(ours(pixels), theirs.visual_projection(vision), rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_ctranspath_takes_the_names_of_old_timm(pixels, tmp_path):
    facts = card("ctranspath")
    small = {"embed_dim": 24, "depths": (2, 2, 2, 2), "num_heads": (1, 2, 4, 8)}
    facts = replace(facts, dim=192, options={**facts.options, **small})
    torch.manual_seed(0)
    today = build_model(facts).eval()
    old = {"head.weight": torch.zeros(7, 192), "head.bias": torch.zeros(7)}
    for name, value in today.state_dict().items():
        for stage in (1, 2, 3):  # once the downsampling was the end of a stage
            name = name.replace(f"layers.{stage}.downsample", f"layers.{stage - 1}.downsample ")
        old[name.replace(" ", "")] = value
    assert "layers.0.downsample.norm.weight" in old
    old["layers.0.blocks.1.attn_mask"] = torch.zeros(64, 49, 49)
    old["layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(49, 49)
    torch.save({"model": old}, tmp_path / "ctranspath.pth")
    ours = load_model(facts, build_model, weights=tmp_path / "ctranspath.pth", device="cpu", precision=None)
    torch.testing.assert_close(ours.model(pixels), today(pixels))


@torch.inference_mode()
@pytest.mark.parametrize("image_size", [224, 280])
def test_midnight_is_transformers_dinov2_with_gates(transformers, pixels, tmp_path, image_size):
    config = transformers.Dinov2Config(**OURS, image_size=image_size, patch_size=14, use_swiglu_ffn=True)
    theirs = transformers.Dinov2Model(config)
    ours = _features("midnight-12k", _saved(theirs, tmp_path))
    tokens = theirs(pixels).last_hidden_state
    wanted = torch.cat([tokens[:, 0], tokens[:, 1:].mean(1)], dim=1)
    torch.testing.assert_close(ours(pixels), wanted, rtol=1e-4, atol=1e-4)


DINOV2 = (
    ("embeddings.patch_embeddings.projection", "patch_embed.proj"),
    ("embeddings.position_embeddings", "pos_embed"),
    ("embeddings.", ""),
    ("encoder.layer.", "blocks."),
    ("attention.output.dense", "attn.proj"),
    ("layer_scale1.lambda1", "ls1.gamma"),
    ("layer_scale2.lambda1", "ls2.gamma"),
    ("mlp.weights_in", "mlp.w12"),
    ("mlp.weights_out", "mlp.w3"),
    ("layernorm.", "norm."),
)


def _as_dinov2(state, *, chunks):
    """Weights of transformers under the names of DINOv2's own code, blocks in chunks of one where asked."""
    named = {}
    for name, value in state.items():
        for theirs, native in DINOV2:
            name = name.replace(theirs, native)
        named[re.sub(r"blocks\.(\d+)", r"blocks.\1.\1", name) if chunks else name] = value
    for query in [name for name in named if "attention.attention.query" in name]:
        parts = [named.pop(query.replace("query", part)) for part in ("query", "key", "value")]
        named[query.replace("attention.attention.query", "attn.qkv")] = torch.cat(parts)
    return named


@torch.inference_mode()
def test_openmidnight_is_dinov2_with_registers(transformers, pixels, tmp_path):
    config = transformers.Dinov2WithRegistersConfig(
        **OURS, image_size=224, patch_size=14, num_register_tokens=4, use_swiglu_ffn=True
    )
    theirs = transformers.Dinov2WithRegistersModel(config)
    state = _as_dinov2(load_file(_saved(theirs, tmp_path)), chunks=False)
    assert {"register_tokens", "mask_token", "blocks.1.mlp.w12.weight", "blocks.0.attn.qkv.bias"} <= state.keys()
    torch.save(state, tmp_path / "teacher_checkpoint_load.pt")
    ours = _features("openmidnight", tmp_path / "teacher_checkpoint_load.pt")
    torch.testing.assert_close(ours(pixels), theirs(pixels).last_hidden_state[:, 0], rtol=1e-4, atol=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize("chunks", [False, True])
def test_gpfm_is_dinov2(transformers, pixels, tmp_path, chunks):
    theirs = transformers.Dinov2Model(transformers.Dinov2Config(**OURS, image_size=224, patch_size=14))
    state = _as_dinov2(load_file(_saved(theirs, tmp_path)), chunks=chunks)
    trained = {f"backbone.{name}": value for name, value in state.items()} | {"dino_head.mlp.0.bias": torch.zeros(3)}
    torch.save({"teacher": trained} if chunks else state, tmp_path / "GPFM.pth")
    ours = _features("gpfm", tmp_path / "GPFM.pth")
    torch.testing.assert_close(ours(pixels), theirs(pixels).last_hidden_state[:, 0], rtol=1e-4, atol=1e-4)
