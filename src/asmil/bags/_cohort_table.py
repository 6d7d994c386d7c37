"""From tables as people keep them to the columns of a cohort: joined, cleaned, contradictions refused."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from asmil.bags.names import slide_name, tcga_case, tcga_site
from asmil.bags.problem import Problem, listed
from asmil.bags.tables import canonical_labels, find_column, read_table
from asmil.errors import CohortError
from asmil.slides.scenes import file_name
from asmil.units import plausible_mpp

if TYPE_CHECKING:
    from asmil.tasks import Task

COLUMNS = ("slide", "case", "label", "site", "mpp", "fold")
TARGET = "target_"
"""How the columns begin that hold the numbers of another task than classification."""

_PROBLEM = "_problem"


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
