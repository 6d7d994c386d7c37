"""An encoder around a torch model: preprocessing of its card on the device, precision, pooling of tokens."""

import hashlib
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from asmil.draws import shapes_only
from asmil.encoders.cards import EncoderCard, contradictions
from asmil.encoders.weights import find_weights, fitted, read_weights, weight_hash
from asmil.errors import EncoderError

_HALF = {"fp16": torch.float16, "bf16": torch.bfloat16}
PRECISION_OF: dict[torch.dtype | None, str] = {None: "fp32", **{dtype: name for name, dtype in _HALF.items()}}
AMPERE = (8, 0)
"""The first compute capability with bfloat16."""


class ModelEncoder:
    """A torch model with the preprocessing of its card; an `Encoder`.

    Tiles are brought to the card's `tile_px` and normalised on the device. Weights are kept in float32, also those of a
    file in half precision; half precision is used on CUDA only. `weight_hash` is that of the weights and of what the
    card says of pixels, as far as that is not the plain way.
    """

    def __init__(
        self, model: nn.Module, card: EncoderCard, *, device: str, precision: str | None, compile: bool = False
    ):
        self.card, self.device = card, torch.device(device)
        model = model.float()
        self.weight_hash = encoder_hash(model.state_dict(), card=card)
        model = model.eval().requires_grad_(False).to(self.device)
        if _is_convolutional(model):
            model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model = torch.compile(model) if compile else model
        cuda = self.device.type == "cuda"
        capability = torch.cuda.get_device_capability(self.device) if cuda else None
        self.dtype = half_type(precision, card=card, capability=capability)
        self.precision = PRECISION_OF[self.dtype]
        self._mean = torch.tensor(card.mean, device=self.device).mul(255).view(3, 1, 1)
        self._std = torch.tensor(card.std, device=self.device).mul(255).view(3, 1, 1)

    @torch.inference_mode()
    def __call__(self, tiles: Tensor | np.ndarray) -> Float[Tensor, "tiles dim"]:
        """Encode uint8 (tiles, height, width, 3); float32 on the encoder's device."""
        tiles = torch.as_tensor(tiles).to(self.device, non_blocking=True)  # as uint8: a quarter of the transfer
        pixels = to_input(tiles.permute(0, 3, 1, 2).float(), card=self.card)
        pixels = (pixels - self._mean) / self._std
        with torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype is not None):
            output = self.model(pixels)
        features = pooled(output, card=self.card)
        if features.shape[1] != self.card.dim:
            raise EncoderError(
                f"{self.card.name} does not give what its card says",
                found=f"{features.shape[1]} values of a tile instead of {self.card.dim}",
                fix="say on a card what becomes the features: see docs/encoders.md",
            )
        return features


def to_input(pixels: Float[Tensor, "tiles 3 h w"], *, card: EncoderCard) -> Float[Tensor, "tiles 3 side side"]:
    """Pixels of 0 to 255 at the side of the card's input: as they are, or resized to whole grey values and cropped.

    Raises:
        EncoderError: they are of another side, and the card does not say how they are resized.
    """
    side = card.tile_px
    if side is None or tuple(pixels.shape[2:]) == (side, side):
        return pixels
    if card.interpolation == "none":
        raise EncoderError(
            f"{card.name} takes tiles of {side} px as they are, and does not say how others are resized",
            found=f"tiles of {pixels.shape[3]} x {pixels.shape[2]} px",
            fix=f"cut tiles of {side} px: --tile-px {side}",
        )
    resized = card.resize_px or side
    for shape in ((pixels.shape[2], resized), (resized, resized)):  # as Pillow: across, then down, and bytes in between
        pixels = F.interpolate(pixels, shape, mode=card.interpolation, antialias=True, align_corners=False)
        pixels = (pixels.clamp(0, 255) + 0.5).floor()
    start = round((resized - side) / 2)
    return pixels[..., start : start + side, start : start + side]


def encoder_hash(state: Mapping[str, Tensor], *, card: EncoderCard) -> str:
    """The hash of the weights; of weights and pixels, where the card prepares them in another way than plain.

    Plain is bilinear, without a crop. Of names with a colon mean and std belong to it: they come from a file beside
    the weights, which may change.
    """
    own: dict[str, object] = {"interpolation": card.interpolation, "resize_px": card.resize_px}
    told = {name: value for name, value in own.items() if value not in ("bilinear", None)}
    if ":" in card.name:
        told |= {"mean": card.mean, "std": card.std}
    weights = weight_hash(state)
    return hashlib.sha256(f"{weights} {told}".encode()).hexdigest()[:16] if told else weights


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
    if differs := contradictions(card, file):
        known = f"the card was checked: {card.checked}" if card.checked else "nobody has checked the card"
        warnings.warn(f"{card.name} is prepared as its card says; {differs}; {known}", stacklevel=2)
    with shapes_only():  # a billion random numbers take longer than reading the file
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
