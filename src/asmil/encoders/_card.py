"""What an encoder is, readable without torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

TOKENS = ("pooled", "cls", "mean", "cls+mean", "map")
"""What becomes the features: the model's own pooling, the class token, the mean of the patch tokens, both one after the
other, or the mean over the last feature map."""


@dataclass(frozen=True)
class EncoderCard:
    """The facts of one encoder.

    `tile_px` is the input side in pixels and `mpp` the scale it was trained at (None: any). `mean` and `std` are per
    RGB channel on the 0-1 scale. `precision` is the type inference may use on a GPU ("fp32", "fp16", "bf16").
    `weights` is a repository of the Hugging Face hub and `files` the names its weights may have there. `architecture`
    and `options` are timm's name of the model and its arguments; classes among these are given by name. `tokens` says
    what becomes the features (see `TOKENS`), `registers` how many tokens between the class token and the patches
    do not. `millions` counts the parameters. `ignored` are beginnings of names in the weights file that the encoder
    has no use for.
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
    files: tuple[str, ...] = ("model.safetensors", "pytorch_model.bin")
    architecture: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    tokens: str = "pooled"
    registers: int = 0
    millions: float | None = None
    ignored: tuple[str, ...] = ()

    @property
    def repository(self) -> str | None:
        """`ORG/NAME` on the Hugging Face hub, where the card names one."""
        return self.weights.partition(":")[2] if self.weights else None
