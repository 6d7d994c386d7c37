"""A table of labels (and one of slides) to a cohort: columns found, patients joined, rows that cannot be used named."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import numpy as np
import pandas as pd

from asmil.bags.cohort import TARGET, Cohort, check_contradictions, different, targets_of, typed
from asmil.bags.columns import (
    LABEL,
    PART_OF,
    Reading,
    Spellings,
    candidates,
    canonical_labels,
    class_key,
    find_column,
    find_label,
    one_spelling,
    plain,
    require_few_classes,
    require_known,
    require_known_patients,
    require_no_other_patient,
    sorted_classes,
    spelled_alike,
    told_alike,
    unlike,
    used_columns,
)
from asmil.bags.tables import (
    Problem,
    listed,
    read_table,
    require_no_dates,
    require_seen,
    require_whole_names,
    slide_name,
    tcga_case,
    tcga_site,
    without_point_zero,
)
from asmil.errors import CohortError, require_kind
from asmil.slides import file_name, name_of, scan_slides
from asmil.units import numbers_of, plausible_mpp, with_decimal_points

if TYPE_CHECKING:
    from asmil.bags.store import FeatureStore
    from asmil.tasks import Task


class TableOptions(TypedDict):
    """How tables are read, as `read_cohort` takes it."""

    slide_table: str | Path | pd.DataFrame | None
    label: str
    slide_column: str | None
    case_column: str | None
    site_column: str | None
    classes: Sequence[str] | None
    spellings: Spellings


COLUMNS = ("slide", "case", "label", "site", "mpp", "fold")
EXCLUDED = ("exclude", "excluded")
"""What a column `verdict` says of a slide that is to be left out, whatever its label is."""
_PROBLEM = "_problem"


def read_cohort(
    labels: str | Path | pd.DataFrame,
    *,
    slide_table: str | Path | pd.DataFrame | None = None,
    label: str = LABEL,
    slide_column: str | None = None,
    case_column: str | None = None,
    site_column: str | None = None,
    task: "Task | None" = None,
    classes: Sequence[str] | None = None,
    spellings: Spellings = "ask",
    features: "FeatureStore | str | Path | None" = None,
    slides: str | Path | Iterable[str | Path] | None = None,
) -> Cohort:
    """Read a table of labels (csv, tsv, xlsx; columns are recognised by their letters and digits, under usual names).

    Two forms: one row per slide (CLAM: `case_id, slide_id, label`), or one row per patient with
    `slide_table`, which maps patients to slides (STAMP: `PATIENT, FILENAME`). Without a patient column, TCGA
    barcodes name the patient, else every slide counts as a patient. Classes are sorted, of two the positive one last;
    `classes` gives another order or a choice of them. Rows whose `verdict` is "exclude" are left out. Patients and
    classes that differ only in how they are written are an error unless `spellings` says so. With `features` (a store
    or its path) or `slides` (a folder of slides, or their names) only those are kept (`Cohort.match`).

    A `task` (`asmil.tasks.create_task`) reads its own columns instead of `label`: the cohort then has its targets, and
    rows that it cannot read become problems.

    Raises:
        CohortError: a column is missing, or may mean what another one is used for; patients are named in some rows
            only; a slide has two labels or two patients; fewer than two classes.
    """
    sources = [labels] if slide_table is None else [labels, slide_table]
    named = {"slide": slide_column, "case": case_column, "label": LABEL if label is None or task is not None else label}
    tables, task = _seen_tables(sources, task, named | {"site": site_column})
    raw, problems, reading = joined(*tables, columns=named, spellings=spellings)
    table, unusable = cleaned(raw := _without_excluded(raw, problems), site_column, spellings)
    if task is None:
        table, outside = _of_classes(table, label, classes, spellings)
        unusable += outside
    check_contradictions(table)
    repeated = table["slide"].duplicated()
    problems += unusable + [Problem(slide, "is in the table more than once") for slide in table["slide"][repeated]]
    table = with_sites(table[~repeated].reset_index(drop=True))
    problems += _of_mixed_patients(table, task)
    found, positive = sorted_classes(table["label"].tolist())
    known = found if classes is None or task is not None else tuple(str(c) for c in classes)
    if len(known) < (2 if task is None else 1):
        raise CohortError(f"column {label!r} has fewer than two classes", found=listed(found) or "no labels at all")
    reading = _with_site(reading, raw, table, site_column, positive=positive if classes is None else "named so")
    problems += _of_columns(tables, used={*reading.columns.values(), *(task.columns if task else ())})
    cohort = Cohort(table, known, problems, task, reading)
    if features is not None:
        from asmil.bags.store import FeatureStore

        store = features if isinstance(features, FeatureStore) else FeatureStore(features)
        cohort = cohort.match(store.slides, unreadable=store.problems)
    names = _slide_names(slides)
    return cohort if names is None else cohort.match(names)


def _of_columns(tables: Iterable[pd.DataFrame], *, used: Collection[str]) -> list[Problem]:
    """Remarks on the sheets, on columns that are hidden in them, and on others that are called as the used ones are."""
    problems = [Problem("", remark) for table in tables for remark in table.attrs["remarks"]]
    hidden = [column for table in tables for column in table.attrs["hidden"] if column in used]
    problems += [Problem("", f"hidden in the sheet, and used: {listed(hidden)}")] if hidden else []
    for table in tables:
        for column in [column for column in table.columns if column in used]:
            if others := unlike(table, column):
                what = f"column {column!r} is used as it was named; {listed(map(repr, others))} has other cells"
                problems.append(Problem("", what))
    return problems


def _of_mixed_patients(table: pd.DataFrame, task: "Task | None") -> list[Problem]:
    """A remark on patients whose slides have different labels; different survival is an error."""
    mixed = different(table, of="case") > 1
    if not mixed.any():
        return []
    patients = listed(mixed.index[mixed])
    if task is not None and "survival" in task.name:
        fix = "correct the table: a patient has one time and one event"
        raise CohortError("patients have slides of different times or events", found=patients, fix=fix)
    who, kind = f"{mixed.sum():,} patient{'s have' if mixed.sum() > 1 else ' has'}", "values" if task else "labels"
    return [Problem("", f"{who} slides of different {kind}: {patients}", f"intended where {kind} are per slide")]


def _without_excluded(raw: pd.DataFrame, problems: list[Problem]) -> pd.DataFrame:
    """The rows that no verdict leaves out; those that one does are added to the problems."""
    column = find_column(raw, "verdict")
    if column is None:
        return raw
    out = raw[column].str.casefold().isin(EXCLUDED)
    problems += [Problem(slide_name(slide), "is excluded by its verdict") for slide in raw["slide"][out]]
    return raw[~out]


def _with_site(
    reading: Reading, raw: pd.DataFrame, table: pd.DataFrame, site_column: str | None, *, positive: str
) -> Reading:
    site = find_column(raw, "site", site_column) or ("TCGA barcodes" if "site" in table else None)
    also = reading.also | {"site": tuple(column for column in candidates(raw, "site") if column != site)}
    folds = {role: column for role in ("fold", "part") for column in candidates(raw, role)[:1]}
    if "part" in folds and not {*map(plain, raw[folds["part"]])} <= {*PART_OF, ""}:  # a set of something else
        del folds["part"]
    columns = reading.columns | ({"site": site} if site else {}) | folds
    return replace(reading, columns=columns, also=also, positive=positive)


def _of_classes(
    table: pd.DataFrame, label: str, classes: Sequence[str] | None, spellings: Spellings
) -> tuple[pd.DataFrame, list[Problem]]:
    """The rows of the classes that are asked for, or of all; a class that is named may be written in another way."""
    table = table.assign(label=canonical_labels(table["label"]))
    if classes is None:
        table = table.assign(label=one_spelling(table["label"], spellings, patients=False))
        require_known(table["label"], label)
        require_no_dates(table["label"], label, classes=True)
        require_few_classes(table["label"], label)
        return table, []
    require_kind(classes, (list, tuple, np.ndarray), called="classes", fix="give a list of their names")
    wanted = [str(name) for name in classes]
    by_key: dict[str, list[str]] = {}
    for name in wanted:
        by_key.setdefault(class_key(name), []).append(name)
    meant = {key: names[0] for key, names in by_key.items() if len(names) == 1}
    named = table["label"].map(lambda name: name if name in wanted else meant.get(class_key(name), name))
    outside = ~named.isin(wanted)
    others = zip(table["slide"][outside], named[outside], strict=True)
    problems = [Problem(slide, f"label {name!r} is not asked for") for slide, name in others]
    if absent := [name for name in wanted if name not in set(named)]:
        found = listed(sorted(set(table["label"])), 12)
        problems.append(Problem("", f"no slide is of {listed(map(repr, absent))}; the labels are {found}"))
        if outside.all():
            what = f"no slide is of the classes {listed(wanted)}"
            raise CohortError(what, found=f"labels {found}", fix="name some of these")
    return table.assign(label=named)[~outside], problems


def _slide_names(slides: str | Path | Iterable[str | Path] | None) -> list[str] | None:
    require_kind(slides, (str, Path, Iterable, type(None)), called="slides", fix="give a folder, or a list of names")
    if isinstance(slides, str | Path):
        slides = map(name_of, scan_slides(slides))
    return None if slides is None else [slide_name(str(slide)) for slide in slides]


def _seen_tables(
    sources: Sequence[str | Path | pd.DataFrame], task: "Task | None", named: Mapping[str, str | None]
) -> tuple[list[pd.DataFrame], "Task | None"]:
    """The tables, the first with what the task reads off it; refused where what is used of a sheet is not as it seems.

    A task knows its columns once it has read them, so that where it fails all columns may be why.
    """
    seen, targets = [read_table(source, judged=False) for source in sources], list[str]()
    tables = [*seen]
    if task is not None:
        try:
            tables[0], task = with_targets(seen[0], task)
        except CohortError:
            require_seen(seen[0], sources[0], seen[0].columns)
            raise
        targets += task.columns
    for table, source in zip(seen, sources, strict=True):
        require_seen(table, source, {*used_columns(table, named), *targets}, numbers=targets)
    return tables, task


def with_targets(table: pd.DataFrame, task: "Task") -> tuple[pd.DataFrame, "Task"]:
    """The table with what a task reads off its rows, and the task that knows how it was read.

    Numbers become columns, and the stratum of each row its label.
    """
    read = task.read(table)
    columns = dict(zip([TARGET + name for name in read.task.target_names], np.transpose(read.values), strict=True))
    own = table.drop(columns=[*targets_of(table), *(name for name in table.columns if plain(name) == LABEL)])
    own = own.assign(**columns, **{"label": read.strata, _PROBLEM: [text or "" for text in read.problems]})
    return own, read.task


def cleaned(raw: pd.DataFrame, site_column: str | None, spellings: Spellings) -> tuple[pd.DataFrame, list[Problem]]:
    """The columns of a cohort from a table with slide, case and label; unusable rows become problems."""
    problems: list[Problem] = []
    table = pd.DataFrame({"slide": raw["slide"].map(slide_name), "case": raw["case"], "label": raw["label"]})
    if (site := find_column(raw, "site", site_column)) is not None:
        alike = spelled_alike(raw[site][raw[site] != ""], patients=False)
        table["site"] = one_spelling(raw[site], "same", patients=False) if spellings == "same" else raw[site]
        if alike and spellings == "ask":
            problems.append(Problem("", f"sites that differ only in how they are written: {told_alike(alike)}"))
    if _PROBLEM in raw:
        table[targets_of(raw)] = raw[targets_of(raw)]
    for role in ("mpp", "fold"):
        if (column := find_column(raw, role)) is not None and (raw[column] != "").any():
            table[role] = _numbers(raw[column], role)
    unnamed = table["slide"] == ""
    problems += [Problem("", f"row {row + 1} names no slide") for row in table.index[unnamed]]
    unlabelled = ~unnamed & (table["label"] == "")
    why = raw[_PROBLEM] if _PROBLEM in raw else pd.Series("has no label", raw.index)
    problems += [Problem(slide, text) for slide, text in zip(table["slide"][unlabelled], why[unlabelled], strict=True)]
    if spellings != "different":
        require_known_patients(table["case"])
    table = table.assign(case=one_spelling(table["case"], spellings, patients=True))
    table, guessed = _with_cases(table[~unnamed & ~unlabelled])
    return table, problems + guessed


def joined(
    table: pd.DataFrame,
    slides: pd.DataFrame | None = None,
    *,
    columns: Mapping[str, str | None],
    spellings: Spellings,
) -> tuple[pd.DataFrame, list[Problem], Reading]:
    """The label table with slide, case (maybe empty) and label, joined with the slide table by patient."""
    label = find_label(table, columns, slides_too=slides is None)
    if slides is None:
        slide, case = (find_column(table, role, columns[role]) for role in ("slide", "case"))
        if slide is None:
            fix = "name it with --slide-column, or give a slide table (PATIENT, FILENAME) for labels per patient"
            raise CohortError("the table has no slide column", found=f"columns {listed(typed(table), 12)}", fix=fix)
        require_whole_names(table, (slide, case))
        cases = table[case] if case is not None else pd.Series("", table.index)
        if columns["case"] is None:
            own = cases.where(cases != "", table[slide].map(slide_name).map(_own_case))
            require_no_other_patient(table, own, case=case, used=(slide, label))
        read = _reading({"slide": slide, "case": case, "label": label}, table)
        return table.assign(slide=table[slide], case=cases, label=table[label]), [], read
    case, slide, case_of_slide = (
        find_column(table, "case", columns["case"] if columns["case"] in table else None),
        find_column(slides, "slide", columns["slide"]),
        find_column(slides, "case", columns["case"] if columns["case"] in slides else None),
    )
    if case is None or slide is None or case_of_slide is None:
        found = f"columns {listed(typed(table), 8)} and {listed(slides.columns, 8)}"
        fix = "both tables need the patient, the slide table the file name too: --case-column, --slide-column"
        raise CohortError("the tables of labels and slides cannot be joined", found=found, fix=fix)
    require_whole_names(table, [case])
    require_whole_names(slides, (slide, case_of_slide))
    if columns["case"] is None:
        require_no_other_patient(table, table[case], case=case, used=(label,))
        require_no_other_patient(slides, slides[case_of_slide], case=case_of_slide, used=(slide,))
    read = _reading({"slide": slide, "case": case, "label": label}, slides)
    table, slides = table.assign(case=table[case], label=table[label]), slides.assign(case=slides[case_of_slide])
    table, slides = _same_patients(table, slides, spellings)
    return *_merged(table, slides.assign(slide=slides[slide])), read


def _reading(columns: Mapping[str, str | None], slides: pd.DataFrame) -> Reading:
    taken = {role: column for role, column in columns.items() if column is not None}
    also = {
        role: tuple(other for other in candidates(slides, role) if other != taken.get(role))
        for role in ("slide", "case")
    }
    return Reading(taken, also)


def _same_patients(
    table: pd.DataFrame, slides: pd.DataFrame, spellings: Spellings
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables with one spelling of each patient."""
    own, others = set(table["case"]), set(slides["case"])
    cases = pd.concat(
        [
            table["case"].map(lambda name: without_point_zero(name, others)),
            slides["case"].map(lambda name: without_point_zero(name, own)),
        ],
        ignore_index=True,
    )
    cases = one_spelling(cases, spellings, patients=True)
    return table.assign(case=cases[: len(table)].to_numpy()), slides.assign(case=cases[len(table) :].to_numpy())


def _merged(table: pd.DataFrame, slides: pd.DataFrame) -> tuple[pd.DataFrame, list[Problem]]:
    table = table[table["case"] != ""]
    twice = different(table[table["label"] != ""], of="case")
    if (twice > 1).any():
        raise CohortError("patients have two different labels", found=listed(twice.index[twice > 1]))
    # A blank row must not hide the labelled row of the same patient.
    table = table.iloc[(table["label"] == "").to_numpy().argsort(kind="stable")].drop_duplicates("case")
    slides = slides[["slide", "case", *slides.columns.difference([*table.columns, "slide", "case"])]]
    own = table.columns.difference(slides.columns.drop("case"), sort=False)
    merged = slides.merge(table[own], on="case", how="inner")
    problems = [
        Problem(case, "is a patient without slides") for case in sorted(set(table["case"]) - set(slides["case"]))
    ]
    alone = slides[~slides["case"].isin(table["case"])]
    problems += [Problem(slide_name(slide), "is of a patient without a label") for slide in alone["slide"]]
    return merged, problems


def _numbers(cells: pd.Series, role: str) -> pd.Series:
    numbers = pd.Series(numbers_of(with_decimal_points(cells)), cells.index, dtype=float)
    wrong = numbers.isna() & (cells != "")
    wrong |= numbers.notna() & (~numbers.map(plausible_mpp) if role == "mpp" else numbers % 1 != 0)
    if wrong.any():
        raise CohortError(f"column {role} holds values that cannot be right", found=listed(cells[wrong].unique()))
    return numbers.astype(float) if role == "mpp" else numbers.astype("Int64")


def _own_case(slide: str) -> str:
    """The patient of a slide that names none: the TCGA barcode's, else the file, as its scenes are of one patient."""
    return tcga_case(file_name(slide)) or file_name(slide)


def _with_cases(table: pd.DataFrame) -> tuple[pd.DataFrame, list[Problem]]:
    """Fill in missing patients.

    Raises:
        CohortError: other rows name theirs: cells that were merged in a spreadsheet, perhaps, which hold for many rows.
    """
    blank, own = table["case"] == "", table["slide"].map(_own_case)
    alone = blank & (own == table["slide"].map(file_name))
    if alone.any() and not blank.all():
        raise CohortError(
            f"{alone.sum()} of {len(table)} slides name no patient, and others do",
            found=listed(table["slide"][alone]),
            fix="fill in every row (a merged cell of a spreadsheet holds for its first row only)",
        )
    table = table.assign(case=table["case"].where(~blank, own))
    what = f"{alone.sum()} slides name no patient: each counts as its own"
    fix = "name the patient column with --case-column, or slides of a patient may be split"
    return table, [Problem("", what, fix)] if alone.any() else []


def with_sites(table: pd.DataFrame) -> pd.DataFrame:
    """Take sites from TCGA barcodes where there is no site column; columns in their fixed order."""
    if "site" not in table:
        sites = table["slide"].map(tcga_site)
        if len(table) and sites.notna().all():
            table = table.assign(site=sites)
    return table[[*(column for column in COLUMNS if column in table), *targets_of(table)]]
