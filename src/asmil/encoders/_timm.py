"""Encoders that timm builds: cards from its tables, weights from the hub or a file."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from asmil._torchvision import prepare_torchvision
from asmil.encoders._card import EncoderCard
from asmil.errors import EncoderError

_HALF = {"fp16": torch.float16, "bf16": torch.bfloat16}


class TimmEncoder:
    """A timm model with the preprocessing of its card; an `Encoder`.

    Tiles are resized to the card's `tile_px` and normalised on the device. Half precision is used on CUDA
    only.
    """

    def __init__(self, model: nn.Module, card: EncoderCard, *, device: str, precision: str | None):
        self.card, self.device = card, torch.device(device)
        self.weight_hash = weight_hash(model.state_dict())
        self.model = model.eval().requires_grad_(False).to(self.device)
        self.dtype = _HALF.get(precision or card.precision) if self.device.type == "cuda" else None
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
            return self.model(pixels).float()


def load_timm(
    card: EncoderCard,
    *,
    device: str,
    weights: str | Path | None,
    precision: str | None,
    architecture: str | None = None,
) -> TimmEncoder:
    """Build the card's model by timm without its classifier.

    `architecture` is the timm model that a weights file fits where the card's own weights live on the hub, so
    that an offline machine needs nothing but the file.

    Raises:
        EncoderError: timm is missing, the model is unknown, or the weights cannot be had or do not fit.
    """
    source = card.weights or card.name
    if weights is None:
        model = _create(source, pretrained=True, card=card)
    else:
        model = _create(f"timm:{architecture}" if architecture else source, pretrained=False, card=card)
        _fill(model, read_weights(weights), path=Path(weights))
    return TimmEncoder(model, card, device=device, precision=precision)


def timm_card(name: str) -> EncoderCard:
    """The card of `timm:NAME` or `hf-hub:ORG/NAME`, from the model's own pretrained configuration.

    Raises:
        EncoderError: timm is missing, knows no such model, or the hub cannot be reached.
    """
    with torch.device("meta"):  # shapes without memory
        model = _create(name, pretrained=False, card=None)
    facts = _configuration(model)
    return EncoderCard(
        name=name,
        dim=int(getattr(model, "head_hidden_size", None) or cast(int, model.num_features)),
        tile_px=facts["input_size"][-1],
        mpp=None,
        licence=facts.get("license") or "unknown: see its model page",
        source=facts.get("origin_url") or facts.get("hf_hub_id") or name,
        mean=tuple(facts["mean"]),
        std=tuple(facts["std"]),
        weights=name,
    )


def weight_hash(state: Mapping[str, Tensor]) -> str:
    """Sixteen hexadecimal digits of the SHA-256 over names and bytes of all weights."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict from `.safetensors`, or from a pickle that holds tensors only.

    Raises:
        EncoderError: no such file, or it holds something else.
    """
    path = Path(path)
    if not path.is_file():
        raise EncoderError("the weights file does not exist", found=path, fix="give a .safetensors or .pth file")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise EncoderError(
            f"{path.name} is not a readable weights file", found=f"{type(error).__name__}: {error}"[:300],
            fix="save its state dict as .safetensors; pickles that run code are refused",
        ) from error  # fmt: skip
    for wrapper in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise EncoderError(f"{path.name} holds no state dict", found=type(state).__name__)
    return state


def _configuration(model: nn.Module) -> Mapping[str, Any]:
    return cast(Mapping[str, Any], model.pretrained_cfg)


def _create(name: str, *, pretrained: bool, card: EncoderCard | None) -> nn.Module:
    prepare_torchvision()
    try:
        import timm
    except ImportError as error:
        raise EncoderError("this encoder needs timm", found=error, fix="pip install 'asmil[encoders]'") from error
    try:
        return timm.create_model(name.removeprefix("timm:"), pretrained=pretrained, num_classes=0)
    except Exception as error:
        if isinstance(error, RuntimeError) and "Unknown model" in str(error):
            raise EncoderError(f"timm knows no model {name.removeprefix('timm:')!r}") from error
        gated = "accept its licence on its page and log in (`hf auth login`); " if card and card.gated else ""
        raise EncoderError(
            f"{name} cannot be downloaded",
            found=f"{type(error).__name__}: {error}"[:300],
            fix=f"{gated}without network give its file: --weights FILE (.safetensors or .pth), "
            "fetched elsewhere from the Hugging Face hub; for hf-hub names give timm:ARCHITECTURE instead",
        ) from error


def _fill(model: nn.Module, state: dict[str, Tensor], *, path: Path) -> None:
    classifier = _configuration(model).get("classifier") or ()
    heads = tuple(f"{name}." for name in ([classifier] if isinstance(classifier, str) else classifier))
    state = {name: value for name, value in state.items() if not name.startswith(heads)}
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise EncoderError(
            f"{path.name} does not fit {type(model).__name__}", found=str(error)[:400],
            fix="give the weights of this architecture, or name the encoder they belong to",
        ) from error  # fmt: skip
