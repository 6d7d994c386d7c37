"""Encoders: of tiles, and of slides by their tiles. Cards are read without torch; names are loaded when used."""

from typing import TYPE_CHECKING

from asmil.registry import door

if TYPE_CHECKING:
    from asmil.encoders.cards import FP16_MAX, INTERPOLATIONS, PRECISIONS, TOKENS, Encoder, EncoderCard
    from asmil.encoders.loading import ENCODERS, build_model, card, create_encoder, list_encoders
    from asmil.encoders.model import ModelEncoder
    from asmil.encoders.slide_cards import (
        SLIDE_ENCODERS,
        SlideEncoderCard,
        Tiles,
        check_tiles,
        list_slide_encoders,
        slide_card,
    )
    from asmil.encoders.slide_model import SlideEncoder, create_slide_encoder
    from asmil.encoders.stain import with_stain
    from asmil.encoders.weights import Readiness, readiness
else:
    __all__, __getattr__ = door(__name__)
