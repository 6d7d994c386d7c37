"""What an encoder offers to the rooms that use one."""

from typing import Any, Protocol

import numpy as np

from asmil.encoders._card import EncoderCard

FP16_MAX = float(np.finfo(np.float16).max)
"""The largest value that a feature file can hold."""

PRECISIONS = ("fp32", "fp16", "bf16")


class Encoder(Protocol):
    """What an encoder offers; `asmil.testing.check_encoder` checks it.

    `weight_hash` tells one set of weights (or version of a formula) from another; `precision` ("fp32", "fp16", "bf16")
    is what it really computes in on its device. A call takes uint8 (tiles, height, width, 3), tensor or array, of any
    size the card allows, and returns a float32 tensor (tiles, dim).
    """

    card: EncoderCard
    weight_hash: str
    precision: str
    device: Any

    def __call__(self, tiles: Any) -> Any: ...
