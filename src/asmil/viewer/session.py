"""What the page is offered of slides, of whatever they are: tiles and pixels, annotations and layers."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from asmil.annotations import Annotations
from asmil.bags import FeatureStore
from asmil.errors import AsmilError, FeatureError, NotOfferedError, RunError, ScaleError, SlideError
from asmil.files import Facts
from asmil.runs import spacing
from asmil.slides import name_of, scan_slides, slide_named
from asmil.viewer.pyramid import Picture, Pyramid
from asmil.viewer.said import Verdicts

if TYPE_CHECKING:
    from asmil.bags import Bag

UNKNOWN = 255
"""Truth of a tile of a slide that nobody annotated."""

KEPT_SLIDES = 32


@dataclass(frozen=True)
class Sheet:
    """One slide as it is drawn: its pixels, and its tiles in units of level-0 pixels ("px") or micrometres ("um").

    `level0_xy` int32 (tiles, 2) and `side` are in these units, `mpp` is um per unit or None. `says` tells what is
    missing, in sentences.
    """

    picture: Picture
    level0_xy: np.ndarray
    side: float
    unit: str
    mpp: float | None
    reader: str
    says: tuple[str, ...]


class LayersOf(Protocol):
    """What can be laid over the slides of a view: `asmil.viewer.layers`."""

    def offered(self, slide: str) -> list[Facts]:
        """The layers of a slide for a menu: `id`, `group`, `label`."""

    def values(self, slide: str, layer: str) -> np.ndarray:
        """A layer as float64 (tiles,)."""

    def evidence(self, slide: str) -> np.ndarray:
        """Evidence (tiles, classes)."""

    def unrest(self, slide: str) -> dict[str, float | None]:
        """How little the attention of a slide is settled, in nats: of `seeds` and of `epochs`, None where unknown."""


class View:
    """Slides that were opened to be looked at: of a run (`RunView`), or new ones (`PredictionsView`).

    `says` is what holds for all of them, in sentences; empty where there is nothing to say. `layers` has the values
    that can be laid over a slide.
    """

    predicts_new = False
    layers: LayersOf

    def __init__(
        self, folder: Path, slides: Sequence[str], *, pyramid: Pyramid, slides_folder: Path | None, stamp: int
    ):
        self.folder, self.slides, self.pyramid, self.slides_folder = folder.resolve(), slides, pyramid, slides_folder
        # in every address: a browser must not show tiles that it kept of another run
        self.token = hashlib.sha256(f"{self.folder} {stamp}".encode()).hexdigest()[:16]
        self.says = ""
        self.verdicts = Verdicts(self.folder)
        self.sheet = lru_cache(KEPT_SLIDES)(self._sheet)
        self.annotations = lru_cache(KEPT_SLIDES)(self._annotations)
        self.truth = lru_cache(KEPT_SLIDES)(self._truth)

    @property
    def name(self) -> str:
        """What the folder is called."""
        return self.folder.name

    @property
    def classes(self) -> list[str]:
        """The classes in the order of the probabilities."""
        raise NotImplementedError

    @property
    def store(self) -> FeatureStore | None:
        """The features, or None where they are not at hand."""
        raise NotImplementedError

    @property
    def features(self) -> Path:
        """Where the features should be."""
        raise NotImplementedError

    def mpp(self, slide: str) -> float | None:
        """The um per level-0 pixel of a slide, as far as it is known without its file."""
        raise NotImplementedError

    def thumbnail_file(self, slide: str) -> Path:
        """The thumbnail of a slide, if it has one."""
        raise NotImplementedError

    def heading(self) -> Facts:
        """What is said of all slides together, beside name and classes."""
        raise NotImplementedError

    def rows(self) -> list[Facts]:
        """What is said of each slide: see `views.row_of`."""
        raise NotImplementedError

    def said_of(self) -> list[Facts]:
        """The rows that `verdicts.csv` is begun with: what else a table of labels says belongs in them."""
        return self.rows()

    def slide(self, number: int) -> str:
        """The name of a slide by its place in the table.

        Raises:
            NotOfferedError: there are fewer slides.
        """
        if not 0 <= number < len(self.slides):
            raise NotOfferedError("there is no such slide", found=f"number {number}, of {len(self.slides)}")
        return self.slides[number]

    @cached_property
    def paths(self) -> dict[str, Path]:
        """The slide files at hand, by name."""
        folder = self.slides_folder
        return {name_of(path): path for path in scan_slides(folder)} if folder and folder.is_dir() else {}

    def bag(self, slide: str) -> "Bag":
        """The features of a slide.

        Raises:
            FeatureError, RunError: as `store_of`.
        """
        return self.store_of(slide).load(slide, slide_mpp=self.mpp(slide))

    def store_of(self, slide: str) -> FeatureStore:
        """The features, to read those of a slide.

        Raises:
            FeatureError: they are not at hand. RunError: they are not those that were trained on.
        """
        if self.store is None:
            raise FeatureError(
                "the features are not at hand",
                found=self.features,
                fix="start in the folder where they were found when this was made, or bring them back",
            )
        return self.store

    def picture(self, slide: str) -> Picture:
        """Where the pixels of a slide should be; whether they can be read is not yet known."""
        file = slide_named(slide, self.paths)
        thumbnail = self.thumbnail_file(slide)
        return Picture(
            (1, 1),
            path=file.path if file else None,
            scene=file.scene if file else None,
            mpp=self.mpp(slide),
            thumbnail=thumbnail if thumbnail.is_file() else None,
        )

    def _sheet(self, slide: str) -> Sheet:
        picture, reader, mpp, says = self.picture(slide), "", None, list[str]()
        if picture.path is not None:
            try:
                picture, mpp, reader = self._opened(picture)
                says += [] if mpp else ["The scale of the slide is unknown: no scale bar."]
            except SlideError as error:
                says.append(f"The slide file cannot be read: {error}")
                picture = replace(picture, path=None)
        else:
            where = f"not in {self.slides_folder}" if self.slides_folder else "nothing here names their folder"
            says.append(f"The slide file is not at hand ({where}); give --slides FOLDER for its full depth.")
        level0_xy, side, unit = self._tiles(slide, mpp or picture.mpp, says=says)
        if picture.path is None:
            extent = (level0_xy.max(axis=0) + side) if len(level0_xy) else np.array([1000, 1000])
            picture = replace(picture, size=self.stated_size(slide, unit) or (int(extent[0]), int(extent[1])))
            picture = picture if unit == "px" else replace(picture, thumbnail=None)
            says.append("Shown is the stored thumbnail." if picture.thumbnail else "Shown are the tiles alone.")
            mpp = 1.0 if unit == "um" else picture.mpp
        elif len(level0_xy) and (level0_xy.max(axis=0) + side / 2 > picture.size).any():
            says.append("Tiles lie outside this slide: the features are of another file, or of another level 0.")
        return Sheet(picture, level0_xy, side, unit, mpp, reader, tuple(says))

    def _opened(self, picture: Picture) -> tuple[Picture, float | None, str]:
        """The picture with its size, its mpp if that is known, and the reader."""
        try:
            size, mpp, reader = self.pyramid.look(picture)
        except ScaleError:  # pixels are pixels: only the scale bar needs micrometres
            picture = replace(picture, mpp=1.0)
            size, mpp, reader = *self.pyramid.look(picture)[:1], None, self.pyramid.look(picture)[2]
        return replace(picture, size=size), mpp, reader

    def _tiles(self, slide: str, mpp: float | None, *, says: list[str]) -> tuple[np.ndarray, float, str]:
        """Corners int32 (tiles, 2), side and unit; no tiles, with the reason in `says`, where there are none."""
        nothing = np.empty((0, 2), np.int32), 1.0, "px"
        try:
            store = self.store_of(slide)
            bag = store.load(slide, slide_mpp=mpp)
            side, xy = bag.tile_level0_px, bag.level0_xy
            if xy is not None:
                corners = xy.numpy()
                return corners.astype(np.int32), float(side or spacing(corners)), "px"
            um = store.um_xy(slide)
            if um is not None:
                return np.rint(um).astype(np.int32), float(store.info(slide).tile_um or spacing(um)), "um"
            says.append("The features have no coordinates: there is nothing to lay over the slide.")
        except (FeatureError, RunError) as error:
            says.append(str(error))
        return nothing

    def stated_size(self, slide: str, unit: str) -> tuple[int, int] | None:
        """Level-0 size of a slide that is not at hand, where the feature file says it."""
        if unit != "px" or self.store is None or slide not in self.store:
            return None
        return self.store.info(slide).slide_size

    def bounds(self, slide: str) -> tuple[int, int, int, int] | None:
        """The scanned part of a slide, where its feature file says that it is not the whole."""
        return None if self.store is None or slide not in self.store else self.store.info(slide).bounds

    @property
    def positive(self) -> list[str]:
        """The classes of the annotations that are looked for."""
        return []

    def _annotations(self, slide: str) -> Annotations | None:
        return None

    def _truth(self, slide: str) -> np.ndarray:
        """Which tiles are positive: uint8 (tiles,) of 0, 1 and `UNKNOWN`."""
        return np.full(len(self.sheet(slide).level0_xy), UNKNOWN, np.uint8)

    def values(self, slide: str, layer: str) -> np.ndarray:
        """The layer as float32 (tiles,), in the order of the sheet's tiles.

        Raises:
            NotOfferedError: there is no such layer.
            RunError: attention and features have different numbers of tiles.
        """
        values, tiles = self.layers.values(slide, layer), len(self.sheet(slide).level0_xy)
        if len(values) != tiles:
            raise RunError(
                f"attention and features of {slide} disagree",
                found=f"{len(values)} attention values, {tiles} tiles",
                fix="give the features the run was trained on",
            )
        return values.astype(np.float32)

    def trouble(self, slide: str) -> list[str]:
        """What is wrong with the annotations of a slide, as sentences."""
        try:
            self.annotations(slide)
        except AsmilError as error:
            return [f"The annotations cannot be read: {error}"]
        return []
