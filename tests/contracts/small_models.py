"""Small models with the architecture of a card, and weights files for them."""

from dataclasses import replace

import torch

from asmil.encoders import ENCODERS, EncoderCard
from asmil.encoders._timm import build_timm

WIDTH = 48


def shrunk(card: EncoderCard) -> EncoderCard:
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
    return replace(card, options={**card.options, **small}, dim=dim)


def random_state(card: EncoderCard, name: str, *, seed: int = 0) -> dict[str, torch.Tensor]:
    """Weights of the card's model that differ everywhere, also where a fresh model has ones and zeros."""
    torch.manual_seed(seed)
    model = getattr(ENCODERS.module(name), "build", build_timm)(card)
    state = {}
    for key, value in model.state_dict().items():
        state[key] = torch.randn(value.shape) * 0.1 if value.is_floating_point() else value
        if key.endswith("running_var") or (value.ndim == 1 and key.endswith(("weight", "gamma"))):
            state[key] = 1 + state[key].abs()
    return state
