"""Slide encoders: weights saved as the authors save them give the vectors of a computation by hand."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.special import erf, expit, logsumexp, softmax

from asmil.encoders import create_slide_encoder, list_slide_encoders, slide_card
from asmil.encoders.families.slide_transformers import alibi_slopes
from asmil.encoders.slide_cards import OWN
from asmil.encoders.slide_model import NETWORKS
from asmil.errors import EncoderError, UnknownPartError

TINY = {
    "chief": {"dim": 5, "tile_dim": 5, "options": {"width": 6, "hidden": 3}},
    "feather": {"dim": 6, "tile_dim": 5, "options": {"hidden": 3}, "config": {}},
    "madeleine": {"dim": 4, "tile_dim": 5, "options": {"width": 6, "hidden": 3, "heads": 2}, "config": {"n_heads": 2}},
    "titan": {"dim": 12, "tile_dim": 5, "options": {"depth": 2, "heads": 3, "pool_heads": 2}},
    "prism": {"dim": 8, "tile_dim": 5, "options": {"latents": 4, "heads": 2, "blocks": 2, "depth": 3}},
    "prov-gigapath": {
        "dim": 16,
        "tile_dim": 5,
        "options": {"depth": 2, "heads": 4, "grid": 9, "segments": (4, 6, 60), "ratios": (1, 2, 4)},
    },
}
SIDE = 512


@pytest.fixture
def tiles():
    """Features (22, 5) and corners (22, 2) of tiles in some order, some of their cells empty."""
    rng = np.random.default_rng(1)
    places = rng.permutation(np.stack(np.meshgrid(range(4), range(7)), -1).reshape(-1, 2))[:22]
    return rng.standard_normal((22, 5)).astype(np.float32), places * SIDE


def tiny(name, *, seed=0):
    """A card of the same kind in a small size, and the weights of a random network of it, in numpy."""
    card = replace(slide_card(name), **TINY[name])
    torch.manual_seed(seed)
    model = NETWORKS[card.family](card, **card.options)
    return card, {key: torch.randn_like(value) * 0.4 for key, value in model.state_dict().items()}


def saved(name, state, folder):
    """The weights in the authors' own file, with what else it holds."""
    extra = torch.zeros(3)
    if name == "chief":
        torch.save(state | {"organ_embedding": extra, "att_head.fc1.weight": extra}, folder / "CHIEF_pretraining.pth")
    elif name == "madeleine":
        under = {f"module.{key}": value for key, value in state.items()}
        torch.save(under | {"module.token_projector.weight": extra}, folder / "model.pt")
    elif name == "prov-gigapath":
        torch.save({"model": state | {"mask_token": extra}}, folder / "slide_encoder.pth")
    else:
        prefix = {"feather": "model.", "titan": "vision_encoder.", "prism": "image_resampler."}[name]
        own = {prefix + key: value.clone() for key, value in state.items()}
        others = {
            "feather": {"model.classifier.weight": extra},
            "titan": {"vision_encoder.proj": extra, "vision_encoder.attn_pool.query": extra, "text_encoder.x": extra},
            "prism": {"image_resampler.img_norm.weight": extra, "text_decoder.x": extra},
        }[name]
        save_file(own | {key: value.clone() for key, value in others.items()}, folder / "model.safetensors")
    return folder


def load(name, folder, **options):
    card, state = tiny(name)
    weights = saved(name, state, folder)
    encoder = create_slide_encoder(card, weights=weights, **options)
    return encoder, {key: value.double().numpy() for key, value in state.items()}


def vector(encoder, tiles, *, side=SIDE):
    features, xy = tiles
    return encoder(torch.from_numpy(features), level0_xy=torch.from_numpy(xy), tile_level0_px=side).numpy()


# By hand, one formula a line, in double precision.


def linear(w, name, x):
    return x @ w[f"{name}.weight"].T + w.get(f"{name}.bias", 0)


def norm(w, name, x, eps=1e-5):
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps)
    return x * w[f"{name}.weight"] + w[f"{name}.bias"]


def gelu(x):
    return x * (1 + erf(x / np.sqrt(2))) / 2


def gated(w, name, x):
    inner = np.tanh(linear(w, f"{name}.attention_a.0", x)) * expit(linear(w, f"{name}.attention_b.0", x))
    return softmax(linear(w, f"{name}.attention_c", inner)[:, 0])


def chief(w, x):
    return gated(w, "attention_net.3", np.maximum(linear(w, "attention_net.0", x), 0)) @ x


def feather(w, x):
    h = np.maximum(linear(w, "patch_embed.0", x), 0)
    return gated(w, "global_attn", h) @ h


def madeleine(w, x):
    for layer in (0, 4, 8):
        x = gelu(norm(w, f"wsi_embedders.pre_attn.{layer + 1}", linear(w, f"wsi_embedders.pre_attn.{layer}", x)))
    heads = [x[:, head::2] for head in (0, 1)]
    pooled = np.stack([gated(w, f"wsi_embedders.attn.{i}", h) @ h for i, h in enumerate(heads)], 1)
    return linear(w, "projector", pooled.ravel())


def attention(q, k, v, heads, bias=0.0):
    q, k, v = (np.stack(np.split(part, heads, 1)) for part in (q, k, v))
    shares = softmax(q @ k.transpose(0, 2, 1) / math.sqrt(q.shape[2]) + bias, 2)
    return np.concatenate(list(shares @ v), 1)


def multihead(w, name, q, kv, heads):
    """torch's MultiheadAttention."""
    weight, bias = np.split(w[f"{name}.in_proj_weight"], 3), np.split(w.get(f"{name}.in_proj_bias", np.zeros(3)), 3)
    parts = [x @ one.T + b for x, one, b in zip((q, kv, kv), weight, bias, strict=True)]
    return linear(w, f"{name}.out_proj", attention(*parts, heads))


def titan(w, x, places):
    x = np.concatenate([w["cls_token"][0], gelu(linear(w, "patch_embed.0", x))])
    away = np.zeros((len(x), len(x)))
    away[1:, 1:] = np.linalg.norm(places[:, None] - places[None], axis=-1)
    bias = -np.array([2.0**-4, 2.0**-8, 2.0**-2])[:, None, None] * away  # of two heads, then the first of four
    for block in ("blocks.modules_list.0", "blocks.modules_list.1"):
        qkv = np.split(linear(w, f"{block}.attn.qkv", norm(w, f"{block}.norm1", x, 1e-6)), 3, 1)
        x = x + linear(w, f"{block}.attn.proj", attention(*qkv, 3, bias))
        x = x + linear(w, f"{block}.mlp.fc2", gelu(linear(w, f"{block}.mlp.fc1", norm(w, f"{block}.norm2", x, 1e-6))))
    pool = "attn_pool_contrastive"
    seen = norm(w, f"{pool}.ln_k", norm(w, "norm", x, 1e-6))
    return multihead(w, f"{pool}.attn", norm(w, f"{pool}.ln_q", w[f"{pool}.query"]), seen, 2)[0]


def prism(w, x):
    latents = w["perceiver.latents"]
    for round_ in range(3):
        look = f"perceiver.layers.{min(round_, 1)}.xattn"
        keys, values = np.split(linear(w, f"{look}.xattn.to_kv", x), 2, 1)
        query = linear(w, f"{look}.xattn.to_q", norm(w, f"{look}.xattn.x_norm", latents))
        latents = latents + linear(w, f"{look}.xattn.to_out", attention(query, keys, values, 1))
        latents = latents + geglu(w, f"{look}.ff", latents)
        for block in ("perceiver.layers.0.tf.0", "perceiver.layers.0.tf.1"):
            own = norm(w, f"{block}.mhsa.norm", latents)
            latents = latents + multihead(w, f"{block}.mhsa.mha", own, own, 2)
            latents = latents + geglu(w, f"{block}.ff", latents)
    return norm(w, "cls_norm", latents[0])


def geglu(w, name, x):
    values, gates = np.split(linear(w, f"{name}.net.0", norm(w, f"{name}.norm", x)), 2, -1)
    return linear(w, f"{name}.net.2", values * gelu(gates))


def gigapath(w, x, places):
    waves = 10000.0 ** (-np.arange(4) / 4)
    where = [np.concatenate([f(p * waves) for p in (y, x_) for f in (np.sin, np.cos)]) for x_, y in places]
    x = np.concatenate([w["cls_token"][0], linear(w, "patch_embed.proj", x) + np.array(where)])
    for layer in ("encoder.layers.0", "encoder.layers.1"):
        own = norm(w, f"{layer}.self_attn_layer_norm", x)
        q, k, v = (linear(w, f"{layer}.self_attn.{part}_proj", own) for part in "qkv")
        found = norm(w, f"{layer}.self_attn.inner_attn_ln", dilated(q, k, v))
        x = x + linear(w, f"{layer}.self_attn.out_proj", found)
        inner = gelu(linear(w, f"{layer}.ffn.fc1", norm(w, f"{layer}.final_layer_norm", x)))
        x = x + linear(w, f"{layer}.ffn.fc2", norm(w, f"{layer}.ffn.ffn_layernorm", inner))
    return norm(w, "norm", norm(w, "encoder.layer_norm", x)[0], 1e-6)


def dilated(q, k, v, *, heads=4, branches=((4, 1), (6, 2), (60, 4))):
    """Token by token and head by head: what it looks at in each branch, and the zeros that fill a segment up."""
    out, width = np.zeros_like(q), q.shape[1] // heads
    for token in range(len(q)):
        for head in range(heads):
            cut, found, sizes = slice(head * width, (head + 1) * width), [], []
            for segment, ratio in branches:
                start, group = token // segment * segment, head // (heads // ratio)
                if (token - start) % ratio != group:
                    continue
                seen = list(range(start + group, min(start + segment, len(q)), ratio))
                zeros = math.ceil(min(segment, len(q)) / ratio) - len(seen)
                scores = np.append(k[seen][:, cut] @ q[token, cut] / math.sqrt(width), np.zeros(zeros))
                found.append(softmax(scores)[: len(seen)] @ v[seen][:, cut])
                sizes.append(logsumexp(scores))
            out[token, cut] = softmax(sizes) @ np.array(found)
    return out


BY_HAND = {"chief": chief, "feather": feather, "madeleine": madeleine, "prism": prism}
WITH_PLACES = {"titan": titan, "prov-gigapath": gigapath}


@pytest.mark.parametrize("name", [*BY_HAND, *WITH_PLACES])
def test_the_authors_weights_give_the_vector_computed_by_hand(name, tiles, tmp_path):
    encoder, weights = load(name, tmp_path)
    features, xy = tiles
    places = [xy // SIDE] if name in WITH_PLACES else []
    wanted = (BY_HAND | WITH_PLACES)[name](weights, features.astype(np.float64), *places)
    found = vector(encoder, tiles)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=2e-5)
    assert encoder.precision == "fp32"


def test_every_own_network_was_computed_by_hand():
    assert {*BY_HAND, *WITH_PLACES, "feather-uni2"} == {n for n in list_slide_encoders() if slide_card(n).code == OWN}


@pytest.mark.parametrize("name", WITH_PLACES)
def test_places_matter_and_their_unit_does_not(name, tiles, tmp_path):
    encoder, _ = load(name, tmp_path)
    features, xy = tiles
    plain = vector(encoder, tiles)
    moved = xy.copy()
    moved[:5] = xy[:5] + np.array([0, 7 * SIDE])
    assert np.abs(vector(encoder, (features, np.minimum(moved, 8 * SIDE))) - plain).max() > 1e-3
    assert np.array_equal(vector(encoder, (features, 2 * xy), side=2 * SIDE), plain)
    rounded = np.rint(xy / SIDE * 301.4).astype(np.int64)  # a side that is no whole number of level-0 pixels
    assert np.array_equal(vector(encoder, (features, rounded), side=301.4), plain)


@pytest.mark.parametrize("name", WITH_PLACES)
def test_without_places_nothing_is_made_up(name, tmp_path):
    encoder, _ = load(name, tmp_path)
    with pytest.raises(EncoderError, match="needs the places of the tiles"):
        encoder(torch.zeros(3, 5))


def test_titan_starts_at_the_first_tile_and_adds_up_tiles_of_one_cell(tiles, tmp_path):
    encoder, _ = load("titan", tmp_path)
    features, xy = tiles
    plain = vector(encoder, tiles)
    np.testing.assert_allclose(vector(encoder, (features, xy + 3333)), plain, atol=1e-5)
    twice = np.concatenate([features, features[:1]]), np.concatenate([xy, xy[:1]])
    added = np.concatenate([2 * features[:1], features[1:]]), xy
    np.testing.assert_allclose(vector(encoder, twice), vector(encoder, added), atol=1e-5)
    empty = np.concatenate([features, 0 * features[:1]]), np.concatenate([xy, [[6 * SIDE, 6 * SIDE]]])
    np.testing.assert_allclose(vector(encoder, empty), plain, atol=1e-5)


def test_many_tiles_are_worked_on_in_parts(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    xy = np.stack(np.meshgrid(range(9), range(9)), -1).reshape(-1, 2) * SIDE
    many = rng.standard_normal((81, 5)).astype(np.float32), xy
    for name in WITH_PLACES:
        (tmp_path / name).mkdir()
        encoder, _ = load(name, tmp_path / name)
        whole = vector(encoder, many)
        with monkeypatch.context() as smaller:
            smaller.setattr("asmil.encoders.families.slide_transformers.QUERIES", 7)
            np.testing.assert_allclose(vector(encoder, many), whole, atol=1e-5)


def test_a_slide_beyond_the_grid_of_gigapath_is_refused(tmp_path):
    encoder, _ = load("prov-gigapath", tmp_path)
    with pytest.raises(EncoderError, match=r"larger than the authors' grid of 9 tiles.*column 9"):
        encoder(torch.zeros(2, 5), level0_xy=torch.tensor([[0, 0], [0, 9 * SIDE]]), tile_level0_px=SIDE)


def test_slopes_of_twelve_heads_are_those_of_eight_and_every_other_of_sixteen():
    assert alibi_slopes(8) == [2.0**-i for i in range(1, 9)]
    assert alibi_slopes(12) == pytest.approx([2.0**-i for i in range(1, 9)] + [2.0 ** -(i + 0.5) for i in range(4)])


def test_prism_takes_shared_weights_under_any_of_their_names(tiles, tmp_path):
    card, state = tiny("prism")
    kept = {}
    for key, value in state.items():
        renamed = key.replace("layers.0.tf.", "layers.2.tf.").replace("layers.1.xattn.", "layers.2.xattn.")
        kept[renamed] = value
    wanted = vector(create_slide_encoder(card, weights=saved("prism", state, tmp_path)), tiles)
    (tmp_path / "other").mkdir()
    found = create_slide_encoder(card, weights=saved("prism", kept, tmp_path / "other"))
    np.testing.assert_array_equal(vector(found, tiles), wanted)


def test_weights_of_another_size_or_model_are_refused(tmp_path):
    card, state = tiny("titan")
    weights = saved("titan", state, tmp_path)
    with pytest.raises(EncoderError, match=r"model\.safetensors does not fit titan"):
        create_slide_encoder(replace(card, dim=24), weights=weights)
    stated = {"vision_config": {"num_heads": 3, "attn_pooler_heads": 8, "pos_encode_type": "abs"}}
    (tmp_path / "config.json").write_text(json.dumps(stated))
    with pytest.raises(EncoderError, match=r"num_heads is 3 in config\.json and 12 on the card"):
        create_slide_encoder(card, weights=weights)
    (tmp_path / "config.json").write_text("no json")
    with pytest.raises(EncoderError, match=r"config\.json of titan is no configuration"):
        create_slide_encoder(card, weights=weights)


def test_weights_are_found_like_those_of_tile_encoders(tmp_path):
    card, state = tiny("chief")
    saved("chief", state, tmp_path)
    one = create_slide_encoder(card, weights=tmp_path / "CHIEF_pretraining.pth")
    torch.save(state, tmp_path / "chief.pth")
    (tmp_path / "CHIEF_pretraining.pth").unlink()
    assert create_slide_encoder(card, weights=tmp_path).weight_hash == one.weight_hash
    with pytest.raises(EncoderError, match="the card of chief names no weights"):
        create_slide_encoder("chief")


def test_unknown_names_and_devices_are_refused():
    with pytest.raises(UnknownPartError, match=r"no slide encoder 'titn'.*did you mean 'titan'"):
        create_slide_encoder("titn")
    with pytest.raises(EncoderError, match="unknown precision"):
        create_slide_encoder("titan", precision="fp8")


def test_a_vector_that_is_not_finite_is_no_vector(tiles, tmp_path):
    encoder, _ = load("chief", tmp_path)
    with pytest.raises(EncoderError, match="the vector of chief is not finite"):
        vector(encoder, (np.full_like(tiles[0], np.inf), tiles[1]))
