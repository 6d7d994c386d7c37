"""Data sets of slides: the user's features, the labels of the set and, where there is one, its official test part."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import shapely
import torch
from shapely.geometry.base import BaseGeometry

from asmil.annotations import find_annotation, read_annotations, require_classes
from asmil.bags.bag import Bag
from asmil.bags.cohort import Cohort
from asmil.bags.dataset_files import data_folder, find
from asmil.bags.dataset_rows import SlideSet
from asmil.bags.datasets import Dataset, DatasetError
from asmil.bags.labels import read_cohort
from asmil.bags.loading import load_bags
from asmil.bags.reading.entry import require_one_encoder, several_scales
from asmil.bags.reading.twins import HEAPED
from asmil.bags.split_files import read_splits
from asmil.bags.splits import Splits, draw_validation, patient_table
from asmil.bags.store import FeatureStore, open_features
from asmil.bags.tables import Problem, listed
from asmil.errors import SplitError, as_typed


def open_made_features(
    features: str | Path | None, encoder: str | None, *, name: str, slides: str, option: str = "features"
) -> FeatureStore:
    """The features of a dataset, which the user makes and names by `option`; `encoder` as in `open_features`.

    Raises:
        DatasetError: none given, or none there; the message has the command that makes them of `slides`.
        FeatureError: the path holds no tile features.
    """
    if features is not None and Path(features).expanduser().exists():
        return open_features(Path(features).expanduser(), encoder=encoder)
    embed = as_typed("asmil", "embed", "--slides", slides, "--out", f"runs/{name}")
    fix = f"run `{embed}`, then give {option}=runs/{name}/features"
    found = f"no {option} option" if features is None else f"no folder {features}"
    raise DatasetError(f"{name} needs tile features of its slides", found=found, fix=fix)


def usable(store: FeatureStore, labelled: Cohort) -> Cohort:
    """The slides whose features can be learned from; of the others the problems say why, as in `asmil crossval`.

    Raises:
        CohortError: none is left.
    """
    store.set_aside(store.read_through(labelled.slides)[1])
    return labelled.match(store.slides, unreadable=store.problems)


def of_one_kind(store: FeatureStore, bags: Sequence[Bag]) -> tuple[str, ...]:
    """What there is to know of the slides' features before they are learned from together.

    Raises:
        FeatureError: they are of several encoders.
    """
    infos = [store.info(bag.slide) for bag in bags]
    require_one_encoder(infos)
    told = several_scales(infos)
    # a bag has the places of its file, but where these are one and the same for all tiles
    placed = [info.coordinates == "level0" and info.tile_level0_px is not None for info in infos]
    if heaped := [bag.slide for bag, known in zip(bags, placed, strict=True) if known and bag.level0_xy is None]:
        told.append(f"{HEAPED} ({len(heaped)} of {len(bags)} slides: {listed(heaped)})")
    return tuple(told)


def load_slides(
    own: SlideSet, root: Path | None, features: str | Path | None, *, features_encoder: str | None
) -> Dataset:
    """A folder with `labels.csv` (slide_id, case_id, label), `slides/` and `annotations/`, or the folder above it.

    Slides without features are set aside and named in the cohort's problems.

    Raises:
        DatasetError: no such folder, or no features.
    """
    top = root or data_folder()
    name = own.name
    places = [] if top is None else [top, top / name]
    folder = next((place for place in places if (place / "labels.csv").is_file()), None)
    if folder is None:
        fix = f"give root=FOLDER with labels.csv, slides/ and annotations/, or set ASMIL_DATA to a folder with {name}/"
        raise DatasetError(f"the data of {name} are not found", found=top or "no root option, no ASMIL_DATA", fix=fix)
    store = open_made_features(features, features_encoder, name=name, slides=str(folder / "slides"))
    cohort = usable(store, read_cohort(folder / "labels.csv", features=store))
    annotations = folder / "annotations"
    return Dataset(
        name,
        bags := load_bags(store, cohort),
        cohort,
        remarks=of_one_kind(store, bags),
        annotations=annotations if annotations.is_dir() else None,
        positive=(own.positive,),
        source=own.source,
        licence=own.licence,
    )


@dataclass(frozen=True)
class Choices:
    """What a user may choose about an official cohort.

    `splits` are folds of others, in any form that `read_splits` reads; `val_fraction` and `seed` draw validation
    patients where there are none; `partial` goes on without slides that have no features.
    """

    features: str | Path | None
    features_encoder: str | None = None
    splits: str | Path | None = None
    val_fraction: float = 0.1
    seed: int = 0
    partial: bool = False


@dataclass(frozen=True)
class Official:
    """What is fixed: `table` has a row per slide with slide, case, label, part (train, val or test) and maybe site."""

    name: str
    table: pd.DataFrame
    classes: tuple[str, ...]
    source: str
    licence: str
    annotations: Path | None = None
    positive: tuple[str, ...] = ()


def find_table(root: Path | None, names: Sequence[str], *, name: str) -> Path:
    """The table of a cohort: `root` itself, or the first of the names in it or at most two folders below.

    Raises:
        DatasetError: no root, or nothing of these names.
    """
    path = None if root is None else find(root, names)
    if path is None:
        fix = f"give root=PATH of the table or of the folder with {' or '.join(names)}"
        raise DatasetError(f"the table of {name} is not found", found=root or "no root option", fix=fix)
    return path


def load_official(official: Official, choices: Choices) -> Dataset:
    """Bags of all official slides, and splits whose test part is the official one.

    Slide names are matched in any letter case and take the spelling of the feature files. Feature files of other slides
    are set aside and named in the cohort's problems.

    Raises:
        DatasetError: features of official slides are missing and `partial` is not set.
        SplitError: a slide in two parts, a patient in two parts of a fold, or (in `splits` of others) an official test
            slide in another part, or another slide in the test part.
    """
    store = open_made_features(choices.features, choices.features_encoder, name=official.name, slides="SLIDES")
    spelled = {slide.casefold(): slide for slide in store.slides}
    table = official.table.assign(slide=official.table["slide"].map(lambda s: spelled.get(s.casefold(), s)))
    _check_one_part(table)
    cohort = read_cohort(table, classes=official.classes)
    cohort = _with_features(cohort, store, official.name, choices.partial)
    part = dict(zip(table["slide"], table["part"], strict=True))
    if choices.splits is None:
        splits = _official_splits(cohort, part, choices)
    else:
        splits = read_splits(choices.splits, cohort, val_fraction=choices.val_fraction, seed=choices.seed)
        _check_test(splits, part)
    return Dataset(
        official.name,
        bags := load_bags(store, cohort),
        cohort,
        remarks=of_one_kind(store, bags),
        splits=splits,
        annotations=official.annotations,
        positive=official.positive,
        source=official.source,
        licence=official.licence,
    )


def _check_one_part(table: pd.DataFrame) -> None:
    parts = table.groupby("slide")["part"].agg(lambda parts: " and ".join(sorted(set(parts))))
    if (twice := parts.str.contains(" and ")).any():
        found = listed(f"{slide} in {where}" for slide, where in parts[twice].items())
        raise SplitError("slides are in two official parts", found=found, fix="correct the table")


def _with_features(cohort: Cohort, store: FeatureStore, name: str, partial: bool) -> Cohort:
    missing = [slide for slide in cohort.slides if slide not in store]
    if missing and not partial:
        found = f"{len(missing)} of {len(cohort)}: {listed(missing)}"
        fix = "make them, or give partial=True; results are then not those of the official protocol"
        raise DatasetError(f"official slides of {name} have no features", found=found, fix=fix)
    return cohort.match(store.slides, unreadable=store.problems)


def _official_splits(cohort: Cohort, part: dict[str, str], choices: Choices) -> Splits:
    table = cohort.table[["slide", "case", "label"]].assign(fold=0, part=cohort.table["slide"].map(part))
    if not (table["part"] == "val").any():
        train = table["part"] == "train"
        patients = patient_table(cohort).loc[sorted(set(table["case"][train]))]
        val = draw_validation(patients, choices.val_fraction, seed=(choices.seed, 0))
        table.loc[train & table["case"].isin(val), "part"] = "val"
    splits = Splits(table)
    splits.check(cohort)
    return splits


def _check_test(splits: Splits, part: dict[str, str]) -> None:
    """Raise where the test part of any fold is not within the official one, or official test slides are elsewhere."""
    official = splits.table["slide"].map(part) == "test"
    tested = splits.table["part"] == "test"
    for wrong, what in (
        (official & ~tested, "official test slides are used for training or validation"),
        (tested & ~official, "slides of the official training part are tested on"),
    ):
        if wrong.any():
            found = listed(splits.table["slide"][wrong].unique())
            raise SplitError(what, found=found, fix="use splits whose test part is the official one, or none")


# Needles: bags of real tiles, a few of them of other slides.

BAGS_PER_POOL = 4
Truth = Callable[[np.ndarray, float, BaseGeometry], np.ndarray]
"""(corners (tiles, 2), side of a tile, what is drawn), all in level-0 pixels: 1 positive, 0 negative, -1 neither."""
Places = list[tuple[str, int]]
"""Tiles, each by its slide and its row there."""


@dataclass(frozen=True)
class Needles:
    """Bags of `tiles_per_bag` negative tiles of the set `of`; `witness_rate` of them are of other slides.

    In positive bags those tiles are of the class `positive`, in the others negative as well.
    """

    name: str
    of: str
    positive: str
    tiles_per_bag: int
    witness_rate: float
    seed: int

    @property
    def witnesses(self) -> int:
        """How many tiles of a bag are of other slides, at least one."""
        return max(1, round(self.witness_rate * self.tiles_per_bag))

    @property
    def negatives_of_pool(self) -> int:
        """How many negative tiles a pool needs."""
        return BAGS_PER_POOL * self.tiles_per_bag

    @property
    def positives_of_group(self) -> int:
        """How many positive tiles a group needs."""
        return (BAGS_PER_POOL + 1) * self.witnesses

    def check(self) -> None:
        """Raise where no bag can be made by these numbers."""
        whole = [type(number) is int for number in (self.tiles_per_bag, self.seed)]
        if not all(whole) or self.tiles_per_bag < 1 or self.seed < 0 or not 0 < self.witness_rate <= 1:
            found = f"tiles_per_bag={self.tiles_per_bag}, witness_rate={self.witness_rate}, seed={self.seed}"
            fix = "give a whole number of tiles from 1 on, a share in (0, 1] and a whole number from 0 on as seed"
            raise DatasetError(f"bags of {self.name} cannot be made", found=found, fix=fix)


def load_needles(
    root: Path | None,
    annotations: str | Path | None,
    needles: Needles,
    *,
    features_encoder: str | None,
    truth: Truth,
    source: str,
) -> Dataset:
    """Bags of features in the folder `root`; what is positive says the folder `annotations`.

    A pool is a slide, or as many as it takes to cut `BAGS_PER_POOL` bags from its negative tiles at random. Two pools
    and slides for positive tiles are a group, and each slide is of one group at most: the group is the case of its
    bags, named by its slides. The tiles that leave a bag for those put in go to negative bags of the group's other
    pool: there too some tiles are of another slide, so that this alone says nothing. Every other group has two positive
    bags more than negative ones, the others two fewer: folds can be stratified by them. No tile is in two bags.

    Raises:
        DatasetError: no features or annotations, numbers that are impossible, or too few tiles.
        FeatureError, AnnotationError: files that cannot be read, or annotations without the positive class.
    """
    needles.check()
    place = f"{needles.of}/slides"
    store = open_made_features(root, features_encoder, name=needles.of, slides=place, option="root")
    truths, problems = _truths(store, _drawn(store, annotations, needles), truth)
    rng = np.random.default_rng(needles.seed)
    bags: list[Bag] = []
    labels = {}
    for number, (pools, donors) in enumerate(_groups(truths, needles, rng)):
        case = "+".join(sorted({slide for places in (*pools, donors) for slide, _ in places}))
        features = {slide: store.load(slide).features for slide in case.split("+")}
        for places, positive in _dealt(pools, donors, needles, rng=rng, rich=number % 2 == 0):
            name = f"{needles.name}_{len(bags):03d}"
            order = [places[row] for row in rng.permutation(len(places))]
            tiles = torch.stack([features[slide][row] for slide, row in order])
            bags.append(Bag(tiles, None, name, case, int(positive)))
            labels[name] = np.array([truths[slide][row] for slide, row in order], np.int8)
    classes = ("negative", "positive")
    rows = [(bag.slide, bag.case, classes[bag.label or 0]) for bag in bags]
    cohort = Cohort(pd.DataFrame(rows, columns=["slide", "case", "label"]), classes, problems)
    licence = "none stated; research use"
    return Dataset(needles.name, bags, cohort, tile_labels=labels, source=source, licence=licence)


def _dealt(
    pools: list[Places], donors: Places, needles: Needles, *, rng: np.random.Generator, rich: bool
) -> list[tuple[Places, bool]]:
    """The tiles of each bag of a group and whether it is positive; tiles come in random order."""
    count, size = needles.witnesses, needles.tiles_per_bag
    is_positive = np.arange(2 * BAGS_PER_POOL) < BAGS_PER_POOL + (1 if rich else -1)
    dealt = []
    for bag, positive in enumerate(rng.permutation(is_positive)):
        own, number = divmod(bag, BAGS_PER_POOL)
        kept = pools[own][number * size + count : (number + 1) * size]
        if positive:
            put_in, donors = donors[:count], donors[count:]
        else:
            put_in = pools[1 - own][number * size :][:count]
        dealt.append((kept + put_in, bool(positive)))
    return dealt


def _groups(
    truths: dict[str, np.ndarray], needles: Needles, rng: np.random.Generator
) -> list[tuple[list[Places], Places]]:
    """Of each group two pools of negative tiles and its positive tiles, in random order; no slide is in two groups.

    A slide gives either negative or positive tiles; one that has both gives those of which fewer groups have enough.
    """
    slides = [sorted(truths)[index] for index in rng.permutation(len(truths))]
    rows = {value: {slide: np.flatnonzero(truths[slide] == value) for slide in slides} for value in (0, 1)}
    needed = {0: needles.negatives_of_pool, 1: needles.positives_of_group}
    full: dict[int, list[Places]] = {0: [], 1: []}
    filling: dict[int, Places] = {0: [], 1: []}

    def groups_of(value: int) -> float:
        pools = len(full[value]) + len(filling[value]) / needed[value]
        return pools if value else pools / 2

    for slide in sorted(slides, key=lambda s: bool(len(rows[0][s]) and len(rows[1][s]))):  # those without choice first
        if values := [value for value in (0, 1) if len(rows[value][slide])]:
            value = min(values, key=groups_of)
            pool = filling[value] + [(slide, int(row)) for row in rows[value][slide]]
            filling[value] = pool
            if len(pool) >= needed[value]:
                full[value].append([pool[index] for index in rng.permutation(len(pool))])
                filling[value] = []
    groups = list(zip(zip(full[0][::2], full[0][1::2], strict=False), full[1], strict=False))
    if not groups:
        tiles = [sum(map(len, rows[value].values())) for value in (0, 1)]
        found = f"{tiles[0]} negative and {tiles[1]} positive tiles in {len(slides)} slides"
        fix = f"a group takes {2 * needed[0]} and {needed[1]}, of different slides: use fewer tiles per bag"
        raise DatasetError(f"there are too few tiles for bags of {needles.name}", found=found, fix=fix)
    return [(list(pools), donors) for pools, donors in groups]


def _truths(
    store: FeatureStore, drawn: dict[str, BaseGeometry], truth: Truth
) -> tuple[dict[str, np.ndarray], list[Problem]]:
    """The truth of the tiles of each slide that is annotated; the others are problems."""
    what = "has no annotation file: its tiles are not used"
    problems = [Problem(slide, what, "annotate it") for slide in store.slides if slide not in drawn]
    truths = {}
    for slide in store.slides:
        if slide in drawn:
            bag = store.stream(slide)
            xy, side = bag.level0_xy, bag.tile_level0_px
            if xy is None or side is None:
                fix = "use the features of `asmil embed`"
                raise DatasetError(f"the tiles of {slide} have no level-0 positions", found=store.path, fix=fix)
            truths[slide] = truth(xy.numpy().astype(np.float64), float(side), drawn[slide])
    return truths, problems


def _drawn(store: FeatureStore, annotations: str | Path | None, needles: Needles) -> dict[str, BaseGeometry]:
    """The areas and points that say what is positive, by slide of those that are annotated."""
    top = data_folder()
    folder = Path(annotations).expanduser() if annotations is not None else top and top / needles.of / "annotations"
    paths = {slide: find_annotation(folder, slide) for slide in store.slides} if folder else {}
    read = {slide: read_annotations(path) for slide, path in paths.items() if path}
    if not read:
        fix = f"give annotations=FOLDER with a file per slide, or set ASMIL_DATA to a folder with {needles.of}/"
        found = folder or "no annotations option, no ASMIL_DATA"
        raise DatasetError(f"the annotations of {needles.of} are not found", found=found, fix=fix)
    positive = [needles.positive]
    require_classes(read.values(), positive)
    return {
        slide: drawn.area_of(positive).union(shapely.multipoints(drawn.points_of(positive)))
        for slide, drawn in read.items()
    }
