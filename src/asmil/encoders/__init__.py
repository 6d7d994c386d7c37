"""Encoders: tiles become vectors; one encoder per file, its card readable without torch."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from asmil._lazy import load
from asmil.encoders._card import EncoderCard
from asmil.errors import EncoderError
from asmil.registry import FolderRegistry

if TYPE_CHECKING:
    from asmil.encoders._protocol import Encoder as Encoder

ENCODERS = FolderRegistry("encoder", "asmil.encoders", "CARD")
HUBS = ("timm:", "hf-hub:")
"""Prefixes of names that are looked up in timm or on the Hugging Face hub instead of in this folder."""

_HOMES = {"Encoder": "_protocol"}
__all__ = ["ENCODERS", "EncoderCard", "card", "create_encoder", "list_encoders", *_HOMES]


def list_encoders() -> list[str]:
    """Names of the encoders that have a file here, sorted; `timm:NAME` and `hf-hub:ORG/NAME` work besides."""
    return ENCODERS.names()


def card(name: str) -> EncoderCard:
    """The facts of an encoder; needs torch only for `timm:NAME` and `hf-hub:ORG/NAME`.

    Raises:
        UnknownPartError: no encoder of that name.
        EncoderError: no timm model of that name, or its facts cannot be downloaded.
    """
    if name.startswith(HUBS):
        from asmil.encoders._timm import timm_card

        return timm_card(name)
    return ENCODERS[name]


def create_encoder(
    name: str, *, device: str = "cpu", weights: str | Path | None = None, precision: str | None = None
) -> "Encoder":
    """Load an encoder.

    Args:
        name: one of `list_encoders()`, `timm:NAME` or `hf-hub:ORG/NAME`. device: as torch names it. weights:
        a `.safetensors` or `.pth` file, for machines without network; None downloads what the card names.
        precision: "fp32", "fp16" or "bf16" on a GPU instead of the card's; a CPU always computes in fp32,
        where the
            half types are slower.

    Raises:
        UnknownPartError: no encoder of that name.
        EncoderError: the weights cannot be had or do not fit, or there is no such device or precision.
    """
    _check(device, precision)
    options: dict[str, Any] = {"device": device, "weights": weights, "precision": precision}
    if name.startswith(HUBS):
        from asmil.encoders._timm import load_timm

        return load_timm(card(name), **options)
    return ENCODERS.module(name).load(**options)


def _check(device: str, precision: str | None) -> None:
    import torch

    if precision not in (None, "fp32", "fp16", "bf16"):
        raise EncoderError("unknown precision", found=repr(precision), fix="use fp32, fp16 or bf16")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        raise EncoderError(
            f"there is no device {device!r} here",
            found=f"torch {torch.__version__}, {error}",
            fix="use the cpu",
        ) from error


def __getattr__(name: str) -> Any:
    return load(__name__, _HOMES, name)
