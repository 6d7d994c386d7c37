"""Data sets of slides: the user's features, the labels of the set and, where there is one, its official test part."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from asmil.bags.cohort import Cohort, read_cohort
from asmil.bags.dataset_files import data_folder, find
from asmil.bags.datasets import Dataset, DatasetError
from asmil.bags.loading import load_bags
from asmil.bags.split_files import read_splits
from asmil.bags.splits import Splits, draw_validation, patient_table
from asmil.bags.store import FeatureStore, open_features
from asmil.bags.tables import listed
from asmil.errors import SplitError


def open_made_features(features: str | Path | None, *, name: str, slides: str) -> FeatureStore:
    """The features of a dataset, which the user makes.

    Raises:
        DatasetError: none given, or none there; the message has the command that makes them of `slides`.
        FeatureError: the path holds no tile features.
    """
    if features is not None and Path(features).expanduser().exists():
        return open_features(Path(features).expanduser())
    fix = f"run 'asmil embed --slides {slides} --out runs/{name}', then give features=runs/{name}/features"
    found = "no features option" if features is None else f"no folder {features}"
    raise DatasetError(f"{name} needs tile features of its slides", found=found, fix=fix)


def load_slides(
    root: Path | None, features: str | Path | None, *, name: str, positive: str, source: str, licence: str
) -> Dataset:
    """A folder with `labels.csv` (slide_id, case_id, label), `slides/` and `annotations/`, or the folder above it.

    Slides without features are set aside and named in the cohort's problems.

    Raises:
        DatasetError: no such folder, or no features.
    """
    top = root or data_folder()
    places = [] if top is None else [top, top / name]
    folder = next((place for place in places if (place / "labels.csv").is_file()), None)
    if folder is None:
        fix = f"give root=FOLDER with labels.csv, slides/ and annotations/, or set ASMIL_DATA to a folder with {name}/"
        raise DatasetError(f"the data of {name} are not found", found=top or "no root option, no ASMIL_DATA", fix=fix)
    store = open_made_features(features, name=name, slides=str(folder / "slides"))
    cohort = read_cohort(folder / "labels.csv", features=store)
    annotations = folder / "annotations"
    return Dataset(
        name,
        load_bags(store, cohort),
        cohort,
        annotations=annotations if annotations.is_dir() else None,
        positive=(positive,),
        source=source,
        licence=licence,
    )


@dataclass(frozen=True)
class Choices:
    """What a user may choose about an official cohort.

    `splits` are folds of others, in any form that `read_splits` reads; `val_fraction` and `seed` draw validation
    patients where there are none; `partial` goes on without slides that have no features.
    """

    features: str | Path | None
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
    store = open_made_features(choices.features, name=official.name, slides="SLIDES")
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
        load_bags(store, cohort),
        cohort,
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
    return cohort.match(store.slides)


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
