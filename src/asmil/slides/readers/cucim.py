"""TIFF-like slides through cuCIM, where it is installed and no reader before it knows the file."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from asmil.errors import SlideError
from asmil.files import suffix_of


class CucimReader:
    """A file that cuCIM opens. Seen right with cuCIM 26.10, which needs no GPU: pixels, borders, scale of TIFF."""

    order = 60
    vendor = "cucim"
    objective = None

    def __init__(self, path: Path):
        self.detect(path)
        from cucim import CuImage

        try:
            self._image = CuImage(str(path))
        except (RuntimeError, ValueError, OSError) as error:
            raise SlideError(f"cuCIM cannot open {path}", found=str(error)) from error
        found, spacing = self._image.resolutions, self._image.spacing()
        self.path = path
        self.level_sizes = tuple((int(w), int(h)) for w, h in found["level_dimensions"])
        self.downsamples = tuple(float(down) for down in found["level_downsamples"])
        um = list(self._image.spacing_units())[:2] == ["micrometer", "micrometer"]
        self.file_mpp = (float(spacing[1]), float(spacing[0])) if um else None  # (y, x, channel)
        self.bounds = (0, 0, *self.level_sizes[0])

    @staticmethod
    def detect(path: Path) -> str:
        """Name the format; SlideError without cuCIM, or for what cannot be of its formats."""
        if find_spec("cucim") is None:
            raise SlideError("the package cucim is not installed")
        if suffix_of(path) not in (".svs", ".tif", ".tiff"):
            raise SlideError("not one of .svs, .tif, .tiff")
        return "cucim"

    def read_level(self, level: int, level0_xy: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
        """Read uint8 (height, width, 3), white outside the slide."""
        down, (level_w, level_h) = self.downsamples[level], self.level_sizes[level]
        pixels = np.full((size[1], size[0], 3), 255, np.uint8)
        x, y = (round(side / down) for side in level0_xy)
        left, top, right, bottom = max(x, 0), max(y, 0), min(x + size[0], level_w), min(y + size[1], level_h)
        if left < right and top < bottom:
            corner = round(left * down), round(top * down)
            region = self._image.read_region(location=corner, size=(right - left, bottom - top), level=level)
            pixels[top - y : bottom - y, left - x : right - x] = np.asarray(region)[..., :3]
        return pixels

    def close(self) -> None:
        """Close the file; closing twice is harmless."""
        self._image.close()


READER = CucimReader
