"""A slide's features with every fact that a layout may ask for, and the errors where one is unknown."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import h5py
import numpy as np

from asmil.bags.reading.entry import FeatureInfo, number
from asmil.bags.store import FeatureStore
from asmil.errors import FeatureError
from asmil.files import written_beside

T = TypeVar("T")


@dataclass(frozen=True)
class SlideTiles:
    """The features of a slide (tiles, dim) as stored, and what is known of its tiles; None where it is not.

    `level0_xy` are top-left corners in level-0 pixels, `um_xy` in micrometres; `tile_level0_px` and `tile_um` the
    side of a tile, `tile_px` its side at the tiles' own scale `mpp`; `slide_mpp` is the scale of level 0.
    """

    slide: str
    features: np.ndarray
    info: FeatureInfo
    level0_xy: np.ndarray | None
    um_xy: np.ndarray | None
    tile_level0_px: float | None
    tile_um: float | None
    tile_px: int | None
    mpp: float | None
    slide_mpp: float | None

    @property
    def encoder(self) -> str:
        """The encoder's name, "unknown" where no file says it."""
        return self.info.encoder or "unknown"

    def need(self, name: str) -> np.ndarray:
        """The coordinates of this name.

        Raises:
            FeatureError: the file has none, or none at this scale.
        """
        if (value := getattr(self, name)) is not None:
            return value
        if self.info.coordinates is None:
            what, fix = f"{self.slide} has no coordinates of its tiles", "; ".join(self.info.notes) or None
            raise FeatureError(what, found=f"a file of format {self.info.format}", fix=fix)
        raise FeatureError(f"the scale of the slide {self.slide} is unknown", fix=_FIX["slide_mpp"])

    def fact(self, name: str) -> float:
        """The number of this name.

        Raises:
            FeatureError: it is unknown; the message names the option that states it.
        """
        if (value := getattr(self, name)) is None:
            raise FeatureError(f"the {name} of slide {self.slide} is unknown", fix=_FIX[name])
        return value


_FIX = {
    "slide_mpp": "give --slide-mpp, or --labels with a column mpp",
    "tile_px": "give --tile-px, the side of a tile as the encoder saw it",
    "mpp": "give --tile-px and, where level 0 has no scale, --slide-mpp",
    "tile_um": "give --slide-mpp, or --labels with a column mpp",
    "tile_level0_px": "give --slide-mpp, or --labels with a column mpp",
}


def read_slide(
    store: FeatureStore, slide: str, *, slide_mpp: float | None = None, tile_px: int | None = None
) -> SlideTiles:
    """Read a slide; `slide_mpp` and `tile_px` are used where the file does not say them.

    Raises:
        FeatureError: the slide cannot be read.
    """
    info = store.info(slide)
    slide_mpp = info.slide_mpp or slide_mpp
    bag = store.load(slide, slide_mpp=slide_mpp)
    side, tile_um = bag.tile_level0_px, info.tile_um
    if tile_um is None and side is not None and slide_mpp is not None:
        tile_um = side * slide_mpp
    tile_px = stated_side(info, tile_um=tile_um) or tile_px
    level0_xy = None if bag.level0_xy is None else bag.level0_xy.numpy()
    um_xy = store.um_xy(slide)
    if um_xy is None and level0_xy is not None and slide_mpp is not None:
        um_xy = level0_xy * slide_mpp
    return SlideTiles(
        slide=slide,
        features=bag.features.numpy(),
        info=info,
        level0_xy=level0_xy,
        um_xy=um_xy,
        tile_level0_px=side,
        tile_um=tile_um,
        tile_px=tile_px,
        mpp=info.mpp or (tile_um / tile_px if tile_um and tile_px else None),
        slide_mpp=slide_mpp,
    )


def stated_side(info: FeatureInfo, *, tile_um: float | None) -> int | None:
    """The side of a tile in pixels at its own scale, as a file states it or as it follows from its micrometres."""
    stated = number(info.provenance, "tile_px", "tile_size_px")
    stated = stated or (number(info.provenance, "patch_size") if info.format == "trident" else None)
    if stated is None and info.mpp and tile_um:
        stated = tile_um / info.mpp
    return round(stated) if stated else None


def half(tiles: SlideTiles) -> np.ndarray:
    """The features in float16.

    Raises:
        FeatureError: a value is too large for float16.
    """
    largest = np.abs(tiles.features).max()
    if largest > np.finfo(np.float16).max:
        fix = "the layouts clam and trident keep float32"
        raise FeatureError(f"the features of {tiles.slide} do not fit float16", found=f"{largest:g}", fix=fix)
    return tiles.features.astype(np.float16)


@contextmanager
def new_hdf5(path: Path) -> Iterator[h5py.File]:
    """A new HDF5 file, there only when it is complete."""
    with written_beside(path) as partial, h5py.File(partial, "w") as file:
        yield file


def appendable(file: h5py.File, name: str, *, data: np.ndarray, rows: int) -> h5py.Dataset:
    """A dataset in chunks of `rows` rows that can grow, as CLAM and TRIDENT write theirs."""
    return file.create_dataset(name, data=data, chunks=(rows, *data.shape[1:]), maxshape=(None, *data.shape[1:]))
