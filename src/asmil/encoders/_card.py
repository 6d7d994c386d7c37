"""What an encoder is, readable without torch."""

from dataclasses import dataclass

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class EncoderCard:
    """The facts of one encoder.

    `tile_px` is the input side in pixels and `mpp` the scale it was trained at (None: any). `mean` and `std` are per
    RGB channel on the 0-1 scale. `precision` is the type inference may use on a GPU ("fp32", "fp16", "bf16").
    """

    name: str
    dim: int
    tile_px: int | None
    mpp: float | None
    licence: str
    source: str
    gated: bool = False
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    precision: str = "fp32"
    weights: str | None = None
