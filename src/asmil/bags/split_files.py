"""Splits that others made: CLAM csv, ACMIL json, a table of slide, fold and part, or a fold column."""

import json
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from asmil.bags.cohort import Cohort
from asmil.bags.columns import PART_OF, find_column, plain
from asmil.bags.splits import PARTS, Splits, draw_validation, patient_table
from asmil.bags.tables import SlideNames, listed, read_table, require_seen, table_file, without_point_zero
from asmil.errors import SplitError, blaming
from asmil.files import path_of, suffix_of

Parts = dict[str, list[str]]
"""The names in each part of a fold."""


def read_splits(path: str | Path | None, cohort: Cohort, *, val_fraction: float = 0.2, seed: int = 0) -> Splits:
    """Read and check splits for a cohort.

    `path` is a folder of CLAM `splits_{i}.csv` (or `_bool.csv`) or ACMIL `split_{i}.json` files, one such
    file, or a table with a column of slides and one of parts (of several folds one of folds too), or one of folds,
    each of which is tested once; None takes the cohort's own `fold` column so.
    Names may be slides or patients. Slides that the cohort set aside (named in its `problems`) are passed
    over. Where a fold has no validation part, one is drawn from its training patients, as `make_splits` does.

    Raises:
        SplitError: the form is unknown, slides are in a part of an unknown name, a slide is not in the cohort, a
            patient is in two parts of a fold.
    """
    named = _from_column(cohort) if path is None else _read(path_of(path, "a file of splits"))
    slides = cohort.table.set_index("slide")
    find = _Finder(cohort)
    rows = []
    for fold, parts in enumerate(_known_parts(parts, find, fold) for fold, parts in enumerate(named)):
        if not parts.get("test"):
            fix = "name the part that is reported 'test'; a missing 'val' is then drawn from 'train'"
            raise SplitError(
                f"fold {fold} has no test part",
                found=f"parts {listed(p for p in parts if parts[p])}",
                fix=fix,
            )
        rows += [(slide, fold, part) for part in PARTS for slide in find(parts.get(part, []))]
    table = pd.DataFrame(rows, columns=["slide", "fold", "part"]).drop_duplicates()
    table = table.assign(case=table["slide"].map(slides["case"]), label=table["slide"].map(slides["label"]))
    patients, drawn = patient_table(cohort), list[int]()
    for fold in range(len(named)):
        here = table["fold"] == fold
        if not (here & (table["part"] == "val")).any():
            drawn.append(fold)
            train = table["case"][here & (table["part"] == "train")].unique()
            val = draw_validation(patients.loc[sorted(train)], val_fraction, seed=(seed, fold))
            table.loc[here & (table["part"] == "train") & table["case"].isin(val), "part"] = "val"
    splits = Splits(table[["slide", "case", "label", "fold", "part"]], tuple(drawn))
    splits.check(cohort)
    return splits


def _known_parts(named: Parts, find: "_Finder", fold: int) -> Parts:
    """The parts as we call them. Other lists of a file are passed over, unless they name slides of the cohort."""
    parts: Parts = {}
    for called, names in named.items():
        part = _part(called)
        if part in parts:
            raise SplitError(f"fold {fold} has two parts that are {part}", found=listed(map(repr, named), 12))
        if part is not None:
            parts[part] = names
        elif ours := [name for name in names if find.of(name)]:
            raise SplitError(
                f"fold {fold} has slides in a part that is not known",
                found=f"{called!r} with {listed(ours)}",
                fix="call the parts train, val and test, and leave out slides that are to be in none",
            )
    return parts


class _Finder:
    """Slides of the cohort by slide or patient name."""

    def __init__(self, cohort: Cohort):
        self._slides = SlideNames(cohort.slides)
        self._of_case = {str(case): own.tolist() for case, own in cohort.table.groupby("case")["slide"]}
        self._aside = {problem.slide for problem in cohort.problems}
        self._aside_names = SlideNames(self._aside)

    def of(self, name: str) -> list[str]:
        """The slides that a name of a slide, of a file of scenes or of a patient means."""
        case = without_point_zero(name, self._of_case)
        return self._slides.find(name) or self._slides.scenes(name) or self._of_case.get(case, [])

    def __call__(self, names: Iterable[str]) -> list[str]:
        found: list[str] = []
        unknown = []
        for name in names:
            if len(several := self._slides.find(name)) > 1:
                raise SplitError(f"{name!r} can be several slides of the cohort", found=listed(several))
            slides = self.of(name)
            found += slides
            if not slides and not self._aside_names.find(name):
                unknown.append(name)
        if unknown:
            numbers = all(re.fullmatch(r"\d+\.0", name) for name in unknown)
            fix = (
                "remove them, or add them to the table of labels"
                if not numbers
                else ("names became numbers and lost their zeros in front: save that column as text")
            )
            raise SplitError("the split names slides that are not in the cohort", found=listed(unknown), fix=fix)
        return found


def _from_column(cohort: Cohort) -> list[Parts]:
    if "fold" not in cohort.table:
        raise SplitError("the cohort has no fold column", fix="add one, or give a file of splits")
    fold = cohort.table["fold"]
    if fold.isna().any():
        raise SplitError("slides have no fold", found=listed(cohort.table["slide"][fold.isna()]))
    return _tested_once(cohort.table["slide"], fold)


def _tested_once(slides: pd.Series, fold: pd.Series) -> list[Parts]:
    return [
        {"test": slides[fold == number].tolist(), "train": slides[fold != number].tolist()}
        for number in sorted(fold.unique())
    ]


def _read(path: Path) -> list[Parts]:
    if path.is_dir():
        files = _numbered(path)
        if not files:
            raise SplitError("the folder has no splits_*.csv or split_*.json", found=path)
        return [_read_fold(file) for file in files]
    if not table_file(path)[0].is_file():
        raise SplitError("there are no splits at this path", found=path)
    if suffix_of(path) == ".json":
        return [_read_fold(path)]
    table = read_table(path, judged=False)
    slide, fold, part = (find_column(table, role) for role in ("slide", "fold", "part"))
    if slide is None or not (part or fold) or any(map(_part, table.columns)):
        return [_read_fold(path)]
    used = [column for column in (slide, fold, part) if column]
    require_seen(table, path, used)
    table = table[(table[used] != "").any(axis=1)]  # a row of notes alone is no slide's
    numbers = pd.to_numeric(table[fold], errors="coerce") if fold else pd.Series(0.0, table.index)
    if not (np.isfinite(numbers) & (numbers == numbers.round())).all():
        raise SplitError(f"folds in {path.name} are not whole numbers", found=listed(map(repr, table[fold].unique())))
    if (numbers < 0).any():
        found = f"{int(numbers.min())} with {listed(table[slide][numbers == numbers.min()], 3)}"
        fix = "leave out slides that are to be in no fold, or name their part: part train in each fold"
        raise SplitError(
            f"folds in {path.name} are below 0, and it is not known whether they are folds", found=found, fix=fix
        )
    if part is None:
        return _tested_once(table[slide], numbers)
    return [
        {str(name): rows[slide].tolist() for name, rows in group.groupby(part)} for _, group in table.groupby(numbers)
    ]


def _numbered(folder: Path) -> list[Path]:
    """The files of a folder in the order of their numbers; `_bool` twins only where no plain file is."""
    for pattern in (r"splits?_(\d+)\.(csv|json)", r"splits?_(\d+)_bool\.csv"):
        found = [
            (int(m.group(1)), file)
            for file in folder.iterdir()
            if (m := re.fullmatch(pattern, file.name, re.IGNORECASE))
        ]
        if len(dict(found)) < len(found):
            names = listed(sorted(file.name for _, file in found), 12)
            raise SplitError(f"files of splits in {folder} have the same number", found=names, fix="keep one of each")
        if found:
            return [file for _, file in sorted(found)]
    return []


TRUE, FALSE = ("true", "1"), ("false", "0", "")


def _read_fold(path: Path) -> Parts:
    if suffix_of(path) == ".json":
        fix = "expected train_names, val_names and test_names, each a list of names"
        with blaming(SplitError, f"{path.name} is not JSON", fix=fix):
            content = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_once)
        lists = {key.removesuffix("_names"): value for key, value in content.items()} if type(content) is dict else {}
        named = {part: names for part, names in lists.items() if f"{part}_names" in content}
        if "train" not in map(_part, named):
            raise SplitError(f"{path.name} has no train_names", fix=fix)
        for part, names in named.items():
            if not isinstance(names, list) or not all(isinstance(name, str | int | float) for name in names):
                raise SplitError(f"{part}_names of {path.name} are no list of names", found=repr(names)[:80], fix=fix)
        return {part: [str(name) for name in names] for part, names in named.items()}
    table = read_table(path)
    parts = [column for column in table.columns if _part(column)]
    if "train" not in map(_part, parts):
        fix = "expected columns train, val, test, or slide, fold, part"
        raise SplitError(f"{path.name} is no known form of splits", found=f"columns {listed(table.columns)}", fix=fix)
    lower = table.map(str.lower)
    flags = lower.isin(TRUE + FALSE).all()
    if flags[parts].all() and table.columns[0] not in parts:  # CLAM's _bool form: the first column names the slides
        return {name: table.iloc[:, 0][lower[name].isin(TRUE)].tolist() for name in table.columns[1:] if flags[name]}
    return {str(part): [name for name in table[part] if name] for part in table.columns if part}


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError(f"a name is there twice: {listed(name for name, _ in pairs)}")
    return found


def _part(called: str) -> str | None:
    return PART_OF.get(plain(called))
