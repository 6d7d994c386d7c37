"""The checked table of a study: which slide belongs to which patient and has which label."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from asmil.bags.tables import (
    Problem,
    SlideNames,
    canonical_labels,
    find_column,
    listed,
    read_table,
    slide_name,
    sorted_classes,
    tcga_case,
    tcga_site,
)
from asmil.errors import CohortError
from asmil.files import write_text
from asmil.shown import Shown
from asmil.slides import file_name
from asmil.units import plausible_mpp

if TYPE_CHECKING:
    from asmil.bags.store import FeatureStore
    from asmil.tasks import Task

COLUMNS = ("slide", "case", "label", "site", "mpp", "fold")
TARGET = "target_"
"""How the columns begin that hold the numbers of another task than classification."""

_PROBLEM = "_problem"


@dataclass(frozen=True, repr=False)
class Cohort(Shown):
    """Slides with patient and label.

    `table` has one row per slide: slide, case and label as text, and where known site (text), mpp (um per
    pixel of level 0) and fold. `classes` fixes the class indices. `problems` name every row or file that was
    set aside.

    With a `task` other than classification, columns `target_<name>` hold the numbers that are learned, and the label
    is the stratum by which splits are balanced.
    """

    table: pd.DataFrame
    classes: tuple[str, ...]
    problems: list[Problem] = field(default_factory=list)
    task: "Task | None" = None

    def __len__(self) -> int:
        return len(self.table)

    def facts(self) -> dict[str, object]:
        """Slides, patients, slides of each class (or the task), and how many rows were set aside."""
        counts = self.table["label"].value_counts()
        said: dict[str, object] = {"slides": len(self), "patients": self.table["case"].nunique()}
        if self.task is not None:
            said["task"] = f"{self.task.name} of {', '.join(self.task.columns)}"
        else:
            said["classes"] = ", ".join(f"{name} ({counts.get(name, 0):,})" for name in self.classes)
        return said | ({"set aside": len(self.problems)} if self.problems else {})

    @property
    def slides(self) -> list[str]:
        """Slide names, in the order of the table."""
        return self.table["slide"].tolist()

    @property
    def cases(self) -> list[str]:
        """The patient of each slide."""
        return self.table["case"].tolist()

    @cached_property
    def labels(self) -> np.ndarray:
        """Class index of each slide, int64 (slides,)."""
        index = {name: i for i, name in enumerate(self.classes)}
        return self.table["label"].map(index).to_numpy(np.int64)

    @cached_property
    def targets(self) -> np.ndarray | None:
        """What a task learns of each slide, float64 (slides, width); None for classification."""
        names = [TARGET + name for name in self.task.target_names] if self.task else targets_of(self.table)
        return self.table[names].to_numpy(np.float64) if names else None

    def subset(self, slides: Iterable[str]) -> "Cohort":
        """These slides in this order, with the same classes.

        Raises:
            CohortError: a slide that is not in the cohort.
        """
        row = {slide: i for i, slide in enumerate(self.slides)}
        slides = list(slides)
        if unknown := [slide for slide in slides if slide not in row]:
            raise CohortError("slides are not in the cohort", found=listed(unknown))
        return replace(self, table=self.table.iloc[[row[slide] for slide in slides]].reset_index(drop=True))

    def match(self, names: Iterable[str], *, unreadable: Iterable[Problem] = ()) -> "Cohort":
        """The slides that are among `names` (of files); all others on either side become problems.

        A row that names a file of several scenes becomes a row for each of them, of the same case and label; a scene
        that has a row of its own keeps that. A row whose file is there and `unreadable` says what is wrong with it.

        Raises:
            CohortError: no slide is among the names.
        """
        names = list(names)
        index, keep = SlideNames(names), list[tuple[int, str]]()
        used: dict[str, str] = {}
        problems = list(self.problems)
        wrong = {problem.slide: problem for problem in unreadable}
        broken = SlideNames(list(wrong))
        own = {slide: index.find(slide) for slide in self.slides}
        named = {name for found in own.values() for name in found}
        for row, slide in enumerate(self.slides):
            found = own[slide]
            scenes = [] if found else [name for name in index.scenes(slide) if name not in named]
            if len(found) > 1:
                problems.append(Problem(slide, f"can be several files: {listed(found)}", "give the full name"))
            elif not found and not scenes:
                said = [wrong[name] for name in broken.find_or_file(slide)] or [
                    Problem(slide, "has a label but no file")
                ]
                problems += [replace(problem, slide=slide) for problem in said]
            elif taken := [used[name] for name in found + scenes if name in used]:
                problems.append(Problem(slide, f"is the same file as {taken[0]}", "keep one of the two rows"))
            else:
                used |= dict.fromkeys(found + scenes, slide)
                keep += [(row, name) for name in scenes or [slide]]
        problems += [Problem(name, "has a file but no label") for name in sorted(set(names) - used.keys())]
        if not keep:
            sample = f"the table has {listed(self.slides, 3)}; the files are {listed(names, 3)}"
            raise CohortError("no slide of the table has a file", found=sample, fix="check the slide column")
        table = self.table.iloc[[row for row, _ in keep]].reset_index(drop=True)
        return replace(self, table=table.assign(slide=[name for _, name in keep]), problems=problems)

    def save(self, path: str | Path) -> None:
        """Write the table as csv."""
        write_text(path, self.table.to_csv(index=False))

    @classmethod
    def load(cls, path: str | Path, *, classes: Sequence[str] | None = None) -> "Cohort":
        """Read what `save` wrote; `classes` for a part of a cohort that lacks some."""
        cohort, saved = read_cohort(path, classes=classes), read_table(path).set_index("slide")
        numbers = saved.loc[cohort.slides, targets_of(saved)].replace("", "nan").astype(np.float64)
        table = pd.concat([cohort.table, numbers.reset_index(drop=True)], axis=1)
        return replace(cohort, table=table)


def read_cohort(
    labels: str | Path | pd.DataFrame,
    *,
    slide_table: str | Path | pd.DataFrame | None = None,
    label: str = "label",
    slide_column: str | None = None,
    case_column: str | None = None,
    site_column: str | None = None,
    task: "Task | None" = None,
    classes: Sequence[str] | None = None,
    features: "FeatureStore | str | Path | None" = None,
    slides: str | Path | Iterable[str | Path] | None = None,
) -> Cohort:
    """Read a table of labels (csv, tsv, xlsx; columns are recognised in any case and under usual names).

    Two forms: one row per slide (CLAM: `case_id, slide_id, label`), or one row per patient with
    `slide_table`, which maps patients to slides (STAMP: `PATIENT, FILENAME`). Without a patient column, TCGA
    barcodes name the patient, else every slide counts as a patient. Classes are sorted; `classes` gives
    another order or a choice of them. With `features` (a store or its path) or `slides` (a folder of slides,
    or their names) only slides that are there are kept (`Cohort.match`).

    A `task` (`asmil.tasks.create_task`) reads its own columns instead of `label`: the cohort then has its targets, and
    rows that it cannot read become problems.

    Raises:
        CohortError: a column is missing; a slide has two labels or two patients; fewer than two classes.
    """
    rows = read_table(labels)
    if task is not None:
        (rows, task), label = with_targets(rows, task), "label"
    raw, problems = joined(rows, slide_table, label=label, slide_column=slide_column, case_column=case_column)
    table, unusable = cleaned(raw, site_column, classes=None if classes is None else [str(c) for c in classes])
    check_contradictions(table)
    repeated = table["slide"].duplicated()
    problems += unusable + [Problem(slide, "is in the table more than once") for slide in table["slide"][repeated]]
    table = with_sites(table[~repeated].reset_index(drop=True))
    mixed = different(table, of="case")
    if (mixed > 1).any():
        what = f"{(mixed > 1).sum()} patients have slides of different labels: {listed(mixed.index[mixed > 1])}"
        problems.append(Problem("", what, "intended where labels are per slide"))
    found = sorted_classes(table["label"].tolist())
    known = found if classes is None else tuple(str(c) for c in classes)
    if len(known) < (2 if task is None else 1):
        raise CohortError(f"column {label!r} has fewer than two classes", found=listed(found) or "no labels at all")
    cohort = Cohort(table, known, problems, task)
    if isinstance(features, str | Path):
        from asmil.bags.store import open_features  # torch, and only where features are asked for

        features = open_features(features)
    if features is not None:
        cohort = cohort.match(features.slides, unreadable=features.problems)
    names = _slide_names(slides)
    return cohort if names is None else cohort.match(names)


def _slide_names(slides: str | Path | Iterable[str | Path] | None) -> list[str] | None:
    if isinstance(slides, str | Path):
        from asmil.slides import scan_slides

        slides = scan_slides(slides)
    return None if slides is None else [slide_name(str(slide)) for slide in slides]


def with_targets(table: pd.DataFrame, task: "Task") -> tuple[pd.DataFrame, "Task"]:
    """The table with what a task reads off its rows, and the task that knows how it was read.

    Numbers become columns, and the stratum of each row its label.
    """
    read = task.read(table)
    columns = dict(zip([TARGET + name for name in read.task.target_names], np.transpose(read.values), strict=True))
    own = table.drop(columns=targets_of(table))
    own = own.assign(**columns, **{"label": read.strata, _PROBLEM: [text or "" for text in read.problems]})
    return own, read.task


def targets_of(table: pd.DataFrame) -> list[str]:
    """The columns of a task's numbers."""
    return [str(column) for column in table if str(column).startswith(TARGET)]


def cleaned(
    raw: pd.DataFrame, site_column: str | None, *, classes: list[str] | None
) -> tuple[pd.DataFrame, list[Problem]]:
    """The columns of a cohort from a table with slide, case and label; unusable rows become problems."""
    problems: list[Problem] = []
    table = pd.DataFrame({"slide": raw["slide"].map(slide_name), "case": raw["case"], "label": raw["label"]})
    if (site := find_column(raw, "site", site_column)) is not None:
        table["site"] = raw[site]
    if _PROBLEM in raw:
        table[targets_of(raw)] = raw[targets_of(raw)]
    for role in ("mpp", "fold"):
        if (column := find_column(raw, role)) is not None and (raw[column] != "").any():
            table[role] = _numbers(raw[column], role)
    unnamed = table["slide"] == ""
    problems += [Problem("", f"row {row + 1} names no slide") for row in np.flatnonzero(unnamed)]
    unlabelled = ~unnamed & (table["label"] == "")
    why = raw[_PROBLEM] if _PROBLEM in raw else pd.Series("has no label", raw.index)
    problems += [Problem(slide, text) for slide, text in zip(table["slide"][unlabelled], why[unlabelled], strict=True)]
    table = table[~unnamed & ~unlabelled]
    table, guessed = _with_cases(table)
    table["label"] = canonical_labels(table["label"])
    if classes is not None:
        outside = ~table["label"].isin(classes)
        rows = table[outside]
        wrong = zip(rows["slide"], rows["label"], strict=True)
        problems += [Problem(slide, f"label {name!r} is not asked for") for slide, name in wrong]
        table = table[~outside]
    return table, problems + guessed


def joined(
    table: pd.DataFrame,
    slide_table: str | Path | pd.DataFrame | None,
    *,
    label: str,
    slide_column: str | None,
    case_column: str | None,
) -> tuple[pd.DataFrame, list[Problem]]:
    """The label table with slide, case (maybe empty) and label, joined with the slide table by patient."""
    label_column = find_column(table, "label", label)
    if slide_table is None:
        slide, case = find_column(table, "slide", slide_column), find_column(table, "case", case_column)
        if slide is None:
            fix = "name it with slide_column, or give a slide table (PATIENT, FILENAME) for labels per patient"
            raise CohortError("the table has no slide column", found=f"columns {listed(table.columns, 12)}", fix=fix)
        cases = table[case] if case is not None else ""
        return table.assign(slide=table[slide], case=cases, label=table[label_column]), []
    slides = read_table(slide_table)
    case, slide, case_of_slide = (
        find_column(table, "case", case_column),
        find_column(slides, "slide", slide_column),
        find_column(slides, "case", case_column),
    )
    if case is None or slide is None or case_of_slide is None:
        found = f"columns {listed(table.columns, 8)} and {listed(slides.columns, 8)}"
        fix = "both tables need the patient, the slide table the file name too"
        raise CohortError("the tables of labels and slides cannot be joined", found=found, fix=fix)
    table = table.assign(case=table[case], label=table[label_column])
    table = table[table["case"] != ""]
    twice = different(table[table["label"] != ""], of="case")
    if (twice > 1).any():
        raise CohortError("patients have two different labels", found=listed(twice.index[twice > 1]))
    # A blank row must not hide the labelled row of the same patient.
    table = table.iloc[(table["label"] == "").to_numpy().argsort(kind="stable")].drop_duplicates("case")
    slides = slides.assign(slide=slides[slide], case=slides[case_of_slide])
    slides = slides[["slide", "case", *slides.columns.difference([*table.columns, "slide", "case"])]]
    own = table.columns.difference(slides.columns.drop("case"), sort=False)
    joined = slides.merge(table[own], on="case", how="inner")
    problems = [Problem(case, "patient without slides") for case in sorted(set(table["case"]) - set(slides["case"]))]
    alone = slides[~slides["case"].isin(table["case"])]
    problems += [
        Problem(slide_name(s), f"patient {c} is not in the labels") for s, c in alone[["slide", "case"]].values
    ]
    return joined, problems


def different(table: pd.DataFrame, *, of: str) -> pd.Series:
    """By slide or case: how many different labels, or different numbers of a task, it has."""
    return table.groupby(of)[["label", *targets_of(table)]].nunique().max(axis=1)


def _numbers(cells: pd.Series, role: str) -> pd.Series:
    numbers = pd.to_numeric(cells, errors="coerce")
    wrong = numbers.isna() & (cells != "")
    if role == "mpp":
        wrong |= numbers.notna() & ~numbers.map(plausible_mpp)
    if wrong.any():
        raise CohortError(f"column {role} holds values that cannot be right", found=listed(cells[wrong].unique()))
    return numbers.astype(float) if role == "mpp" else numbers.astype("Int64")


def _with_cases(table: pd.DataFrame) -> tuple[pd.DataFrame, list[Problem]]:
    """Fill in missing patients: the TCGA barcode's, else the slide's file itself, as its scenes are of one patient."""
    blank, files = table["case"] == "", table["slide"].map(file_name)
    own = files.map(lambda file: tcga_case(file) or file)
    alone = int((blank & (own == files)).sum())
    table = table.assign(case=table["case"].where(~blank, own))
    what = f"{alone} slides name no patient: each counts as its own"
    fix = "name the patient column, or slides of a patient may be split"
    return table, [Problem("", what, fix)] if alone else []


def with_sites(table: pd.DataFrame) -> pd.DataFrame:
    """Take sites from TCGA barcodes where there is no site column; columns in their fixed order."""
    if "site" not in table:
        sites = table["slide"].map(tcga_site)
        if len(table) and sites.notna().all():
            table = table.assign(site=sites)
    return table[[*(column for column in COLUMNS if column in table), *targets_of(table)]]


def check_contradictions(table: pd.DataFrame) -> None:
    """A slide has one label and one patient.

    Raises:
        CohortError: a slide with two of either; all are named.
    """
    for column, what in (
        ("label", "slides have two different labels"),
        *((name, f"slides have two different values of {name.removeprefix(TARGET)}") for name in targets_of(table)),
        ("case", "slides belong to two patients"),
    ):
        count = table.groupby("slide")[column].nunique()
        if (count > 1).any():
            wrong = [
                f"{s} ({' / '.join(table[column][table['slide'] == s].astype(str).unique())})"
                for s in count.index[count > 1]
            ]
            raise CohortError(what, found=listed(wrong), fix="correct the table")
