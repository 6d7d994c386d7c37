"""Pictures that look like stained tissue: stroma, glands, lymphocytes, planted tumour."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

# Ruifrok & Johnston 2001: optical density of haematoxylin and eosin per RGB channel.
HAEMATOXYLIN = np.array([0.65, 0.70, 0.29], np.float32)
EOSIN = np.array([0.07, 0.99, 0.11], np.float32)
STAMP_PX = 29  # side of the square a nucleus is drawn in


@dataclass(frozen=True)
class Nuclei:
    """How the nuclei of one tissue look: distance between them, half axes and stain density."""

    spacing_px: float
    long_px: float
    short_px: float
    density: float
    spread: float  # relative variation of size and density


STROMA = Nuclei(spacing_px=34, long_px=7.0, short_px=2.4, density=0.75, spread=0.20)
GLAND = Nuclei(spacing_px=13, long_px=5.6, short_px=4.0, density=0.75, spread=0.10)
LYMPHOCYTES = Nuclei(spacing_px=10.5, long_px=4.0, short_px=3.7, density=1.25, spread=0.08)
TUMOUR = Nuclei(spacing_px=18.5, long_px=9.0, short_px=6.6, density=1.0, spread=0.28)


@dataclass
class Canvas:
    """Stain densities (h, w) of a slide being drawn, and where there is tissue."""

    rng: np.random.Generator
    size_px: tuple[int, int]
    tissue: np.ndarray = field(init=False)
    haematoxylin: np.ndarray = field(init=False)
    eosin: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        shape = self.size_px[::-1]
        self.tissue = np.zeros(shape, bool)
        self.haematoxylin = np.zeros(shape, np.float32)
        self.eosin = np.zeros(shape, np.float32)

    def noise(self, cell_px: float) -> np.ndarray:
        """Smooth noise (h, w) of mean 0 and standard deviation about 1 whose grains are `cell_px` wide."""
        width, height = self.size_px
        if cell_px < 5:  # nobody sees such fine grains repeat
            patch = self._grains((256, 256), cell_px)
            repeats = (-(-height // 256), -(-width // 256))
            return np.tile(patch, repeats)[:height, :width]
        coarse = max(1, int(cell_px // 8))
        picture = self._grains((width // coarse + 1, height // coarse + 1), cell_px / coarse)
        return _resized(picture, self.size_px, Image.Resampling.BILINEAR) if coarse > 1 else picture[:height, :width]

    def _grains(self, size_px: tuple[int, int], cell_px: float) -> np.ndarray:
        shape = [max(2, round(side / cell_px) + 1) for side in size_px[::-1]]
        return _resized(self.rng.standard_normal(shape, dtype=np.float32) * 1.25, size_px, Image.Resampling.BICUBIC)

    @cached_property
    def _cytoplasm(self) -> np.ndarray:
        return self.noise(14)

    def add_islands(self, number: int) -> None:
        """Cover the glass with `number` pieces of tissue with ragged edges and a few holes."""
        half = Canvas(self.rng, ((self.size_px[0] + 1) // 2, (self.size_px[1] + 1) // 2))  # four times faster
        width, height = half.size_px
        y, x = (side.astype(np.float32) for side in np.ogrid[:height, :width])
        ragged = 0.16 * half.noise(min(width, height) / 4) + 0.05 * half.noise(20) + 0.02 * half.noise(6)
        for index in range(number):
            middle = (
                width * (index + self.rng.uniform(0.4, 0.6)) / number,
                height * self.rng.uniform(0.42, 0.58),
            )
            axes = (0.42 * width / number, 0.42 * height)
            half.tissue |= np.hypot((x - middle[0]) / axes[0], (y - middle[1]) / axes[1]) + ragged < 1.0
        half.tissue &= half.noise(35) + 0.3 * half.noise(12) < 2.6  # vessels and tears
        doubled = Image.fromarray(half.tissue).convert("L").resize(self.size_px, Image.Resampling.BILINEAR)
        self.tissue = np.asarray(doubled) > 127

    def deep_point(self, margin_px: float) -> tuple[float, float]:
        """A random point (x, y) with tissue around it, about `margin_px` from the picture's border."""
        box = 64
        share = np.asarray(Image.fromarray(self.tissue).convert("L").reduce(box)) / 255
        ys, xs = np.indices(share.shape) * box + box // 2
        width, height = self.size_px
        inside = (xs > margin_px) & (xs < width - margin_px) & (ys > margin_px) & (ys < height - margin_px)
        best = np.where(inside, share, -1.0)
        y, x = np.nonzero(best >= min(0.97, best.max()))
        pick = self.rng.integers(len(x))
        nudge = self.rng.uniform(0, box, 2)
        return float(x[pick] * box + nudge[0]), float(y[pick] * box + nudge[1])

    def blob(self, centre: tuple[float, float], radius_px: float) -> np.ndarray:
        """Corners (64, 2) of an irregular region about a centre, inside the picture, in pixels (x, y)."""
        angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
        wobble = sum(
            self.rng.normal(0, 0.22 / k) * np.cos(k * angle + self.rng.uniform(0, 2 * np.pi)) for k in range(1, 6)
        )
        radius = radius_px * np.clip(1 + wobble, 0.4, 1.6)
        corners = np.stack([centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)], 1)
        return np.clip(corners, 2, np.array(self.size_px) - 3).round(1)

    def fill(self, corners: np.ndarray) -> np.ndarray:
        """The pixels (h, w) inside a polygon."""
        picture = Image.new("1", self.size_px)
        ImageDraw.Draw(picture).polygon([tuple(corner) for corner in corners], fill=1)
        return np.asarray(picture)

    def positions(self, region: np.ndarray, spacing_px: float) -> np.ndarray:
        """Points (n, 2) of a region on a jittered grid, so that neighbours rarely overlap."""
        width, height = self.size_px
        y, x = np.mgrid[0 : height : spacing_px * 0.87, 0:width:spacing_px]
        x = x + (np.arange(len(y)) % 2)[:, None] * spacing_px / 2
        points = np.stack([x.ravel(), y.ravel()], 1)
        points = points + self.rng.normal(0, spacing_px * 0.2, points.shape)
        points = points[((points >= 0) & (points < [width, height])).all(1)]
        column, row = points.astype(int).T
        return points[region[row, column]]

    def add_nuclei(self, points: np.ndarray, kind: Nuclei, *, angle: np.ndarray | None = None) -> None:
        """Draw one nucleus at each point (n, 2), turned by `angle` (n,) radians or at random."""
        n = len(points)
        if n == 0:
            return
        angle = self.rng.uniform(0, np.pi, n) if angle is None else angle
        size = np.clip(self.rng.normal(1, kind.spread, n), 0.5, 1.6)
        density = kind.density * np.clip(self.rng.normal(1, kind.spread, n), 0.5, 1.6)
        half = STAMP_PX // 2
        corner = points.astype(int) - half
        y, x = np.mgrid[:STAMP_PX, :STAMP_PX].astype(np.float32)
        dx = x[None] + (corner[:, 0] - points[:, 0])[:, None, None].astype(np.float32)
        dy = y[None] + (corner[:, 1] - points[:, 1])[:, None, None].astype(np.float32)
        cos, sin = (f(angle)[:, None, None].astype(np.float32) for f in (np.cos, np.sin))
        scale = size[:, None, None].astype(np.float32)
        radius = np.hypot(
            (dx * cos + dy * sin) / (kind.long_px * scale), (dy * cos - dx * sin) / (kind.short_px * scale)
        )
        # a rim darker than the middle: chromatin lies along the nuclear membrane
        edge = np.clip((1.08 - radius) * 0.5 * kind.short_px, 0, 1)
        stamp = edge * (0.72 + 0.28 * np.minimum(radius, 1)) * density[:, None, None].astype(np.float32)
        row = (corner[:, 1, None, None] + np.arange(STAMP_PX)[None, :, None]).astype(np.int64)
        column = (corner[:, 0, None, None] + np.arange(STAMP_PX)[None, None, :]).astype(np.int64)
        height, width = self.tissue.shape
        seen = (stamp > 0.02) & (row >= 0) & (row < height) & (column >= 0) & (column < width)
        flat = np.broadcast_to(row * width + column, stamp.shape)[seen]
        np.maximum.at(self.haematoxylin.reshape(-1), flat, stamp[seen])

    def add_stroma(self) -> None:
        """Pink wavy fibres over all tissue, with thin nuclei along them."""
        height, width = self.tissue.shape
        y, x = (side.astype(np.float32) for side in np.ogrid[:height, :width])
        turn = self.rng.uniform(0, np.pi)
        across = x * float(np.cos(turn)) + y * float(np.sin(turn))
        wave = np.sin(across / 7.0 + 5.0 * self.noise(260) + 1.2 * self.noise(60))
        self.eosin = 0.30 + 0.07 * wave + 0.06 * self.noise(90) + 0.05 * self.noise(9) + 0.03 * self.noise(3)
        self.haematoxylin += 0.05 + 0.02 * self.noise(30)
        points = self.positions(self.tissue, STROMA.spacing_px)
        points = points[self.rng.random(len(points)) < 0.7]
        self.add_nuclei(points, STROMA, angle=self.rng.normal(turn + np.pi / 2, 0.35, len(points)))

    def clear(self, region: np.ndarray, *, eosin: float, haematoxylin: float) -> None:
        """Replace what was drawn in a region by an even cytoplasm of the given densities."""
        self.tissue |= region
        grain = self._cytoplasm[region]
        self.eosin[region] = eosin + 0.04 * grain
        self.haematoxylin[region] = haematoxylin + 0.03 * grain

    def add_glands(self, number: int) -> None:
        """Healthy glands: a clear lumen, and one regular ring of nuclei."""
        for _ in range(number):
            centre, radius = np.array(self.deep_point(80)), self.rng.uniform(26, 52)
            angle = np.linspace(0, 2 * np.pi, round(2 * np.pi * radius / GLAND.spacing_px), endpoint=False)
            outward = np.stack([np.cos(angle), np.sin(angle) * self.rng.uniform(0.7, 1.0)], 1)
            self.clear(self.fill(centre + outward * (radius + 9)), eosin=0.24, haematoxylin=0.14)
            lumen = self.fill(centre + outward * radius * 0.55)
            self.eosin[lumen], self.haematoxylin[lumen] = 0.02, 0.01
            self.add_nuclei(centre + outward * radius, GLAND, angle=angle)

    def add_lymphocytes(self, corners: np.ndarray) -> None:
        """A crowd of small round dark nuclei: dark like tumour, and harmless."""
        region = self.fill(corners)
        self.clear(region, eosin=0.22, haematoxylin=0.10)
        self.add_nuclei(self.positions(region, LYMPHOCYTES.spacing_px), LYMPHOCYTES)

    def add_tumour(self, corners: np.ndarray) -> None:
        """Large, uneven, crowded nuclei in little stroma."""
        region = self.fill(corners)
        nests = region & (np.abs(self.noise(46)) > 0.17)  # thin septa of stroma stay between the nests
        self.clear(nests, eosin=0.27, haematoxylin=0.22)
        self.tissue |= region
        self.add_nuclei(self.positions(nests, TUMOUR.spacing_px), TUMOUR)

    def rgb(self, stain: np.ndarray) -> np.ndarray:
        """The picture, uint8 (h, w, 3): light through stains of colours (2, 3), by Beer-Lambert."""
        soft = Image.fromarray(self.tissue).convert("L").filter(ImageFilter.BoxBlur(1))
        edge = np.asarray(soft, np.float32) / 255
        pixels = np.empty((*self.tissue.shape, 3), np.uint8)
        glass = 0.012 + 0.004 * self.noise(1.5)
        pixels[...] = (255 - 255 * np.clip(glass, 0, 1))[..., None]
        covered = edge > 0
        h = np.clip(self.haematoxylin * (1 + 0.10 * self.noise(2.5)), 0, 2.2)[covered] * edge[covered]
        e = np.clip(self.eosin[covered], 0, 1.5) * edge[covered]
        for channel in range(3):
            density = h * stain[0, channel] + e * stain[1, channel] + glass[covered]
            pixels[..., channel][covered] = 255 * np.exp(-np.maximum(density, 0))
        return pixels


def _resized(values: np.ndarray, size_px: tuple[int, int], how: Image.Resampling) -> np.ndarray:
    return np.asarray(Image.fromarray(values).resize(size_px, how))
