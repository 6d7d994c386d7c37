"""Splits that others made: CLAM csv, ACMIL json, a table of slide, fold and part, or a fold column."""

import json
import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from asmil.bags.cohort import Cohort
from asmil.bags.columns import find_column
from asmil.bags.splits import PARTS, Splits, draw_validation, patient_table
from asmil.bags.tables import SlideNames, listed, read_table, without_point_zero
from asmil.errors import SplitError, blaming

Named = list[dict[str, list[str]]]
"""Per fold: the names in each part."""


def read_splits(path: str | Path | None, cohort: Cohort, *, val_fraction: float = 0.2, seed: int = 0) -> Splits:
    """Read and check splits for a cohort.

    `path` is a folder of CLAM `splits_{i}.csv` (or `_bool.csv`) or ACMIL `split_{i}.json` files, one such
    file, or a csv with columns slide, fold and part; None takes the cohort's own `fold` column as test folds.
    Names may be slides or patients. Slides that the cohort set aside (named in its `problems`) are passed
    over. Where a fold has no validation part, one is drawn from its training patients, as `make_splits` does.

    Raises:
        SplitError: the form is unknown, a slide is not in the cohort, a patient is in two parts of a fold.
    """
    named = _from_column(cohort) if path is None else _read(Path(path))
    slides = cohort.table.set_index("slide")
    find = _Finder(cohort)
    rows = []
    for fold, parts in enumerate(named):
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
    patients = patient_table(cohort)
    for fold in range(len(named)):
        here = table["fold"] == fold
        if not (here & (table["part"] == "val")).any():
            train = table["case"][here & (table["part"] == "train")].unique()
            val = draw_validation(patients.loc[sorted(train)], val_fraction, seed=(seed, fold))
            table.loc[here & (table["part"] == "train") & table["case"].isin(val), "part"] = "val"
    splits = Splits(table[["slide", "case", "label", "fold", "part"]])
    splits.check(cohort)
    return splits


class _Finder:
    """Slides of the cohort by slide or patient name."""

    def __init__(self, cohort: Cohort):
        self._slides = SlideNames(cohort.slides)
        self._of_case = {str(case): own.tolist() for case, own in cohort.table.groupby("case")["slide"]}
        self._aside = {problem.slide for problem in cohort.problems}
        self._aside_names = SlideNames(self._aside)

    def __call__(self, names: Iterable[str]) -> list[str]:
        found: list[str] = []
        unknown = []
        for name in names:
            slides = self._slides.find(name)
            if len(slides) > 1:
                raise SplitError(f"{name!r} can be several slides of the cohort", found=listed(slides))
            case = without_point_zero(name, self._of_case)
            slides = slides or self._slides.scenes(name) or self._of_case.get(case, [])
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


def _from_column(cohort: Cohort) -> Named:
    if "fold" not in cohort.table:
        raise SplitError("the cohort has no fold column", fix="add one, or give a file of splits")
    fold = cohort.table["fold"]
    if fold.isna().any():
        raise SplitError("slides have no fold", found=listed(cohort.table["slide"][fold.isna()]))
    slides = cohort.table["slide"]
    return [
        {"test": slides[fold == number].tolist(), "train": slides[fold != number].tolist()}
        for number in sorted(fold.unique())
    ]


def _read(path: Path) -> Named:
    if path.is_dir():
        files = _numbered(path)
        if not files:
            raise SplitError("the folder has no splits_*.csv or split_*.json", found=path)
        return [_read_fold(file) for file in files]
    if not path.is_file():
        raise SplitError("there are no splits at this path", found=path)
    if path.suffix == ".json":
        return [_read_fold(path)]
    table = read_table(path)
    slide, fold, part = (find_column(table, role) for role in ("slide", "fold", "part"))
    if slide and fold and part:
        table = table.assign(_number=pd.to_numeric(table[fold], errors="coerce"))
        if table["_number"].isna().any():
            raise SplitError(f"folds in {path.name} are not numbers", found=listed(table[fold].unique()))
        return [
            {str(name): rows[slide].tolist() for name, rows in group.groupby(part)}
            for _, group in table.groupby("_number")
        ]
    return [_read_fold(path)]


def _numbered(folder: Path) -> list[Path]:
    """The files of a folder in the order of their numbers; `_bool` twins only where no plain file is."""
    for pattern in (r"splits?_(\d+)\.(csv|json)", r"splits?_(\d+)_bool\.csv"):
        found = [(int(m.group(1)), file) for file in folder.iterdir() if (m := re.fullmatch(pattern, file.name))]
        if found:
            return [file for _, file in sorted(found)]
    return []


def _read_fold(path: Path) -> dict[str, list[str]]:
    if path.suffix == ".json":
        fix = "expected train_names, val_names and test_names, each a list of names"
        with blaming(SplitError, f"{path.name} is not JSON", fix=fix):
            content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or "train_names" not in content:
            raise SplitError(f"{path.name} has no train_names", fix=fix)
        named = {part: content.get(f"{part}_names", []) for part in PARTS}
        for part, names in named.items():
            if not isinstance(names, list) or not all(isinstance(name, str | int | float) for name in names):
                raise SplitError(f"{part}_names of {path.name} are no list of names", found=repr(names)[:80], fix=fix)
        return {part: [str(name) for name in names] for part, names in named.items()}
    table = read_table(path)
    parts = [part for part in PARTS if part in table.columns]
    if "train" not in parts:
        fix = "expected columns train, val, test, or slide, fold, part"
        raise SplitError(f"{path.name} is no known form of splits", found=f"columns {listed(table.columns)}", fix=fix)
    flags = table[parts].map(str.lower)
    if flags.isin(["true", "false", ""]).all(axis=None):  # CLAM's _bool form: the slides are the unnamed first column
        return {part: table.iloc[:, 0][flags[part] == "true"].tolist() for part in parts}
    return {part: [name for name in table[part] if name] for part in parts}
