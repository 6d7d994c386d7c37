"""Stain, colour and texture statistics of a tile: an embedding without weights, for any tile size from 16 px.

Principles: what a pathologist names at low and high power, measured per tile. How much haematoxylin and eosin there is
and how it is distributed (Ruifrok & Johnston 2001, colour deconvolution); what nuclei look like, inside against outside
(pale and vesicular, or small and dense); how large, how round and how aligned the dark structures are (scale-space
Hessian and structure tensor, Lindeberg 1998; granulometry by openings, Matheron 1975); and the fine grain (uniform local
binary patterns, Ojala 2002; grey-level co-occurrence, Haralick 1973). Every scale is an octave of a binomial pyramid.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from asmil.encoders._card import EncoderCard
from asmil.errors import EncoderError

VERSION = "1"

# Optical-density vectors of haematoxylin and eosin (Ruifrok & Johnston 2001); the third stain is orthogonal to both.
_HAEMATOXYLIN, _EOSIN = (0.650, 0.704, 0.286), (0.072, 0.990, 0.105)
LEVELS = 4
_PIXELS_AT_ONCE = {"cpu": 1 << 16, "cuda": 1 << 23}  # a CPU works in its cache, a GPU in bulk


def _unmix() -> Tensor:
    h, e = (np.array(v) / np.linalg.norm(v) for v in (_HAEMATOXYLIN, _EOSIN))
    residual = np.cross(h, e)
    return torch.tensor(np.linalg.inv(np.stack([h, e, residual / np.linalg.norm(residual)])), dtype=torch.float32)


_UNMIX = _unmix()


def describe(tiles: Tensor) -> Tensor:
    """uint8 (n, h, w, 3) -> float32 (n, dim)"""
    planes = _planes(tiles)
    pyramid = _pyramid(planes[:, _TEXTURED])
    parts = {"stat": _statistics(planes), "joint": _joint(planes), "comp": _compartments(planes, pyramid[1]), "gran": _granulometry(pyramid[1])}
    for i, level in enumerate(pyramid):
        parts |= {f"filt{i}": _filters(level), f"lbp{i}": _patterns(level)}
        if i < 2:
            parts[f"co{i}"] = _cooccurrence(level[:, 0])
    global GROUPS
    GROUPS = {k: v.shape[1] for k, v in parts.items()}
    return torch.cat(list(parts.values()), 1)


_TEXTURED = [0, 3]


def _planes(tiles: Tensor) -> Tensor:
    """Haematoxylin, eosin, residual, mean optical density, red-green, yellow-blue, saturation: (n, 7, h, w)."""
    rgb = tiles.permute(0, 3, 1, 2).to(torch.float32)
    density = -torch.log10((rgb + 1) / 256)
    r, g, b = rgb.unbind(1)
    stains = torch.einsum("nchw,cs->nshw", density, _UNMIX.to(tiles.device))
    bright, dark = rgb.amax(1), rgb.amin(1)
    rest = [density.mean(1), (r - g) / 64, (r + g - 2 * b) / 128, (bright - dark) / (bright + 16)]
    return torch.cat([stains, torch.stack(rest, 1)], 1)


def _statistics(planes: Tensor) -> Tensor:
    """Mean, spread, skewness and percentiles of each plane, and how the planes go together."""
    flat = planes.flatten(2)
    mean = flat.mean(2, keepdim=True)
    centred = flat - mean
    std = centred.square().mean(2).sqrt()
    skew = (centred * centred * centred).mean(2).div((std + 0.02) ** 3)
    step = max(1, min(planes.shape[-2:]) // 16)  # about a thousand pixels tell the percentiles
    some = planes[:, :, ::step, ::step].flatten(2).sort(2).values
    index = torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95], device=flat.device) * (some.shape[2] - 1)
    spread = some[:, :, index.round().long()]
    covariance = torch.einsum("ncp,ndp->ncd", centred, centred) / flat.shape[2]
    pairs = torch.triu_indices(4, 4, 1, device=flat.device)
    scale = (std + 0.02)[:, :, None] * (std + 0.02)[:, None, :]
    correlation = (covariance / scale)[:, pairs[0], pairs[1]]
    return torch.cat([2 * mean[..., 0], 4 * std, skew.clamp(-5, 5), 2 * spread.flatten(1), correlation], 1)


def _bincount(codes: Tensor, bins: int) -> Tensor:
    """Square root of the shares of each code: (n, ...) integers -> (n, bins); Hellinger scale, so rare bins count."""
    flat = codes.flatten(1)
    n, count = flat.shape
    offset = torch.arange(n, device=codes.device)[:, None] * bins
    return (torch.bincount((flat + offset).flatten(), minlength=n * bins).view(n, bins) / count).sqrt()


def _joint(planes: Tensor) -> Tensor:
    """Joint histogram of haematoxylin and eosin."""
    edges = torch.tensor([0.05, 0.12, 0.22, 0.35, 0.5], device=planes.device)
    h, e = (torch.bucketize(planes[:, k].contiguous(), edges) for k in (0, 1))
    return _bincount(h * 6 + e, 36)


def _blur(x: Tensor) -> Tensor:
    for dim in (-1, -2):
        n = x.shape[dim]
        y = F.pad(x, (2, 2, 0, 0) if dim == -1 else (0, 0, 2, 2), mode="replicate")
        a, b, c, d, e = (y.narrow(dim, k, n) for k in range(5))
        x = (a + e) * 0.0625 + (b + d) * 0.25 + c * 0.375
    return x


def _pyramid(x: Tensor) -> list[Tensor]:
    levels = [x]
    for _ in range(LEVELS - 1):
        levels.append(_blur(levels[-1])[..., ::2, ::2])
    return levels


def _compartments(planes: Tensor, half: Tensor) -> Tensor:
    """What lies inside and outside the nuclei, for an absolute and a tile-relative threshold."""
    smooth = _blur(planes[:, 0])
    mean, std = smooth.mean((1, 2), keepdim=True), smooth.std((1, 2), keepdim=True)
    parts = []
    for threshold in (torch.full_like(mean, 0.25), mean + 0.5 * std):
        inside = torch.sigmoid((smooth - threshold) / 0.03)
        share = inside.mean((1, 2))
        edge = (inside[:, 1:] - inside[:, :-1]).abs().mean((1, 2)) + (inside[:, :, 1:] - inside[:, :, :-1]).abs().mean((1, 2))
        parts += [share[:, None], (edge / (share + 0.05))[:, None]]
        for weight in (inside, 1 - inside):
            total = weight.sum((1, 2))[:, None] + 1
            m = torch.einsum("nchw,nhw->nc", planes, weight) / total
            v = torch.einsum("nchw,nhw->nc", planes.square(), weight) / total - m * m
            parts += [2 * m, 4 * v.clamp(min=0).sqrt()]
    white = torch.sigmoid((0.07 - planes[:, 3]) / 0.015)
    parts += [white.mean((1, 2))[:, None], white.std((1, 2))[:, None]]
    return torch.cat(parts, 1)


def _erode(x: Tensor) -> Tensor:
    return -_dilate(-x)


def _dilate(x: Tensor) -> Tensor:
    for dim in (-1, -2):
        n = x.shape[dim] - 1
        low, high = x.narrow(dim, 0, n), x.narrow(dim, 1, n)
        y = x.clone()
        torch.maximum(low, high, out=y.narrow(dim, 0, n))
        torch.maximum(y.narrow(dim, 1, n), low, out=y.narrow(dim, 1, n))
        x = y
    return x


def _granulometry(half: Tensor) -> Tensor:
    """Grey openings and closings: how much density is in structures up to 1..4 px of the half-size planes."""
    parts = []
    for x in (half, -half):
        eroded, last = x, x.mean((2, 3))
        for radius in range(1, 5):
            eroded = _erode(eroded)
            opened = eroded
            for _ in range(radius):
                opened = _dilate(opened)
            now = opened.mean((2, 3))
            parts.append(10 * (last - now))
            last = now
    return torch.cat(parts, 1)


def _filters(x: Tensor) -> Tensor:
    y = F.pad(x, (1, 1, 1, 1), mode="replicate")
    c = x
    l, r, u, d = y[..., 1:-1, :-2], y[..., 1:-1, 2:], y[..., :-2, 1:-1], y[..., 2:, 1:-1]
    dx, dy = (r - l) / 2, (d - u) / 2
    xx, yy = r + l - 2 * c, u + d - 2 * c
    xy = (y[..., 2:, 2:] + y[..., :-2, :-2] - y[..., 2:, :-2] - y[..., :-2, 2:]) / 4
    std = x.std((2, 3)) + 0.02
    mag = (dx.square() + dy.square()).sqrt()
    lap = xx + yy
    ridge = ((xx - yy).square() + 4 * xy.square()).sqrt()
    high, low = (lap + ridge) / 2, (lap - ridge) / 2
    dark = (-high).clamp(min=0)  # both curvatures negative: a round blob of density
    line = (-low).clamp(min=0) - dark
    jxx, jyy, jxy = dx.square().mean((2, 3)), dy.square().mean((2, 3)), (dx * dy).mean((2, 3))
    align = ((jxx - jyy).square() + 4 * jxy.square()).sqrt() / (jxx + jyy + 1e-4)
    m = mag.mean((2, 3))
    peak = (-lap) * ((-lap) >= _dilate(-lap)) * (lap < -0.03)
    parts = [
        4 * m, mag.std((2, 3)) * 4, m / std, align,
        8 * dark.mean((2, 3)), 8 * line.mean((2, 3)), 8 * high.clamp(min=0).mean((2, 3)),
        4 * lap.std((2, 3)), lap.std((2, 3)) / std, dark.mean((2, 3)) / (line.mean((2, 3)) + 0.005),
        4 * dark.amax((2, 3)), 20 * (peak > 0).float().mean((2, 3)), 20 * peak.mean((2, 3)),
    ]
    return torch.cat(parts, 1)


def _patterns(x: Tensor) -> Tensor:
    n, k, h, w = x.shape
    x = x.reshape(n * k, h, w)
    c = x[:, 1:-1, 1:-1] + 0.01 if h > 2 and w > 2 else None
    if c is None:
        return x.new_zeros(n, k * 10)
    ring = [(0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0)]
    bits = [(x[:, i : i + h - 2, j : j + w - 2] > c).to(torch.int8) for i, j in ring]
    ones = sum(bits)
    turns = sum(a ^ b for a, b in zip(bits, bits[1:] + bits[:1], strict=True))
    return _bincount(torch.where(turns <= 2, ones, 9).long(), 10).reshape(n, k * 10)


def _cooccurrence(h: Tensor) -> Tensor:
    q = (h * 10).clamp(0, 7).to(torch.int64)
    a = (q[:, :, :-1] * 8 + q[:, :, 1:]).flatten(1)
    b = (q[:, :-1] * 8 + q[:, 1:]).flatten(1)
    p = _bincount(torch.cat([a, b], 1), 64).square()
    i = torch.arange(8, device=h.device).float()
    d = (i[:, None] - i[None]).abs().flatten()
    return torch.stack([p @ d / 2, p @ (1 / (1 + d)), p.square().sum(1).sqrt(), -(p * (p + 1e-9).log()).sum(1) / 4], 1)


class TextureEncoder:
    """The descriptor as an `Encoder`."""

    def __init__(self, card: EncoderCard, *, device: str):
        self.card, self.device = card, torch.device(device)
        self.weight_hash = f"{card.name}-v{VERSION}"

    @torch.inference_mode()
    def __call__(self, tiles: Tensor | np.ndarray) -> Float[Tensor, "tiles dim"]:
        """Encode uint8 (tiles, height, width, 3).

        Raises:
            EncoderError: tiles smaller than 16 px.
        """
        tiles = torch.as_tensor(tiles).to(self.device)
        height, width = tiles.shape[1:3]
        if min(height, width) < 16:
            raise EncoderError("tiles are too small to have a texture", found=f"{width} x {height} px", fix="tile_px >= 16")
        at_once = max(1, (1 << 15 if self.device.type == "cpu" else 1 << 23) // (height * width))
        return torch.cat([describe(some) for some in tiles.split(at_once)])
