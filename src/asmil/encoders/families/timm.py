"""Models that timm builds: those of the cards, and any other by its name."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import cast

import torch
from torch import Tensor, nn

from asmil.draws import shapes_only
from asmil.encoders.cards import EncoderCard, of_timm
from asmil.encoders.model import ModelEncoder, load_model
from asmil.encoders.weights import how_to_get
from asmil.errors import EncoderError
from asmil.files import Facts
from asmil.machine import prepare_torchvision

PARTS = {"cls": 1, "mean": 1, "cls+mean": 2}
"""How many vectors of the model's width become the features."""


def build(card: EncoderCard) -> nn.Module:
    """The card's model without a classifier and without weights.

    Raises:
        EncoderError: timm is missing or too old for it.
    """
    options: Facts = {"num_classes": 0} | {name: _part(name, value) for name, value in card.options.items()}
    if card.tokens not in ("pooled", "map"):
        options["global_pool"] = ""  # all tokens, after the last norm
    return _create(card.architecture or card.name, card=card, **options)


def load_named(
    name: str, *, device: str, weights: str | Path | None, precision: str | None, compile: bool = False
) -> ModelEncoder:
    """Load `timm:NAME` or `hf-hub:ORG/NAME` as timm itself does, or with the weights of a file.

    A folder with a `config.json`, as `hf download` makes it, stands for the hub.

    Raises:
        EncoderError: timm is missing, knows no such model, or the weights cannot be had or do not fit.
    """
    options: Facts = {"device": device, "precision": precision, "compile": compile}
    if weights is not None and (Path(weights) / "config.json").is_file():
        source = f"local-dir:{weights}"
        card = replace(card_of(source, known_as=name), name=name)
    else:
        source, card = name, card_of(name)
        if weights is not None:
            return load_model(card, build, weights=weights, **options)
    return ModelEncoder(_create(source, card=card, pretrained=True, num_classes=0), card, **options)


def card_of(name: str, *, known_as: str | None = None) -> EncoderCard:
    """The card of `timm:NAME` or `hf-hub:ORG/NAME`, from the model's own pretrained configuration.

    Features are what the model pools. One that pools nothing (`global_pool` "") gives its class token, or what the card
    of its repository says, which is `known_as` (None: the name).

    Raises:
        EncoderError: timm is missing, knows no such model, the hub cannot be reached, or what becomes the features is
            not known.
    """
    with shapes_only():
        model = _create(name, num_classes=0)
    facts = cast(Facts, model.pretrained_cfg)
    dim, tokens, registers = _tokens(model, known_as or name)
    return EncoderCard(
        name=name,
        dim=dim,
        mpp=None,
        licence=facts.get("license") or "unknown: see its model page",
        source=facts.get("origin_url") or facts.get("hf_hub_id") or name,
        weights=name,
        architecture=name,
        tokens=tokens,
        registers=registers,
        **of_timm(facts, name=name),
    )


def _tokens(model: nn.Module, name: str) -> tuple[int, str, int]:
    """Number of values, tokens and registers of a model's features."""
    dim = int(getattr(model, "head_hidden_size", None) or cast(int, model.num_features))
    if getattr(model, "global_pool", None) != "":
        return dim, "pooled", 0
    from asmil.encoders.loading import ENCODERS

    registers = int(cast(int, getattr(model, "num_prefix_tokens", 0))) - 1
    for card in ENCODERS.rows.values():
        if card.tokens in PARTS and (card.weights or "").lower() == name.lower():
            return dim * PARTS[card.tokens], card.tokens, registers
    if getattr(model, "cls_token", None) is None:
        raise EncoderError(
            f"{name} pools nothing and has no class token: what becomes its features is not known",
            found='global_pool = "" in its config.json',
            fix="write a card that says it (`tokens`): see docs/encoders.md",
        )
    return dim, "cls", registers


def _part(name: str, value: object) -> object:
    """An argument of timm from its plain form in a card: a class by its name, a norm by its epsilon."""
    if name == "norm_layer":
        return partial(nn.LayerNorm, eps=cast(float, value))
    if name == "act_layer":
        return getattr(nn, str(value))
    if name == "mlp_layer":
        return getattr(_timm().layers, str(value))
    if name == "embed_layer":
        return ConvStem
    return value


def _timm() -> ModuleType:
    prepare_torchvision()
    try:
        import timm
        import timm.layers
    except ImportError as error:
        raise EncoderError("this encoder needs timm", found=error, fix="pip install 'asmil[encoders]'") from error
    return timm


def _create(name: str, *, card: EncoderCard | None = None, pretrained: bool = False, **options: object) -> nn.Module:
    timm = _timm()
    name = name.removeprefix("timm:")
    try:
        return timm.create_model(name, pretrained=pretrained, **options)
    except Exception as error:
        if isinstance(error, RuntimeError) and "Unknown model" in str(error):
            raise EncoderError(f"timm knows no model {name!r}", found=f"timm {timm.__version__}") from error
        if not pretrained and not name.startswith("hf-hub:"):
            raise EncoderError(
                f"timm {timm.__version__} cannot build {name}",
                found=f"{type(error).__name__}: {error}"[:300],
                fix="pip install -U timm",
            ) from error
        raise EncoderError(
            f"{name} cannot be downloaded",
            found=f"{type(error).__name__}: {error}"[:300],
            fix=(how_to_get(card) + "; " if card and card.gated else "")
            + "without network give its file: --weights FILE (.safetensors or .pth), fetched elsewhere from the "
            "Hugging Face hub; for hf-hub names give timm:ARCHITECTURE instead",
        ) from error


class ConvStem(nn.Module):
    """The stem of CTransPath (Wang et al. 2022): two strided convolutions instead of one cut into patches.

    It embeds squares of 4 x 4 pixels, and takes the place of timm's patch embedding in a Swin Transformer.
    """

    def __init__(
        self,
        *,
        img_size: int | tuple[int, int],
        embed_dim: int,
        norm_layer: Callable[[int], nn.Module] | None = None,
        **others: object,
    ):
        super().__init__()
        sides = (img_size, img_size) if isinstance(img_size, int) else img_size
        self.grid_size = (sides[0] // 4, sides[1] // 4)
        self.num_patches = self.grid_size[0] * self.grid_size[1]
        widths = (3, embed_dim // 8, embed_dim // 4)
        halvings = [
            (nn.Conv2d(n_in, n_out, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU(inplace=True))
            for n_in, n_out in pairwise(widths)
        ]
        self.proj = nn.Sequential(
            *(part for halving in halvings for part in halving), nn.Conv2d(widths[2], embed_dim, 1)
        )
        self.norm = norm_layer(embed_dim) if norm_layer else nn.Identity()

    def forward(self, pixels: Tensor) -> Tensor:
        """Embed (tiles, 3, height, width) as (tiles, height / 4, width / 4, embed_dim)."""
        embedded: Tensor = self.norm(self.proj(pixels).permute(0, 2, 3, 1))
        return embedded.to(memory_format=torch.contiguous_format)
