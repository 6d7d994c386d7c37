"""Feature files of any known tool, opened as one set of slides and read as bags."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from asmil.bags._mapped import MappedEntry, mapped
from asmil.bags._places import scan
from asmil.bags.bag import Bag
from asmil.bags.formats._entry import Entry, FeatureInfo, geometry_of, info_of, read_rows
from asmil.bags.names import SlideNames, slide_name
from asmil.bags.problem import Problem, listed
from asmil.errors import FeatureError

if TYPE_CHECKING:
    from asmil.bags.cohort import Cohort


def open_features(path: str | Path, *, encoder: str | None = None) -> "FeatureStore":
    """Open a folder of feature files (searched recursively) or one file.

    The format of each file is recognised by its content. Only shapes are read, so that a cohort opens in
    seconds. Where a slide has features of several encoders, in several folders or tables of one file, `encoder`
    names the folder or table to read, or the beginning of its name.

    Raises:
        FeatureError: nothing there holds tile features, or the features of several runs of `asmil embed` do; the
        message says what was found instead.
    """
    return FeatureStore(path, encoder=encoder)


class FeatureStore:
    """The slides under a path. Files that cannot be used are named in `problems`, never silently left out."""

    def __init__(self, path: str | Path, *, encoder: str | None = None):
        self.path = Path(path)
        if not self.path.exists():
            raise FeatureError("there are no features at this path", found=self.path)
        self.problems: list[Problem]
        self._places, self.problems = scan(self.path, encoder=encoder)
        self._mapped: dict[str, MappedEntry | None] = {}
        self.slides: list[str] = sorted(self._places)
        self._names = SlideNames(self.slides)
        if not self.slides:
            fix = self.problems[0].fix if self.problems else ""
            found = (
                listed(self.problems, 1)
                or "no .h5, .pt, .zarr, .npy or .csv file of features; coordinates alone are none"
            )
            raise FeatureError(f"no tile features in {self.path}", found=found, fix=fix or _FOLDER_FIX)
        self.dim: int = self._common_dim()

    def __len__(self) -> int:
        return len(self.slides)

    def __contains__(self, slide: str) -> bool:
        return len(self._names.find(slide)) == 1

    @property
    def formats(self) -> dict[str, int]:
        """How many slides are in each format."""
        return dict(Counter(place.format for place in self._places.values()))

    def info(self, slide: str) -> FeatureInfo:
        """What is known about a slide's features; reads coordinates at most.

        Raises:
            FeatureError: no such slide, or its file is damaged.
        """
        name = self._find(slide)
        place = self._places[name]
        with place.entry() as entry:
            return info_of(entry, slide=name, path=place.path, format=place.format)

    def load(
        self, slide: str, *, rows: Sequence[int] | np.ndarray | None = None, slide_mpp: float | None = None
    ) -> Bag:
        """Read a slide (only the given rows, in the given order) as a bag without label; dtype as stored.

        Coordinates stored in micrometres become level-0 pixels where `slide_mpp`, the um per pixel of level
        0, is given; else the bag has none.

        Raises:
            FeatureError: no such slide, no tiles, another dimension, NaN or infinite values, or a damaged
            file.
        """
        name = self._find(slide)
        place = self._places[name]
        with self._entry(name) as (entry, finite):
            tiles, dim, side, _ = geometry_of(entry, place.path)
            if dim != self.dim:
                raise FeatureError(f"{place.path.name} has dimension {dim}, the other slides {self.dim}")
            chosen = _chosen_rows(tiles, rows, keep=entry.keep)
            features = read_rows(entry.features, chosen)
            coords = None if entry.coords is None else read_rows(entry.coords, chosen)
        if not finite:
            _check_finite(features, place.path)
            if chosen is None and (mapping := self._mapped[name]) is not None:
                self._mapped[name] = replace(mapping, finite=True)
        level0_xy, scale = coords, entry.um_per_unit
        if coords is not None and scale is not None:
            level0_xy = coords * (scale / slide_mpp) if slide_mpp else None
            side = entry.tile_um / slide_mpp if slide_mpp and entry.tile_um else None
        return Bag(
            features=torch.from_numpy(features),
            level0_xy=None if level0_xy is None else torch.from_numpy(np.rint(level0_xy).astype(np.int64)),
            slide=slide,
            tile_level0_px=side,
            mpp=entry.mpp,
        )

    @contextmanager
    def _entry(self, slide: str) -> Iterator[tuple[Entry, bool]]:
        """What a slide's file says, and whether its features are known to be finite.

        From the second time on the file is not opened as HDF5, where that is possible.
        """
        place, mapping = self._places[slide], self._mapped.get(slide)
        if mapping is not None and (known := mapping.entry()) is not None:
            yield known, mapping.finite
            return
        with place.entry() as entry:
            self._mapped[slide] = mapped(entry, place.path, side=geometry_of(entry, place.path)[2])
            yield entry, False

    def um_xy(self, slide: str) -> np.ndarray | None:
        """Top-left corners in micrometres, float64 (tiles, 2), or None where the file has no such scale."""
        with self._places[self._find(slide)].entry() as entry:
            scale = entry.um_per_unit or entry.slide_mpp
            if entry.coords is None or scale is None:
                return None
            return read_rows(entry.coords, entry.keep).astype(np.float64) * scale

    def check(self, *, deep: bool = False) -> list[Problem]:
        """All known problems; `deep` also reads every slide and finds NaN, damage and equal content."""
        if not deep:
            return list(self.problems)
        found = list(self.problems)
        seen: dict[bytes, str] = {}
        for slide in self.slides:
            path = self._places[slide].path
            try:
                features = self.load(slide).features
            except FeatureError as error:
                found.append(Problem(slide, error.what, error.fix or "extract the slide again", path))
                continue
            twin = seen.setdefault(blake2b(features.numpy().tobytes()).digest(), slide)
            if twin != slide:
                found.append(Problem(slide, f"has the same features as {twin}", "keep one of the two", path))
        return found

    def _find(self, slide: str) -> str:
        match self._names.find(slide):
            case [name]:
                return name
            case []:
                own = [problem for problem in self.problems if problem.slide in (slide, slide_name(slide))]
                found = listed(own, 1) or f"slides such as {listed(self.slides, 3)}"
                raise FeatureError(f"there are no features of slide {slide!r} in {self.path}", found=found)
            case several:
                raise FeatureError(f"slide {slide!r} can be several feature files", found=listed(several))

    def _first_dim(self) -> int:
        """The dimension of the first slide that can be read, for files whose shape is not known unread."""
        for slide in self.slides:
            try:
                return self.info(slide).dim
            except FeatureError as error:
                problem = Problem(slide, error.what, error.fix or "", self._places[slide].path)
        raise FeatureError(f"no file in {self.path} can be read", found=problem, fix=_FOLDER_FIX)

    def _common_dim(self) -> int:
        """The dimension of most slides; slides of another one are set aside."""
        shapes = {slide: place.shape for slide, place in self._places.items() if place.shape is not None}
        if not shapes:
            return self._first_dim()
        dim = Counter(shape[1] for shape in shapes.values()).most_common(1)[0][0]
        for slide, shape in shapes.items():
            if shape[1] != dim:
                what = f"dimension {shape[1]}, most slides have {dim}"
                path = self._places.pop(slide).path
                self.problems.append(Problem(slide, what, "extract it with the same encoder", path))
        self.slides = sorted(self._places)
        self._names = SlideNames(self.slides)
        return dim


_FOLDER_FIX = "give the folder of tile features that asmil embed, TRIDENT, CLAM or STAMP wrote"


def load_bags(store: FeatureStore, cohort: "Cohort", slides: Sequence[str] | None = None) -> list[Bag]:
    """Bags with label and patient, in the order of `slides` (all of the cohort if None).

    Where the cohort has an `mpp` column, coordinates in micrometres become level-0 pixels by it.

    Raises:
        FeatureError: a slide without usable features.
        CohortError: a slide that the cohort does not have.
    """
    cohort = cohort if slides is None else cohort.subset(slides)
    mpps = cohort.table["mpp"] if "mpp" in cohort.table else [None] * len(cohort)
    bags = []
    for slide, case, label, mpp in zip(cohort.slides, cohort.cases, cohort.labels, mpps, strict=True):
        bag = store.load(slide, slide_mpp=None if mpp is None or np.isnan(mpp) else float(mpp))
        fields = {**vars(bag), "case": case, "label": int(label)}
        bags.append(Bag(**fields))
    return bags


def _chosen_rows(tiles: int, rows: Sequence[int] | np.ndarray | None, *, keep: np.ndarray | None) -> np.ndarray | None:
    if rows is None:
        return keep
    tiles = tiles if keep is None else len(keep)
    rows = np.asarray(rows, dtype=np.int64)
    if len(rows) == 0 or rows.min() < 0 or rows.max() >= tiles:
        raise FeatureError("rows must be among the tiles of the slide, and at least one", found=f"{tiles} tiles")
    return rows if keep is None else keep[rows]


def _check_finite(features: np.ndarray, path: Path) -> None:
    if features.dtype == np.float16:
        # By bit patterns, 6 times as fast as isfinite: exponents all ones are the largest among either sign.
        sound = features.view(np.int16).max() < 0x7C00 and features.view(np.uint16).max() < 0xFC00
    else:
        sound = bool(np.isfinite(features).all())
    if not sound:
        tiles = np.flatnonzero(~np.isfinite(features).all(1))
        found = f"{len(tiles)} of {len(features)} tiles, the first in row {tiles[0]}"
        raise FeatureError(f"{path.name} holds NaN or infinite values", found=found, fix="extract the slide again")
