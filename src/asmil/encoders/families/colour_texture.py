"""Stain, colour, nuclear and texture statistics of tiles: the computation behind the colour-texture encoder.

What a pathologist names, measured in each tile: how much haematoxylin and eosin there is and how it is
distributed (colour deconvolution, Ruifrok & Johnston 2001); what nuclei are like inside against outside, pale
and vesicular or small and dense; how large, round and aligned dark structures are (scale-space Hessian and
structure tensor, Lindeberg 1998; granulometry by openings, Matheron 1975); and the grain (uniform local
binary patterns, Ojala 2002; co-occurrence, Haralick 1973). Scales are octaves of a binomial pyramid. Each
value is scaled by a constant to be of order one.

Here they are defined, in torch, which is what a GPU computes. A CPU computes them with `texture_loops` where numba is
installed: within 1e-4 the same values (measured: 3e-5), which is why both have one version and share a store.
"""

import warnings
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn import functional as F

from asmil.encoders.cards import EncoderCard
from asmil.errors import EncoderError

VERSION = "1"
"""Of the formulas: raise it with any change of a value, as features of two versions must not be mixed."""

MIN_TILE_PX = 16
LEVELS = 3
LARGE_TILE_PX = 128  # larger tiles are halved first: four times the speed, and the grain of 20x is enough
_PIXELS_AT_ONCE = {"cpu": 1 << 15, "cuda": 1 << 23, "loops": 1 << 14}  # a CPU works inside its cache, a GPU in bulk
_MOST_HALVINGS = 6  # by loops, which look a density up: a table of a million, tiles of 8191 px
_NEUTRAL = 0.02  # added to spreads that divide, so that an empty tile gives zeros instead of noise

# Optical density in red, green, blue (Ruifrok & Johnston 2001); the third stain is orthogonal to both.
HAEMATOXYLIN, EOSIN = (0.650, 0.704, 0.286), (0.072, 0.990, 0.105)
STAIN_EDGES = (0.05, 0.15, 0.28, 0.45)
GREY_LEVELS = 8

Plane = Float[Tensor, "tiles planes height width"]
Values = Float[Tensor, "tiles values"]


def load(card: EncoderCard, *, device: str, weights: str | Path | None, precision: str | None) -> "TextureEncoder":
    """Nothing to load; `precision` is ignored, it always computes in float32.

    Raises:
        EncoderError: a weights file was given.
    """
    if weights is not None:
        raise EncoderError(f"{card.name} has no weights", found=weights, fix="leave --weights out")
    return TextureEncoder(card, device=device)


class TextureEncoder:
    """The statistics as an `Encoder`; always float32, on any device."""

    precision = "fp32"

    def __init__(self, card: EncoderCard, *, device: str):
        self.card, self.device = card, torch.device(device)
        self.weight_hash = f"{card.name}-v{VERSION}"

    @torch.inference_mode()
    def __call__(self, tiles: Tensor | np.ndarray) -> Values:
        """Encode uint8 (tiles, height, width, 3); float32 (tiles, dim).

        Raises:
            EncoderError: tiles smaller than `MIN_TILE_PX`.
        """
        tiles = torch.as_tensor(tiles)
        height, width = tiles.shape[1:3]
        if min(height, width) < MIN_TILE_PX:
            raise EncoderError(
                "tiles are too small to have a texture",
                found=f"{width} x {height} px",
                fix=f"use tile_px >= {MIN_TILE_PX}",
            )
        halvings = halvings_of(height, width)
        if (
            self.device.type == "cpu"
            and tiles.dtype == torch.uint8
            and halvings <= _MOST_HALVINGS
            and (loops := _loops())
        ):
            return _by_loops(loops, tiles.numpy(), block=2**halvings)
        at_once = max(1, _PIXELS_AT_ONCE.get(self.device.type, 1 << 20) // (height * width))
        chunks = tiles.split(at_once)
        if self.device.type == "cpu" and len(chunks) > 1:
            return torch.cat(_describe_side_by_side(chunks))
        return torch.cat([describe(some.to(self.device)) for some in chunks])


def _describe_side_by_side(chunks: Iterable[Tensor]) -> list[Values]:
    """Chunks in threads, each with one thread inside torch.

    Hundreds of small operations that each meet at a barrier of torch's own threads crawl as soon as another program
    uses a core; whole chunks never wait for each other. The values do not depend on the number of threads.
    """
    threads = torch.get_num_threads()

    @torch.inference_mode()  # holds for one thread only
    def alone(chunk: Tensor) -> Values:
        torch.set_num_threads(1)  # of the calling thread
        return describe(chunk)

    try:
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(alone, chunks))
    finally:
        torch.set_num_threads(threads)  # what threads started later begin with


@cache
def _loops() -> ModuleType | None:
    """`texture_loops`, compiled (some ten seconds, once a machine), or None; then a process is told so once."""
    try:
        import numba

        if numba.config.DISABLE_JIT:
            raise ImportError("NUMBA_DISABLE_JIT is set")
        from asmil.encoders.families import texture_loops

        _by_loops(texture_loops, np.zeros((1, MIN_TILE_PX, MIN_TILE_PX, 3), np.uint8), block=1)
    except (ImportError, OSError, RuntimeError) as error:
        warnings.warn(
            f"colour-texture runs about ten times slower than it could, with the same features: {error}; "
            "to fix: pip install 'asmil[fast]'",
            stacklevel=3,
        )
        return None
    return texture_loops


def _by_loops(loops: ModuleType, tiles: UInt8[np.ndarray, "tiles height width 3"], *, block: int) -> Values:
    """Some neighbouring tiles per thread, of as many threads as torch would take; each tile by itself."""
    tiles = np.require(tiles, requirements=["C", "W"])  # of another kind they would be compiled for again
    sums = torch.arange(255 * block**2 + 1).float() / block**2
    table, out = densities(sums).numpy(), np.empty((len(tiles), loops.VALUES), np.float32)
    threads = torch.get_num_threads()
    parts = min(len(tiles), 4 * threads if threads > 1 else 1)
    starts = [len(tiles) * part // max(1, parts) for part in range(parts + 1)]

    def fill(part: int) -> None:
        some = slice(starts[part], starts[part + 1])
        loops.describe(tiles[some], table, out[some], block=block, pixels=_PIXELS_AT_ONCE["loops"])

    if parts > 1:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(fill, range(parts)))
    elif parts:
        fill(0)
    return torch.from_numpy(out)


def halvings_of(height: int, width: int) -> int:
    """How often a tile is halved before it is measured."""
    return max(0, (min(height, width) // LARGE_TILE_PX).bit_length())


def describe(tiles: UInt8[Tensor, "tiles height width 3"]) -> Values:
    """All statistics of a batch of tiles, float32 (tiles, 284)."""
    rgb = tiles.permute(0, 3, 1, 2).float()
    for _ in range(halvings_of(*rgb.shape[2:])):
        rgb = F.avg_pool2d(rgb, 2)
    planes = stain_planes(rgb)
    pyramid = [planes[:, [0, 3]]]  # haematoxylin and mean density
    while len(pyramid) < LEVELS:
        pyramid.append(blur(pyramid[-1])[..., ::2, ::2])
    parts = [_distribution(planes), _stain_histogram(planes), nuclei(planes), granulometry(pyramid[1])]
    for level in pyramid:
        parts += [structure(level), grain(level)]
    return torch.cat([*parts, *(_cooccurrence(level[:, 0]) for level in pyramid[:2])], dim=1)


def densities(rgb: Tensor) -> Tensor:
    """Optical densities of values from 0 to 255."""
    return -torch.log10((rgb + 1) / 256)


def unmixing() -> Float[np.ndarray, "stains colours"]:
    """How much of each colour's density is haematoxylin, eosin and the rest."""
    h, e = (np.array(stain) / np.linalg.norm(stain) for stain in (HAEMATOXYLIN, EOSIN))
    return np.linalg.inv(np.stack([h, e, np.cross(h, e) / np.linalg.norm(np.cross(h, e))])).T


def stain_planes(rgb: Plane) -> Plane:
    """Haematoxylin, eosin, residual, mean density, red-green, yellow-blue, saturation."""
    density = densities(rgb)
    d = density.unbind(1)
    stains = [d[0] * float(s[0]) + d[1] * float(s[1]) + d[2] * float(s[2]) for s in unmixing()]
    r, g, b = rgb.unbind(1)
    saturation = (rgb.amax(1) - rgb.amin(1)) / (rgb.amax(1) + 16)  # damped: the hue of black is noise
    return torch.stack([*stains, density.mean(1), (r - g) / 64, (r + g - 2 * b) / 128, saturation], dim=1)


def _distribution(planes: Plane) -> Values:
    """Mean, spread and three percentiles of each plane."""
    mean, std = planes.mean((2, 3)), _spread(planes)
    step, at = percentiles_of(*planes.shape[2:])
    pixels = planes[:, :, ::step, ::step].flatten(2).sort(dim=2).values
    return torch.cat([2 * mean, 4 * std, 2 * pixels[:, :, at].flatten(1)], dim=1)


def percentiles_of(height: int, width: int) -> tuple[int, list[int]]:
    """The step from one to the next of the some hundred pixels that tell the percentiles, and their ranks."""
    step = max(1, min(height, width) // 16)
    last = -(-height // step) * -(-width // step) - 1
    return step, [round(share * last) for share in (0.05, 0.5, 0.95)]


def _stain_histogram(planes: Plane) -> Values:
    """Joint histogram of haematoxylin and eosin."""
    edges = torch.tensor(STAIN_EDGES, device=planes.device)
    h, e = (torch.bucketize(planes[:, stain].contiguous(), edges) for stain in (0, 1))
    return _shares(h * (len(edges) + 1) + e, bins=(len(edges) + 1) ** 2).sqrt()  # root: rare bins count too


def nuclei(planes: Plane) -> Values:
    """What haematoxylin marks, absolutely and for its tile: share, outline, colours inside and outside."""
    smooth = blur(planes[:, :1])[:, 0]
    mean, std = smooth.mean((1, 2), keepdim=True), _spread(smooth)[:, None, None]
    flat, parts = planes.flatten(2), []
    for threshold in (0.25, mean + 0.5 * std):
        inside = torch.sigmoid((smooth - threshold) / 0.03)  # soft: a small change of stain is a small change
        share = inside.mean((1, 2))
        outline = inside.diff(dim=1).abs().mean((1, 2)) + inside.diff(dim=2).abs().mean((1, 2))
        parts.append(torch.stack([share, outline / (share + 0.05)], dim=1))
        for weight in (inside.flatten(1), 1 - inside.flatten(1)):
            weight = (weight / (weight.sum(1, keepdim=True) + 1))[:, None]
            average = (flat * weight).sum(2)
            spread = ((flat - average[..., None]).square() * weight).sum(2).sqrt()
            parts += [2 * average, 4 * spread]
    white = torch.sigmoid((0.07 - planes[:, 3]) / 0.015)
    return torch.cat([*parts, torch.stack([white.mean((1, 2)), _spread(white)], dim=1)], dim=1)


def granulometry(half: Plane) -> Values:
    """How much density, and how much gap, is in structures of 1 to 4 px radius, at half size."""
    parts = []
    for signed in (half, -half):
        eroded, before = signed, signed.mean((2, 3))
        for radius in range(1, 5):
            eroded = -dilate(-eroded)
            opened = eroded
            for _ in range(radius):
                opened = dilate(opened)
            now = opened.mean((2, 3))
            parts.append(10 * (before - now))
            before = now
    return torch.cat(parts, dim=1)


def structure(level: Plane) -> Values:
    """Edges, alignment, blobs, lines and peaks of one octave: gradient, structure tensor, Hessian."""
    y = F.pad(level, (1, 1, 1, 1), mode="replicate")
    left, right = y[..., 1:-1, :-2], y[..., 1:-1, 2:]
    up, down = y[..., :-2, 1:-1], y[..., 2:, 1:-1]
    dx, dy = (right - left) / 2, (down - up) / 2
    xx, yy = right + left - 2 * level, down + up - 2 * level
    xy = (y[..., 2:, 2:] + y[..., :-2, :-2] - y[..., 2:, :-2] - y[..., :-2, 2:]) / 4
    gradient, laplacian = (dx.square() + dy.square()).sqrt(), xx + yy
    ridge = ((xx - yy).square() + 4 * xy.square()).sqrt()  # difference of the two curvatures
    upper, lower = (laplacian + ridge) / 2, (laplacian - ridge) / 2
    blob = (-upper).clamp(min=0)  # both curvatures negative: a round spot of density
    line = (-lower).clamp(min=0) - blob
    peak = -laplacian * ((laplacian <= -dilate(-laplacian)) & (laplacian < -0.03))
    jxx, jyy, jxy = (product.mean((2, 3)) for product in (dx.square(), dy.square(), dx * dy))
    aligned = ((jxx - jyy).square() + 4 * jxy.square()).sqrt() / (jxx + jyy + 1e-4)
    std, edges, curvature = _spread(level) + _NEUTRAL, gradient.mean((2, 3)), _spread(laplacian)
    blobs, lines = blob.mean((2, 3)), line.mean((2, 3))
    parts = [4 * edges, 4 * _spread(gradient), edges / std, aligned]
    parts += [8 * blobs, 8 * lines, 8 * upper.clamp(min=0).mean((2, 3)), blobs / (lines + 0.005)]
    parts += [4 * curvature, curvature / std, 4 * blob.amax((2, 3))]
    parts += [20 * (peak > 0).float().mean((2, 3)), 20 * peak.mean((2, 3))]
    return torch.cat(parts, dim=1)


def grain(level: Plane) -> Values:
    """Histograms of uniform local binary patterns of eight neighbours (Ojala 2002, riu2)."""
    n, k, h, w = level.shape
    x = level.reshape(n * k, h, w)
    centre = x[:, 1:-1, 1:-1] + 0.01  # a neighbour counts when it is clearly denser
    ring = [(0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0)]
    bits = [(x[:, i : i + h - 2, j : j + w - 2] > centre).to(torch.int8) for i, j in ring]
    ones = torch.stack(bits).sum(0, dtype=torch.int8)
    turns = torch.stack([a ^ b for a, b in zip(bits, bits[1:] + bits[:1], strict=True)]).sum(0)
    return _shares(torch.where(turns <= 2, ones, 9), bins=10).sqrt().reshape(n, k * 10)


def _cooccurrence(h: Float[Tensor, "tiles height width"]) -> Values:
    """Contrast, homogeneity, energy and entropy of neighbouring grey levels (Haralick 1973)."""
    grey = (h * 10).clamp(0, GREY_LEVELS - 1).int()
    across, along = grey[:, :, :-1] * GREY_LEVELS + grey[:, :, 1:], grey[:, :-1] * GREY_LEVELS + grey[:, 1:]
    p = _shares(torch.cat([across.flatten(1), along.flatten(1)], dim=1), bins=GREY_LEVELS**2)
    index = torch.arange(GREY_LEVELS, device=h.device)
    step = (index[:, None] - index).abs().flatten().float()
    contrast, homogeneity = (p * step).sum(1) / 2, (p / (1 + step)).sum(1)
    return torch.stack([contrast, homogeneity, p.square().sum(1).sqrt(), -torch.xlogy(p, p).sum(1) / 4], dim=1)


def _spread(x: Tensor) -> Tensor:
    """Standard deviation over the last two dimensions, in passes: `Tensor.std` is slow."""
    return (x - x.mean((-2, -1), keepdim=True)).square().mean((-2, -1)).sqrt()


def blur(x: Plane) -> Plane:
    """Binomial smoothing (1, 4, 6, 4, 1) / 16 along both sides."""
    for dim, border in ((-1, (2, 2, 0, 0)), (-2, (0, 0, 2, 2))):
        padded, n = F.pad(x, border, mode="replicate"), x.shape[dim]
        a, b, c, d, e = (padded.narrow(dim, shift, n) for shift in range(5))
        x = (a + e) * 0.0625 + (b + d) * 0.25 + c * 0.375
    return x


def dilate(x: Plane) -> Plane:
    """Maximum over 3 x 3 pixels, by shifts: several times faster on a CPU than a pooling layer."""
    for dim in (-1, -2):
        n = x.shape[dim] - 1
        before, after = x.narrow(dim, 0, n), x.narrow(dim, 1, n)
        y = x.clone()
        torch.maximum(before, after, out=y.narrow(dim, 0, n))
        torch.maximum(y.narrow(dim, 1, n), before, out=y.narrow(dim, 1, n))
        x = y
    return x


def _shares(codes: Int[Tensor, "tiles ..."], *, bins: int) -> Values:
    """Share of each code in 0..bins-1 among the pixels of each tile."""
    flat = codes.flatten(1)
    offsets = torch.arange(len(flat), device=codes.device)[:, None] * bins
    return torch.bincount((flat + offsets).flatten(), minlength=len(flat) * bins).view(-1, bins) / flat.shape[1]
