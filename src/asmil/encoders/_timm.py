"""Models that timm builds: those of the cards, and any other by its name."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from asmil._torchvision import prepare_torchvision
from asmil.encoders._card import EncoderCard
from asmil.encoders._model import ModelEncoder, load_model
from asmil.encoders._weights import how_to_get
from asmil.errors import EncoderError


def build_timm(card: EncoderCard) -> nn.Module:
    """The card's model without a classifier and without weights.

    Raises:
        EncoderError: timm is missing or too old for it.
    """
    options = {"num_classes": 0} | {name: _part(name, value) for name, value in card.options.items()}
    if card.tokens not in ("pooled", "map"):
        options["global_pool"] = ""  # all tokens, after the last norm
    return _create(card.architecture or card.name, card=card, **options)


def load_timm(
    name: str, *, device: str, weights: str | Path | None, precision: str | None, compile: bool = False
) -> ModelEncoder:
    """Load `timm:NAME` or `hf-hub:ORG/NAME` as timm itself does, or with the weights of a file.

    A folder with a `config.json`, as `hf download` makes it, stands for the hub.

    Raises:
        EncoderError: timm is missing, knows no such model, or the weights cannot be had or do not fit.
    """
    options: dict[str, Any] = {"device": device, "precision": precision, "compile": compile}
    if weights is not None and (Path(weights) / "config.json").is_file():
        source = f"local-dir:{weights}"
        card = replace(timm_card(source), name=name)
    else:
        source, card = name, timm_card(name)
        if weights is not None:
            return load_model(card, build_timm, weights=weights, **options)
    return ModelEncoder(_create(source, card=card, pretrained=True, num_classes=0), card, **options)


def timm_card(name: str) -> EncoderCard:
    """The card of `timm:NAME` or `hf-hub:ORG/NAME`, from the model's own pretrained configuration.

    Raises:
        EncoderError: timm is missing, knows no such model, or the hub cannot be reached.
    """
    with torch.device("meta"):  # shapes without memory
        model = _create(name, num_classes=0)
    facts = cast(Mapping[str, Any], model.pretrained_cfg)
    return EncoderCard(
        name=name,
        dim=int(getattr(model, "head_hidden_size", None) or cast(int, model.num_features)),
        tile_px=facts["input_size"][-1],
        mpp=None,
        licence=facts.get("license") or "unknown: see its model page",
        source=facts.get("origin_url") or facts.get("hf_hub_id") or name,
        mean=tuple(facts["mean"]),
        std=tuple(facts["std"]),
        weights=name,
        architecture=name,
    )


def _part(name: str, value: Any) -> Any:
    """An argument of timm from its plain form in a card: a class by its name, a norm by its epsilon."""
    if name == "norm_layer":
        return partial(nn.LayerNorm, eps=value)
    if name == "act_layer":
        return getattr(nn, value)
    if name == "mlp_layer":
        return getattr(_timm().layers, value)
    if name == "embed_layer":
        from asmil.encoders._stem import ConvStem

        return ConvStem
    return value


def _timm() -> Any:
    prepare_torchvision()
    try:
        import timm
        import timm.layers
    except ImportError as error:
        raise EncoderError("this encoder needs timm", found=error, fix="pip install 'asmil[encoders]'") from error
    return timm


def _create(name: str, *, card: EncoderCard | None = None, pretrained: bool = False, **options: Any) -> nn.Module:
    timm = _timm()
    name = name.removeprefix("timm:")
    try:
        return timm.create_model(name, pretrained=pretrained, **options)
    except Exception as error:
        if isinstance(error, RuntimeError) and "Unknown model" in str(error):
            raise EncoderError(f"timm knows no model {name!r}", found=f"timm {timm.__version__}") from error
        if not pretrained and not name.startswith("hf-hub:"):
            raise EncoderError(
                f"timm {timm.__version__} cannot build {name}", found=f"{type(error).__name__}: {error}"[:300],
                fix="pip install -U timm",
            ) from error  # fmt: skip
        raise EncoderError(
            f"{name} cannot be downloaded",
            found=f"{type(error).__name__}: {error}"[:300],
            fix=(how_to_get(card) + "; " if card and card.gated else "")
            + "without network give its file: --weights FILE (.safetensors or .pth), fetched elsewhere from the "
            "Hugging Face hub; for hf-hub names give timm:ARCHITECTURE instead",
        ) from error
