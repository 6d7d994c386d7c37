"""Encoders: tiles become vectors. Cards are read without torch; names are loaded when used."""

from typing import TYPE_CHECKING

from asmil.registry import load

if TYPE_CHECKING:
    from asmil.encoders.cards import FP16_MAX, PRECISIONS, TOKENS, Encoder, EncoderCard
    from asmil.encoders.loading import ENCODERS, build_model, card, create_encoder, list_encoders
    from asmil.encoders.model import ModelEncoder
    from asmil.encoders.stain import with_stain
    from asmil.encoders.weights import Readiness, readiness

_HOMES = {
    "cards": ("FP16_MAX", "PRECISIONS", "TOKENS", "Encoder", "EncoderCard"),
    "loading": ("ENCODERS", "build_model", "card", "create_encoder", "list_encoders"),
    "model": ("ModelEncoder",),
    "weights": ("Readiness", "readiness"),
    "stain": ("with_stain",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> object:
    return load(__name__, _HOME_OF, name)
