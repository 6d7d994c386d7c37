"""One slide of a run: where its tiles are, what it looks like, and where the models looked."""

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from asmil.bags import FeatureStore
from asmil.errors import RunError
from asmil.files import file_stamp
from asmil.runs.reading import reading

if TYPE_CHECKING:
    from torch import nn

    from asmil.runs.cell import Cell
    from asmil.runs.folder import Run

EMPTY_PX, EMPTY_GREY = 600, 236
"""The longer side and the grey of the sheet that stands for a slide without a thumbnail."""


@dataclass(frozen=True)
class TilePlaces:
    """Where the tiles of a slide are: corners (tiles, 2) and side in level-0 pixels.

    `stated_size`, width and height of the slide in level-0 pixels, and `slide_mpp`, um per level-0 pixel, are None
    where nothing says them. `bounds` (x, y, width, height) is the scanned part, None where that is all.
    """

    level0_xy: np.ndarray
    tile_level0_px: float
    stated_size: tuple[int, int] | None = None
    slide_mpp: float | None = None
    bounds: tuple[int, int, int, int] | None = None

    @property
    def slide_size(self) -> tuple[int, int]:
        """Width and height in level-0 pixels, as far as the tiles reach where they are not stated."""
        if self.stated_size is not None:
            return self.stated_size
        width, height = self.level0_xy.max(axis=0) + self.tile_level0_px
        return int(width), int(height)

    @property
    def width_um(self) -> float | None:
        """The width of the slide."""
        return self.slide_size[0] * self.slide_mpp if self.slide_mpp else None


def tiles_of(store: FeatureStore, slide: str, *, slide_mpp: float | None = None) -> TilePlaces | None:
    """The tiles of a slide, by its feature file; None where that has no coordinates in level-0 pixels.

    `slide_mpp` is for files that have them in micrometres. The side of tiles that no file says is their least distance.
    """
    bag = store.stream(slide, slide_mpp=slide_mpp)
    if bag.level0_xy is None or not len(bag):
        return None
    level0_xy = bag.level0_xy.numpy().astype(np.float64)
    side = float(bag.tile_level0_px or spacing(level0_xy))
    info = store.info(slide)
    return TilePlaces(level0_xy, side, info.slide_size, slide_mpp, info.bounds)


def spacing(xy: np.ndarray) -> float:
    """The smallest distance of columns or rows of tiles (tiles, 2): their side, where nothing says it."""
    steps = [np.diff(np.unique(axis)) for axis in np.asarray(xy).T]
    return float(min((step.min() for step in steps if len(step)), default=256.0))


def picture_of(thumbnail: Path, size: tuple[int, int]) -> np.ndarray:
    """A thumbnail uint8 (h, w, 3), or where there is none an empty sheet of the shape of a slide (width, height).

    Raises:
        RunError: the file is no picture.
    """
    if thumbnail.is_file():
        with reading(thumbnail, fix="delete it: the slide is then drawn on grey"), Image.open(thumbnail) as image:
            return np.asarray(image.convert("RGB"))
    factor = EMPTY_PX / max(size)
    width, height = (max(round(length * factor), 1) for length in size)
    return np.full((height, width, 3), EMPTY_GREY, dtype=np.uint8)


ModelOf = Callable[["Cell", int], "nn.Module"]


KEPT_MODELS = 64
"""Models of a run that are kept read: most have fewer, and all slides are tested by these."""


def model_of(run: "Run") -> ModelOf:
    """The model of a cell for features of so many dimensions. The last are kept for the next slide, in each thread its
    own, as long as their file is as it was.

    Raises:
        RunError: when called: weights that cannot be used, or do not fit.
    """
    kept = run.__dict__.setdefault("_models", threading.local())
    if not hasattr(kept, "read"):

        def read(cell: "Cell", in_dim: int, *stamp: int) -> "nn.Module":
            return cell.model(run.settings, len(run.classes), in_dim=in_dim)[0]

        kept.read = lru_cache(maxsize=KEPT_MODELS)(read)
    return lambda cell, in_dim: kept.read(cell, in_dim, *file_stamp(cell.weights) or ())


def mean_evidence(
    run: "Run", slide: str, *, cells: "Sequence[Cell]", store: FeatureStore | None, model: ModelOf
) -> np.ndarray:
    """What `RunSlide.evidence` is, of those of some models that were tested on the slide, by features of this store.

    `model` reads them (`model_of`): whoever goes through many slides reads each once.

    Raises:
        RunError, AttentionError: as there.
    """
    what, tested = f"there is no evidence of the tiles of {slide}", run.tested_on(slide)
    from asmil.models import evidence  # torch, which only this needs

    cells = [cell for cell in cells if cell in tested]
    if not run.classifies_slides:
        found = run.task_name if run.task is not None else "bags of patients"
        raise RunError(what, found=found, fix="it is there for classification of slides")
    if store is None or slide not in store or not cells:
        found = "no model that was tested on it" if not cells else f"no features of it at {run.settings.features}"
        raise RunError(what, found=found, fix="bring the features back to where the run found them")
    bag = store.load(slide, slide_mpp=run.slide(slide).mpp)
    return np.mean([evidence(model(cell, bag.features.shape[1]), bag).array for cell in cells], axis=0)


@lru_cache(maxsize=256)  # the weights of a model are asked for with every slide that it was tested on
def _content(path: Path, *stamp: int) -> str:
    """The digest of a file that has this stamp; "" where there is none."""
    return blake2b(path.read_bytes(), digest_size=12).hexdigest() if stamp else ""


class RunSlide:
    """A slide of a run by name."""

    def __init__(self, run: "Run", name: str):
        self.run, self.name = run, name

    @cached_property
    def mpp(self) -> float | None:
        """The um per level-0 pixel that the feature file, the cohort or the settings say."""
        store, cohort = self.run.store, self.run.cohort
        said = [store.info(self.name).slide_mpp if store is not None and self.name in store else None]
        if "mpp" in cohort:
            said += cohort["mpp"][cohort["slide"] == self.name].tolist()
        stated = (value for value in [*said, self.run.settings.slide_mpp] if value and math.isfinite(value))
        return next(stated, None)

    @cached_property
    def store(self) -> FeatureStore | None:
        """The features of the run where they have this slide; None where they are not at hand.

        Raises:
            RunError: those of the slide changed after training.
        """
        store = self.run.store
        if store is None or self.name not in store:
            return None
        self.run.require_features([self.name])
        return store

    @cached_property
    def tiles(self) -> TilePlaces | None:
        """Where its tiles are; None where its features are not at hand, or have no level-0 coordinates.

        Raises:
            RunError: they changed after training.
        """
        return None if self.store is None else tiles_of(self.store, self.name, slide_mpp=self.mpp)

    @cached_property
    def attentions(self) -> list[np.ndarray]:
        """The attention float64 (tiles,) of each model that was tested on it."""
        maps = (cell.attention(self.name) for cell in self.run.tested_on(self.name))
        return [attention.astype(np.float64) for attention in maps if attention is not None]

    @property
    def attention(self) -> np.ndarray | None:
        """The mean of those: float64 (tiles,); None where none was kept."""
        return np.mean(self.attentions, axis=0) if self.attentions else None

    @cached_property
    def evidence(self) -> np.ndarray:
        """What each tile says for each class: float64 (tiles, classes), mean of the models that were tested on it.

        In logits less their mean over the classes (`asmil.models.evidence`), computed from the features at each opening
        of the run.

        Raises:
            RunError: a run of another task or of patients, a slide without features or tests or with others than were
                trained on, or weights that cannot be used. AttentionError: of such a model there is none.
        """
        run = self.run
        return mean_evidence(run, self.name, cells=run.tested_on(self.name), store=self.store, model=model_of(run))

    @property
    def thumbnail(self) -> Path:
        """Where its thumbnail is, if it has one."""
        return self.run.thumbnail_file(self.name)

    def stamp(self, *further: object, files: Sequence[Path | None] = ()) -> str | None:
        """A digest of what can be drawn of it; None where it has no attention or no tiles.

        It is of the content of all of them: attention, places, weights, thumbnail, further `files`, and of the features
        as much as `FeatureStore.content` looks at. So the same run has the same wherever it lies.
        """
        attention, tiles, store = self.attention, self.tiles, self.store
        if attention is None or tiles is None or store is None:
            return None
        weights = [cell.weights for cell in self.run.tested_on(self.name)]
        paths = [self.thumbnail, *weights, *files]
        contents = [_content(path, *file_stamp(path) or ()) for path in paths if path is not None]
        features = store.content(self.name).digest
        facts = (version("asmil"), self.name, replace(tiles, level0_xy=np.empty(0)), features, contents, further)
        digest = blake2b(repr(facts).encode(), digest_size=12)
        for array in (attention, tiles.level0_xy):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()
