"""Every encoder keeps the contract: cards and architectures offline for all, small models through the real path.

Run as a program, this file writes the table of docs/encoders.md.
"""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from asmil.encoders import (
    ENCODERS,
    INTERPOLATIONS,
    PRECISIONS,
    TOKENS,
    EncoderCard,
    build_model,
    card,
    create_encoder,
    list_encoders,
)
from asmil.testing import check_encoder

READY = [name for name in list_encoders() if card(name).weights is None]
MODELS = [name for name in list_encoders() if card(name).architecture]
KINDS = ("virchow2", "conch", "plip", "keep")
"""Of each kind of pooling one; the others differ from these, or from what is tested elsewhere, in numbers only."""
WIDTH = 48
PAGE = Path(__file__).parents[2] / "docs" / "encoders.md"


def _shrunk(card: EncoderCard) -> EncoderCard:
    """The card of a model of the same kind, fewer and narrower layers."""
    if card.architecture.startswith("resnet"):
        return replace(card, options={**card.options, "layers": (1, 1, 1, 1)})
    if card.architecture.startswith("swin"):
        small = {"embed_dim": 24, "depths": (2, 2, 2, 2), "num_heads": (1, 2, 4, 8)}
        return replace(card, options={**card.options, **small}, dim=8 * 24)
    dim = {"cls": WIDTH, "cls+mean": 2 * WIDTH, "pooled": 64}[card.tokens]
    small = {"embed_dim": WIDTH, "depth": 2, "num_heads": 4}
    if "num_classes" in card.options:
        small["num_classes"] = dim
    if card.tile_px == 448:
        return replace(card, options={**card.options, **small, "img_size": 112}, dim=dim, tile_px=112)
    return replace(card, options={**card.options, **small}, dim=dim)


def _random_state(card: EncoderCard, *, seed: int = 0) -> dict[str, torch.Tensor]:
    """Weights of the card's model that differ everywhere, also where a fresh model has ones and zeros."""
    torch.manual_seed(seed)
    model = build_model(card)
    state = {}
    for key, value in model.state_dict().items():
        state[key] = torch.randn(value.shape) * 0.1 if value.is_floating_point() else value
        if key.endswith("running_var") or (value.ndim == 1 and key.endswith(("weight", "gamma"))):
            state[key] = 1 + state[key].abs()
    return state


@pytest.mark.parametrize("name", list_encoders())
def test_card_is_complete(name):
    facts = card(name)
    assert facts.name.replace("-", "_") == name
    assert facts.dim > 0
    assert facts.licence
    assert facts.source
    assert facts.precision in PRECISIONS
    assert facts.tokens in TOKENS
    assert facts.interpolation in INTERPOLATIONS
    assert facts.resize_px is None or facts.resize_px > facts.tile_px
    assert not facts.checked or re.search(r"\b20\d\d-\d\d-\d\d\b", facts.checked), "when was it checked?"
    assert all(0 <= m < 1 for m in facts.mean)
    assert all(s > 0 for s in facts.std)
    assert facts.weights is None or facts.weights.startswith("hf-hub:")
    assert (facts.weights is None) == (facts.architecture is None) == (facts.millions is None)
    assert facts.repository is None or facts.repository.count("/") == 1
    assert facts.tile_px is None or facts.tile_px % 14 == 0 or facts.tile_px % 16 == 0


def test_cards_need_no_torch():
    code = (
        "import sys, asmil.encoders as e; [e.card(n) for n in e.list_encoders()]; "
        "sys.exit(any(m in sys.modules for m in ('torch', 'timm', 'torchvision', 'transformers', 'huggingface_hub')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", MODELS)
def test_full_size_model_is_what_the_card_says(name):
    facts = card(name)
    with torch.device("meta"):
        model = build_model(facts)
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    assert millions == pytest.approx(facts.millions, abs=0.006)
    trunk = getattr(model, "trunk", getattr(model, "visual", model))
    if facts.architecture.startswith("vit"):
        assert trunk.num_prefix_tokens == 1 + facts.registers
        grid = facts.options.get("img_size", facts.tile_px) // trunk.patch_embed.patch_size[0]
        assert trunk.pos_embed.shape[1] in (grid**2, grid**2 + 1, grid**2 + 1 + facts.registers)
        parts = {"cls": 1, "cls+mean": 2}.get(facts.tokens)
        assert parts is None or facts.dim == parts * trunk.embed_dim


@pytest.fixture
def small(monkeypatch, tmp_path):
    """A function that makes the card of an encoder a small one, and writes weights for it."""

    def make(name: str) -> tuple[EncoderCard, Path]:
        facts = _shrunk(card(name))
        if ENCODERS.has_module(name):
            monkeypatch.setattr(ENCODERS.module(name), "CARD", facts)
        else:
            monkeypatch.setitem(ENCODERS.rows, name, facts)
        save_file(_random_state(facts), tmp_path / f"{name}.safetensors")
        return facts, tmp_path / f"{name}.safetensors"

    return make


@pytest.mark.parametrize("name", MODELS)
def test_small_model_goes_the_real_way(name, small):
    facts, weights = small(name)
    encoder = create_encoder(name, weights=weights)
    tiles = np.random.default_rng(0).integers(0, 256, (2, facts.tile_px, facts.tile_px, 3), dtype=np.uint8)
    vectors = encoder(tiles)
    assert vectors.shape == (2, facts.dim)
    assert vectors.dtype == torch.float32
    assert vectors.isfinite().all()
    assert (vectors[0] - vectors[1]).abs().max() > 0
    torch.testing.assert_close(encoder(tiles[1:]), vectors[1:], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", KINDS)
def test_contract_of_each_kind(name, small):
    report = check_encoder(create_encoder(name, weights=small(name)[1]))
    assert report.ok, str(report)


def test_layers_are_named_before_timm_was_imported():
    """torchvision must be prepared first, whatever comes first."""
    code = (
        "import torch; from asmil.encoders import build_model, card\n"
        "with torch.device('meta'): build_model(card('virchow'))"
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
    precision = "fp64"
    device = torch.device("cpu")

    def __call__(self, tiles):
        x = torch.as_tensor(tiles).float().mean((1, 2))
        return (x - x.mean(0)) * 1e6


def test_contract_sees_a_broken_encoder():
    failed = set(check_encoder(_Broken()).failed)
    assert {"identity", "batch_equals_loop", "fits_float16"} <= failed
    assert "shape_and_type" not in failed


def test_white_and_tissue_differ_for_the_default():
    encoder = create_encoder("colour-texture")
    white, tissue = np.full((1, 32, 32, 3), 255), np.full((1, 32, 32, 3), (150, 80, 160))
    assert (encoder(white.astype(np.uint8)) - encoder(tissue.astype(np.uint8))).abs().max() > 0.5


def test_class_and_mean_tokens_leave_the_registers_out(small):
    facts, weights = small("virchow2")
    both = create_encoder("virchow2", weights=weights)
    tiles = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), dtype=np.uint8)
    seen = []
    both.model.register_forward_hook(lambda module, inputs, output: seen.append(output))
    vectors = both(tiles)
    tokens = seen[0]
    assert tokens.shape == (1, 1 + 4 + 16 * 16, facts.dim // 2)
    torch.testing.assert_close(vectors, torch.cat([tokens[:, 0], tokens[:, 5:].mean(1)], dim=1))
    assert not torch.allclose(tokens[:, 1:].mean(1), vectors[:, facts.dim // 2 :])


def _input(facts: EncoderCard) -> str:
    if facts.tile_px is None:
        return "any"
    inner = f"{facts.tile_px} of {facts.resize_px}" if facts.resize_px else facts.tile_px
    return f"{inner} px, {facts.interpolation}"


def page_table() -> str:
    """The table of docs/encoders.md, as the cards have it."""
    columns = ("name", "values", "input", "um/px", "tokens", "million parameters", "GPU precision", "licence", "gated")
    rows = [(*columns, "weights", "source", "checked", "to know"), ("---",) * 13]
    for facts in ENCODERS.rows.values():
        hub = f"[{facts.repository}](https://huggingface.co/{facts.repository})" if facts.repository else "-"
        tokens = facts.tokens + (f", {facts.registers} registers" if facts.registers else "")
        rows.append(
            (
                f"`{facts.name}`",
                facts.dim,
                _input(facts),
                facts.mpp or "any",
                tokens if facts.architecture else "-",
                round(facts.millions) if facts.millions else "-",
                facts.precision,
                facts.licence,
                "yes" if facts.gated else "",
                hub,
                facts.source,
                facts.checked or "not checked",
                facts.note,
            )
        )
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows) + "\n"


def test_the_page_says_what_the_cards_say():
    assert page_table() in PAGE.read_text(encoding="utf-8"), "run: python tests/contracts/test_encoders.py"


if __name__ == "__main__":
    before, _, rest = PAGE.read_text(encoding="utf-8").partition("| name |")
    PAGE.write_text(before + page_table() + "\n" + rest.partition("\n\n")[2], encoding="utf-8")
