"""An encoder around a torch model: preprocessing of its card on the device, precision, pooling of tokens."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from asmil.encoders.cards import EncoderCard
from asmil.encoders.weights import find_weights, fitted, read_weights, weight_hash
from asmil.errors import EncoderError

_HALF = {"fp16": torch.float16, "bf16": torch.bfloat16}
_NAMES: dict[torch.dtype | None, str] = {None: "fp32", **{dtype: name for name, dtype in _HALF.items()}}
AMPERE = (8, 0)
"""The first compute capability with bfloat16."""


class ModelEncoder:
    """A torch model with the preprocessing of its card; an `Encoder`.

    Tiles are resized to the card's `tile_px` and normalised on the device. Half precision is used on CUDA
    only.
    """

    def __init__(
        self, model: nn.Module, card: EncoderCard, *, device: str, precision: str | None, compile: bool = False
    ):
        self.card, self.device = card, torch.device(device)
        self.weight_hash = weight_hash(model.state_dict())
        model = model.eval().requires_grad_(False).to(self.device)
        if _is_convolutional(model):
            model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model = torch.compile(model) if compile else model
        cuda = self.device.type == "cuda"
        capability = torch.cuda.get_device_capability(self.device) if cuda else None
        self.dtype = half_type(precision, card=card, capability=capability)
        self.precision = _NAMES[self.dtype]
        self._mean = torch.tensor(card.mean, device=self.device).mul(255).view(3, 1, 1)
        self._std = torch.tensor(card.std, device=self.device).mul(255).view(3, 1, 1)

    @torch.inference_mode()
    def __call__(self, tiles: Tensor | np.ndarray) -> Float[Tensor, "tiles dim"]:
        """Encode uint8 (tiles, height, width, 3); float32 on the encoder's device."""
        tiles = torch.as_tensor(tiles).to(self.device, non_blocking=True)  # as uint8: a quarter of the transfer
        pixels = tiles.permute(0, 3, 1, 2).float()
        side = self.card.tile_px
        if side is not None and tuple(pixels.shape[2:]) != (side, side):
            pixels = F.interpolate(pixels, (side, side), mode="bilinear", antialias=True, align_corners=False)
        pixels = (pixels - self._mean) / self._std
        with torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype is not None):
            output = self.model(pixels)
        return pooled(output, card=self.card)


def load_model(
    card: EncoderCard,
    build: Callable[[EncoderCard], nn.Module],
    *,
    device: str,
    weights: str | Path | None,
    precision: str | None,
    compile: bool = False,
) -> ModelEncoder:
    """Build the model of a card and fill it with its weights, the same way from the hub and from a file.

    Raises:
        EncoderError: a package is missing, or the weights cannot be had or do not fit.
    """
    file = find_weights(card, weights)
    with torch.device("meta"):  # shapes without memory: a billion random numbers take longer than reading the file
        model = build(card)
    state = fitted(read_weights(file), model, card=card, file=file.name)
    if any(buffer.is_meta for name, buffer in model.named_buffers() if name not in state):
        model = build(card)  # what it computes when it is built, such as Swin's tables, is in no file
    model.load_state_dict(state, assign=True)
    return ModelEncoder(model, card, device=device, precision=precision, compile=compile)


def pooled(output: Tensor | list[Tensor], *, card: EncoderCard) -> Float[Tensor, "tiles dim"]:
    """The features in what a model returns: see `TOKENS` in the card's file; float32.

    Means are taken in float32, where half precision would round once per patch.
    """
    if card.tokens == "map":
        return output[-1].float().mean((2, 3))
    if not isinstance(output, Tensor):
        raise EncoderError(f"{card.name} returns no tensor", found=type(output).__name__)
    if card.tokens == "pooled":
        return output.float().flatten(1)
    parts = {"cls": lambda: output[:, 0].float(), "mean": lambda: output[:, 1 + card.registers :].float().mean(1)}
    return torch.cat([parts[part]() for part in card.tokens.split("+")], dim=1)


def half_type(precision: str | None, *, card: EncoderCard, capability: tuple[int, int] | None) -> torch.dtype | None:
    """The type a GPU computes in, None for float32; `capability` is the GPU's, None where there is none.

    The card's (None or "auto") is taken as far as the GPU has it: fp16 instead of bf16 before Ampere.

    Raises:
        EncoderError: bf16 was asked for and the GPU has none.
    """
    if capability is None:
        return None
    asked = None if precision == "auto" else precision
    if (asked or card.precision) == "bf16" and capability < AMPERE:
        if asked:
            raise EncoderError(
                "this GPU has no bf16", found=f"compute capability {'.'.join(map(str, capability))}", fix="use fp16"
            )
        return torch.float16
    return _HALF.get(asked or card.precision)


def _is_convolutional(model: nn.Module) -> bool:
    """Whether the model is a network of convolutions, and not a transformer with one for its patches."""
    kinds = [type(module) for module in model.modules()]
    return kinds.count(nn.Conv2d) > kinds.count(nn.Linear)
