"""Stain normalisation before an encoder: every tile is brought to one reference by itself."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from asmil.encoders.cards import Encoder
from asmil.errors import EncoderError
from asmil.machine import cores

Normalizer: TypeAlias = Any
"""Macenko's or Reinhard's of torchstain, which is optional."""

METHODS = ("macenko", "reinhard")
LIGHT, CLEAR_OD = 240.0, 0.15
"""Light through glass (0-255), and the optical density (natural logarithm) of glass at most (Macenko 2009)."""

LEAST_STAINED = 0.05
"""A tile with a smaller share of stained pixels is left as it is: too little to tell its stain from."""

REINHARD_MEAN = (66.7, 27.6, -22.4)
REINHARD_STD = (13.9, 7.5, 10.1)
"""CIELAB of the stained pixels of the 100 H&E fields of CRCHistoPhenotypes (Sirinukunwattana et al., IEEE Trans. Med.
Imaging 2016), computed here."""

TARGET_PX = 2048


class StainedEncoder:
    """An encoder that sees tiles of one stain; an `Encoder` with the card of the one inside.

    `seen` tiles came, of which `unchanged` were passed on as they were, for want of stain; `unstained`, boolean
    (tiles,), says which these are of the last call. The `weight_hash` tells method and reference apart, so that
    features of different stains never mix.
    """

    def __init__(self, encoder: Encoder, method: str, *, normalizer: Normalizer):
        self.encoder, self.card, self.device = encoder, encoder.card, encoder.device
        self.precision = encoder.precision
        self.method, self._normalizer = method, normalizer
        self.seen = self.unchanged = 0
        self.unstained = np.zeros(0, bool)
        reference = torch.cat([part.flatten().double() for part in _reference(normalizer)])
        digest = hashlib.sha256(f"{encoder.weight_hash} {method} ".encode())
        digest.update(reference.round(decimals=4).numpy().tobytes())
        self.weight_hash = digest.hexdigest()[:16]

    def __call__(self, tiles: Tensor | np.ndarray) -> Float[Tensor, "tiles dim"]:
        """Normalise uint8 (tiles, height, width, 3) on the CPU, one tile per core at a time, and encode them."""
        return self.encoder(self.normalize(tiles))

    def normalize(self, tiles: Tensor | np.ndarray) -> Tensor:
        """The tiles as the encoder sees them, uint8 (tiles, height, width, 3)."""
        batch = torch.as_tensor(tiles).cpu()
        with ThreadPoolExecutor(cores()) as pool:
            done = list(pool.map(self._one, batch))
        self.seen += len(done)
        self.unstained = np.array([tile is None for tile in done], bool)
        self.unchanged += int(self.unstained.sum())
        return torch.stack([old if new is None else new for old, new in zip(batch, done, strict=True)])

    @torch.inference_mode()
    def _one(self, tile: Tensor) -> Tensor | None:
        """One tile (height, width, 3) normalised, None where the method cannot tell its stain."""
        stained = stained_pixels(tile)
        if stained.float().mean() < LEAST_STAINED:
            return None
        try:
            pixels = self._normalized(tile[stained].T[:, :, None])
        except (RuntimeError, IndexError):  # no solution, or no pixel that absorbs all three colours
            return None
        if pixels.min() < 0 or pixels.max() == 0:  # what is not a number becomes one of these as an integer
            return None
        out = tile.clone()
        out[stained] = pixels.reshape(-1, 3).to(torch.uint8)
        return out

    def _normalized(self, pixels: Tensor) -> Tensor:
        if self.method == "macenko":
            return self._normalizer.normalize(pixels, Io=LIGHT, beta=CLEAR_OD, stains=False)[0]
        return self._normalizer.normalize(pixels)


def with_stain(encoder: Encoder, method: str, *, target: str | Path | None = None) -> StainedEncoder:
    """Normalise the stain of tiles before they are encoded; glass within them stays as it is.

    Args:
        encoder: any encoder.
        method: "macenko" (Macenko et al., ISBI 2009: the two stains and their strengths) or "reinhard" (Reinhard et
            al., IEEE CG&A 2001: mean and spread in CIELAB).
        target: image (PNG, JPEG, TIFF) whose stain is the reference; None: a built-in one, for macenko that of the
            authors' code, for reinhard of a public set of H&E.

    Raises:
        EncoderError: torchstain is missing, the method unknown, or the target unreadable or without stain.
    """
    if method not in METHODS:
        raise EncoderError(f"there is no stain normalisation {method!r}", fix=f"use {' or '.join(METHODS)}")
    try:
        from torchstain.torch.normalizers import TorchMacenkoNormalizer, TorchReinhardNormalizer
    except ImportError as error:
        fix = "pip install 'asmil[stain]'"
        raise EncoderError("stain normalisation needs torchstain", found=error, fix=fix) from error
    normalizer = TorchMacenkoNormalizer() if method == "macenko" else TorchReinhardNormalizer()
    if target is not None:
        _fit(normalizer, Path(target), **({"Io": LIGHT, "beta": CLEAR_OD} if method == "macenko" else {}))
    elif method == "reinhard":
        normalizer.target_means = torch.tensor(REINHARD_MEAN)
        normalizer.target_stds = torch.tensor(REINHARD_STD)
    return StainedEncoder(encoder, method, normalizer=normalizer)


def _fit(normalizer: Normalizer, target: Path, **options: float) -> None:
    pixels = _target_pixels(target)
    try:
        normalizer.fit(pixels, **options)
        colours, strengths = _reference(normalizer)
        # Two stains of one direction, or colours without spread, are no reference
        usable = bool(strengths.min() > 0.1) and (colours.dim() == 1 or float(torch.linalg.cond(colours)) < 100)
    except (RuntimeError, IndexError):
        usable = False
    if not usable:
        raise EncoderError(f"the stain of {target} cannot be told", fix="give an image with both stains in it")


def _reference(normalizer: Normalizer) -> tuple[Tensor, Tensor]:
    """Colours of the stains and their strengths, or mean and spread."""
    if hasattr(normalizer, "HERef"):
        return normalizer.HERef, normalizer.maxCRef
    return normalizer.target_means, normalizer.target_stds


def stained_pixels(pixels: Tensor) -> Tensor:
    """Which pixels (..., 3) are stained: haematoxylin and eosin both absorb green."""
    return pixels[..., 1] < LIGHT * np.exp(-CLEAR_OD) - 1


def _target_pixels(path: Path) -> Tensor:
    """The stained pixels of an image, uint8 (3, pixels, 1)."""
    try:
        with Image.open(path) as image:
            image.thumbnail((TARGET_PX, TARGET_PX))
            pixels = torch.from_numpy(np.array(image.convert("RGB"))).reshape(-1, 3)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        fix = "give a PNG, JPEG or TIFF image of stained tissue"
        raise EncoderError(f"{path} is not a readable image", found=error, fix=fix) from error
    stained = stained_pixels(pixels)
    if stained.float().mean() < LEAST_STAINED:
        share = f"{float(stained.float().mean()):.1%} of its pixels"
        raise EncoderError(f"{path} shows too little stained tissue", found=share, fix="give an image of tissue")
    return pixels[stained].T[:, :, None]
