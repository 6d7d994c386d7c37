"""Whether an encoder can run on this machine, and what is missing."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from asmil.encoders.cards import EncoderCard
from asmil.errors import EncoderError

PACKAGES = ("timm", "torchvision", "huggingface_hub")
ROOM_FOR_TILES = 0.8
"""The share of a GPU's memory that weights may take; the rest is for the tiles on their way."""


@dataclass(frozen=True)
class Readiness:
    """`state` is "ready", "downloads" (the weights come with the first use) or "missing"; `detail` says from where, or
    what to do; `weights_gib` is the memory of the weights in float32."""

    state: Literal["ready", "downloads", "missing"]
    detail: str
    weights_gib: float = 0.0


def readiness(card: EncoderCard, *, weights: str | Path | None = None, gpu_bytes: int | None = None) -> Readiness:
    """Whether the encoder of a card can run here; downloads nothing.

    `weights` is a folder or map as for `create_encoder`, looked at before the hub's cache; `gpu_bytes` the memory
    of the GPU, None where there is none.
    """
    if card.repository is None:
        return Readiness("ready", "needs no weights")
    gib = (card.millions or 0) * 1e6 * 4 / 1024**3
    absent = [package for package in PACKAGES if importlib.util.find_spec(package) is None]
    if absent:
        return Readiness("missing", f"{', '.join(absent)}: pip install 'asmil[encoders]'", gib)
    if gpu_bytes is not None and gib > ROOM_FOR_TILES * gpu_bytes / 1024**3:
        return Readiness("missing", f"GPU memory: {gpu_bytes / 1024**3:.1f} GiB are too little", gib)
    from asmil.encoders.weights import cached_weights, find_weights, how_to_get

    file = cached_weights(card)
    if weights is not None:
        try:
            file = find_weights(card, weights)
        except EncoderError as error:
            if file is None:
                return Readiness("missing", f"{error.what}: {error.found}", gib)
    if file is not None:
        return Readiness("ready", str(file), gib)
    from huggingface_hub import constants, get_token

    if constants.HF_HUB_OFFLINE:
        return Readiness("missing", how_to_get(card), gib)
    page = f"https://huggingface.co/{card.repository}"
    if card.gated and get_token() is None:
        return Readiness("missing", f"accept the licence at {page}, then `hf auth login`; or --weights", gib)
    return Readiness("downloads", f"{page}{' (licence accepted?)' if card.gated else ''}", gib)
