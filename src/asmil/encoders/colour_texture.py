"""Stain, colour and texture statistics, no weights: ready at once, for tiles of any size from 16 px."""

from asmil.encoders._card import EncoderCard

CARD = EncoderCard(
    name="colour-texture",
    dim=284,
    tile_px=None,
    mpp=None,
    licence="Apache-2.0",
    source="Ruifrok 2001, Lindeberg 1998, Matheron 1975, Ojala 2002, Haralick 1973: see _texture.py",
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
)


def load(*, device, weights, precision):
    """Nothing to load; `precision` is ignored, it always computes in float32.

    Raises:
        EncoderError: a weights file was given.
    """
    from asmil.encoders._texture import TextureEncoder
    from asmil.errors import EncoderError

    if weights is not None:
        raise EncoderError("colour-texture has no weights", found=weights, fix="leave --weights out")
    return TextureEncoder(CARD, device=device)
