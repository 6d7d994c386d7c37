"""Encoders by name: those of the table, files of their own, and any model of timm or transformers."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asmil.encoders.cards import PRECISIONS, EncoderCard, read_cards
from asmil.errors import EncoderError, require_kind
from asmil.files import Facts
from asmil.registry import FolderRegistry

if TYPE_CHECKING:
    import torch

    from asmil.encoders.cards import Encoder


def _named_alike(name: str, part: object) -> object:
    if not isinstance(part, EncoderCard) or part.name.replace("-", "_").lower() != name:
        found = f"the card of {part.name!r}" if isinstance(part, EncoderCard) else type(part).__name__
        raise EncoderError(f"an encoder's entry point {name!r} gives its card", found=found, fix="a CARD of that name")
    return part


ENCODERS = FolderRegistry(
    "encoder",
    "asmil.encoders.own",
    "CARD",
    rows=read_cards(Path(__file__).with_name("cards.toml"), kind=EncoderCard),
    group="asmil.encoders",
    taken=_named_alike,
)
"""The cards: rows of `cards.toml`, of each file in `own/`, and of installed packages."""

HUBS = {"timm:": "timm", "hf-hub:": "timm", "hf:": "hf"}
"""Of names that are looked up in timm, among timm's models on the Hugging Face hub, or in transformers, the family."""

BUILT = {
    "timm": ("timm", "build"),
    "conch": ("conch", "build"),
    "conch-v1.5": ("conch", "build_v1_5"),
    "keep": ("conch", "build_keep"),
}
"""Families of models that take weights: the module in `families/` and its function from a card to the model."""

LOADED = {"colour-texture": ("colour_texture", "load")}
"""Families without weights: the function is called as `load` of a file in `own/`, and returns the encoder."""


FOREIGN = {
    "musk": "MUSK needs its authors' own network (BEiT-3 of torchscale), and looks at a tile in two sizes",
    "genbio-pathfm": "GenBio-PathFM needs its authors' own network, which encodes each colour for itself",
}
"""Known encoders that neither timm nor transformers has, and why they are not here: code of a repository is not run."""


def list_encoders() -> list[str]:
    """Names of all encoders with a card, sorted; `timm:NAME`, `hf-hub:ORG/NAME` and `hf:ORG/NAME` work besides."""
    return ENCODERS.names()


def card(name: str) -> EncoderCard:
    """The facts of an encoder; needs torch only for names with a colon.

    Raises:
        UnknownPartError: no encoder of that name.
        EncoderError: no model of that name, one that needs code of its authors, or its facts cannot be downloaded.
    """
    if hub := _hub(name):
        return _family(hub, "card_of")(name)
    return _row(name)


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
    check_device(device, precision)
    options: Facts = {"device": device, "weights": weights, "precision": precision}
    if hub := _hub(name):
        return _family(hub, "load_named")(name, **options, compile=compile)
    facts = _row(name)
    load = _own(facts, "load") or (_family(*LOADED[facts.family]) if facts.family in LOADED else None)
    if load is not None:
        return load(facts, **options)
    from asmil.encoders.model import load_model

    return load_model(facts, build_model, **options, compile=compile)


def build_model(card: EncoderCard) -> "torch.nn.Module":
    """The model of a card without weights: by `build` of its own file, or by its family.

    Raises:
        EncoderError: a package is missing or too old for it, or there is no such family.
    """
    build = _own(card, "build")
    if build is None and card.family not in BUILT:
        raise EncoderError(f"there is no family {card.family!r} of models", fix=f"known: {', '.join(BUILT)}")
    return (build or _family(*BUILT[card.family]))(card)


def _row(name: str) -> EncoderCard:
    if reason := FOREIGN.get(name.lower().replace("_", "-")):
        raise EncoderError(
            f"there is no encoder {name!r} in asmil",
            found=reason,
            fix="extract its features with TRIDENT (`--patch_encoder`) and give the folder as features: asmil reads it",
        )
    return ENCODERS[name]


def _hub(name: str) -> str | None:
    require_kind(name, str, called="the name of an encoder", fix="give a text; `asmil list encoders` has the names")
    return next((family for prefix, family in HUBS.items() if name.startswith(prefix)), None)


def _family(module: str, function: str) -> Callable[..., Any]:
    return getattr(import_module(f"asmil.encoders.families.{module}"), function)


def _own(card: EncoderCard, function: str) -> Callable[..., Any] | None:
    """A function of the card's own module; None where it has none, or none of this name."""
    return getattr(ENCODERS.module(card.name), function, None) if ENCODERS.has_module(card.name) else None


def check_device(device: str, precision: str | None) -> None:
    """Raise an `EncoderError` where there is no such device here, or no such precision."""
    import torch

    if precision not in (None, "auto", *PRECISIONS):
        raise EncoderError("unknown precision", found=repr(precision), fix="use auto, fp32, fp16 or bf16")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        raise EncoderError(
            f"there is no device {device!r} here",
            found=f"torch {torch.__version__}, {error}",
            fix="use the cpu",
        ) from error
