"""CONCH's towers: the names of their files, their pooling written out, and the positions of v1.5."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from asmil.encoders import build_model, card
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
