"""Towers that learned from texts: the names of their files, their pooling written out, and the positions of v1.5."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from asmil.encoders import build_model, card
from asmil.encoders.model import load_model
from asmil.encoders.weights import fitted
from asmil.errors import EncoderError

HEADS = 8
SMALL = {"embed_dim": 32, "depth": 1, "num_heads": 2}


def _tower(name):
    facts = card(name)
    facts = replace(facts, dim=64, options={**facts.options, **SMALL})
    torch.manual_seed(0)
    tower = build_model(facts).eval()
    for parameter in tower.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return facts, tower


@torch.inference_mode()
def test_pooling_of_v1_5_written_out():
    _, tower = _tower("conch-v1-5")
    pooler, tokens = tower.attn_pool_contrast, torch.randn(3, 5, 32)
    keys = F.layer_norm(tokens, (32,), pooler.ln_k.weight, pooler.ln_k.bias)
    query = F.layer_norm(pooler.query, (64,), pooler.ln_q.weight, pooler.ln_q.bias) @ pooler.to_q.weight.T
    k, v = (keys @ part.T for part in pooler.to_kv.weight.split(64))
    heads = []
    for h in range(HEADS):
        part = slice(8 * h, 8 * h + 8)
        heads.append((query[:, part] @ k[..., part].mT / 8**0.5).softmax(-1) @ v[..., part])
    wanted = torch.cat(heads, -1)[:, 0] @ pooler.to_out.weight.T
    torch.testing.assert_close(pooler(tokens), wanted, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_pooling_of_v1_written_out():
    _, tower = _tower("conch")
    pooler, tokens = tower.attn_pool_contrast, torch.randn(3, 5, 32)
    keys = F.layer_norm(tokens, (32,), pooler.ln_k.weight, pooler.ln_k.bias)
    query = F.layer_norm(pooler.query, (64,), pooler.ln_q.weight, pooler.ln_q.bias)
    weights = (pooler.attn.q_proj_weight, pooler.attn.k_proj_weight, pooler.attn.v_proj_weight)
    biases = pooler.attn.in_proj_bias.split(64)
    q, k, v = (x @ w.T + b for x, w, b in zip((query, keys, keys), weights, biases, strict=True))
    heads = []
    for h in range(HEADS):
        part = slice(8 * h, 8 * h + 8)
        heads.append((q[:, part] @ k[..., part].mT / 8**0.5).softmax(-1) @ v[..., part])
    wanted = torch.cat(heads, -1)[:, 0] @ pooler.attn.out_proj.weight.T + pooler.attn.out_proj.bias
    torch.testing.assert_close(pooler(tokens), wanted, rtol=1e-4, atol=1e-4)


def test_text_and_captions_of_the_published_file_are_left_out():
    facts, tower = _tower("conch")
    state = {f"visual.{name}": value for name, value in tower.state_dict().items()}
    others = (
        "text.token_embedding.weight",
        "text_decoder.ln.weight",
        "logit_scale",
        "visual.proj_contrast",
        "visual.attn_pool_caption.query",
        "visual.ln_caption.weight",
    )
    found = fitted(state | {name: torch.zeros(1) for name in others}, tower, card=facts, file="conch")
    assert found.keys() == tower.state_dict().keys()


def test_positions_of_v1_5_are_those_of_224_px_resampled():
    facts, tower = _tower("conch-v1-5")
    state = dict(tower.state_dict())
    rows = torch.arange(14.0).repeat_interleave(14)
    state["trunk.pos_embed"] = torch.cat([torch.full((1,), 99.0), rows])[None, :, None].expand(1, 197, 32)
    found = fitted(state, tower, card=facts, file="conch")["trunk.pos_embed"]
    assert found.shape == (1, 785, 32)
    assert float(found[0, 0, 0]) == 99
    grid = found[0, 1:, 0].reshape(28, 28)
    assert torch.allclose(grid, grid[:, :1])  # rows stay rows
    place = (torch.arange(6, 22) + 0.5) * 14 / 28.1 - 0.5
    steps = torch.arange(-1, 3)[:, None]
    wanted = (_cubic((steps - place.frac()).abs()) * (place.floor() + steps)).sum(0)
    torch.testing.assert_close(grid[6:22, 0], wanted, rtol=0, atol=1e-4)


def _cubic(d, a=-0.75):
    near, far = ((a + 2) * d - (a + 3)) * d**2 + 1, ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return torch.where(d <= 1, near, torch.where(d < 2, far, 0))


def test_weights_of_another_tower_are_refused():
    facts, tower = _tower("conch")
    _, other = _tower("conch-v1-5")
    with pytest.raises(EncoderError, match="missing: attn_pool_contrast"):
        fitted(other.state_dict(), tower, card=facts, file="conch")


@torch.inference_mode()
def test_conch_from_bytes_to_embedding_by_hand(tmp_path):
    """A file as its authors save it, the tower under `visual.` beside that of texts; pixels with the mean of CLIP."""
    facts, tower = _tower("conch")
    facts = replace(facts, tile_px=32, options={**facts.options, "img_size": 32})
    tower = build_model(facts).eval()
    for parameter in tower.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    state = {f"visual.{name}": value for name, value in tower.state_dict().items()}
    state |= {"text.token_embedding.weight": torch.zeros(2, 2), "logit_scale": torch.ones(())}
    torch.save(state, tmp_path / "c.bin")
    encoder = load_model(facts, build_model, weights=tmp_path / "c.bin", device="cpu", precision=None)
    tiles = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    pixels = (torch.from_numpy(tiles) / 255 - torch.tensor(mean)) / torch.tensor(std)
    tokens = tower.trunk.forward_features(pixels.permute(0, 3, 1, 2))
    wanted = F.layer_norm(tower.attn_pool_contrast(tokens), (64,), tower.ln_contrast.weight, tower.ln_contrast.bias)
    torch.testing.assert_close(encoder(tiles), wanted, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_keep_by_hand(tmp_path):
    """A file as transformers saves it: scales of layers as `weight`, beside a text tower."""
    facts = card("keep")
    facts = replace(facts, dim=24, tile_px=32, options={**facts.options, **SMALL, "img_size": 32})
    torch.manual_seed(0)
    tower = build_model(facts).eval()
    for parameter in tower.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    state = {name.replace("gamma", "weight"): value for name, value in tower.state_dict().items()}
    state |= {"text.embeddings.word_embeddings.weight": torch.zeros(2, 2), "logit_scale": torch.ones(())}
    torch.save(state, tmp_path / "keep.bin")
    encoder = load_model(facts, build_model, weights=tmp_path / "keep.bin", device="cpu", precision=None)
    tiles = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    mean, std = torch.tensor((0.485, 0.456, 0.406)), torch.tensor((0.229, 0.224, 0.225))
    token = tower.visual.forward_features(((torch.from_numpy(tiles) / 255 - mean) / std).permute(0, 3, 1, 2))[:, 0]
    first, _, second = tower.visual_head
    hidden = F.gelu(token @ first.weight.T + first.bias) @ second.weight.T + second.bias
    wanted = hidden / hidden.norm(dim=1, keepdim=True)
    torch.testing.assert_close(encoder(tiles), wanted, rtol=1e-4, atol=1e-4)
