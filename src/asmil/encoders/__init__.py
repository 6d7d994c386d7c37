"""Encoders: tiles become vectors; one encoder per file, its card readable without torch."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from asmil._lazy import load
from asmil.encoders._card import EncoderCard
from asmil.errors import EncoderError
from asmil.registry import FolderRegistry

if TYPE_CHECKING:
    from asmil.encoders._protocol import Encoder as Encoder
    from asmil.encoders._ready import Readiness as Readiness
    from asmil.encoders._ready import readiness as readiness
    from asmil.encoders._stain import with_stain as with_stain

ENCODERS = FolderRegistry("encoder", "asmil.encoders", "CARD")
HUBS = ("timm:", "hf-hub:", "hf:")
"""Prefixes of names that are looked up in timm, among timm's models on the Hugging Face hub, or in transformers."""

_HOMES = {"Encoder": "_protocol", "Readiness": "_ready", "readiness": "_ready", "with_stain": "_stain"}
__all__ = ["ENCODERS", "EncoderCard", "card", "create_encoder", "list_encoders", *_HOMES]


def list_encoders() -> list[str]:
    """Names of the encoders that have a file here, sorted; `timm:NAME`, `hf-hub:ORG/NAME` and `hf:ORG/NAME` work
    besides."""
    return ENCODERS.names()


def card(name: str) -> EncoderCard:
    """The facts of an encoder; needs torch only for names with a colon.

    Raises:
        UnknownPartError: no encoder of that name.
        EncoderError: no model of that name, or its facts cannot be downloaded.
    """
    if name.startswith("hf:"):
        from asmil.encoders._hf import hf_card

        return hf_card(name)
    if name.startswith(HUBS):
        from asmil.encoders._timm import timm_card

        return timm_card(name)
    return ENCODERS[name]


def create_encoder(
    name: str,
    *,
    device: str = "cpu",
    weights: str | Path | None = None,
    precision: str | None = None,
    compile: bool = False,
) -> "Encoder":
    """Load an encoder.

    Args:
        name: one of `list_encoders()`, `timm:NAME`, `hf-hub:ORG/NAME` (timm on the hub) or `hf:ORG/NAME`
            (transformers). device: as torch names it. weights: for machines without network, a file
            (`.safetensors`, `.pth`, `.bin`, `.pt`), a folder of them or a json map from names to files; None
            downloads what the card names, once. precision: "fp32", "fp16" or "bf16" on a GPU; None and "auto" are
            the card's, as far as the GPU has it; a CPU always computes in fp32, where the half types are slower.
            compile: by torch.compile, which takes a minute at the first batch and pays on a GPU.

    Raises:
        UnknownPartError: no encoder of that name.
        EncoderError: the weights cannot be had or do not fit, or there is no such device or precision.
    """
    _check(device, precision)
    options: dict[str, Any] = {"device": device, "weights": weights, "precision": precision}
    if name.startswith("hf:"):
        from asmil.encoders._hf import load_hf

        return load_hf(name, **options, compile=compile)
    if name.startswith(HUBS):
        from asmil.encoders._timm import load_timm

        return load_timm(name, **options, compile=compile)
    module = ENCODERS.module(name)
    if hasattr(module, "load"):
        return cast("Encoder", module.load(**options))
    from asmil.encoders._model import load_model
    from asmil.encoders._timm import build_timm

    return load_model(module.CARD, getattr(module, "build", build_timm), **options, compile=compile)


def _check(device: str, precision: str | None) -> None:
    import torch

    if precision not in (None, "auto", "fp32", "fp16", "bf16"):
        raise EncoderError("unknown precision", found=repr(precision), fix="use auto, fp32, fp16 or bf16")
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
