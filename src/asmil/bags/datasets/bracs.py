"""BRACS: 547 breast slides of 7 lesion types (or 3 groups), with the official training, validation and test parts."""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from asmil.bags.datasets import Dataset, DatasetError
from asmil.bags.slide_sets import Choices, Official, find_table, load_official
from asmil.bags.tables import Problem, listed, read_table, slide_name
from asmil.errors import ConfigError

TYPES = ("N", "PB", "UDH", "FEA", "ADH", "DCIS", "IC")
GROUPS = ("benign", "atypical", "malignant")
_GROUP_OF = dict(zip(TYPES, [*3 * ["benign"], *2 * ["atypical"], *2 * ["malignant"]], strict=True))
_PARTS = {"training": "train", "validation": "val", "testing": "test"}
_COLUMNS = {
    "slide": ("slide_id", "wsi filename"),
    "case": ("patient id", "patient_id", "patient", "case_id"),
    "label": ("label", "wsi label"),
    "part": ("split_info", "set"),
}


def load_bracs(
    root: Path | None = None,
    *,
    features: str | Path | None = None,
    features_encoder: str | None = None,
    classes: int = 7,
    seed: int = 0,
    partial: bool = False,
) -> Dataset:
    """The official parts (395, 65 and 87 slides), of 7 types or `classes=3` groups.

    `root` is the official BRACS.xlsx (WSI Filename, Patient Id, WSI label, Set), the csv that ACMIL and others use
    (slide_id, case_id, split_info, label 0 to 6), or a folder with either. That csv numbers slides instead of naming
    patients: a patient in two parts can then not be seen, and the cohort's problems say so. `seed` matters only to a
    table without a validation part.

    Raises:
        ConfigError: `classes` is neither 7 nor 3.
        DatasetError: no table, unknown columns, types or parts, or features of official slides are missing.
        SplitError: a slide or a patient in two parts.
    """
    if classes not in (3, 7):
        raise ConfigError(
            "BRACS has 7 types or 3 groups", found=f"classes={classes}", fix="give classes=7 or classes=3"
        )
    path = find_table(root, ["BRACS.xlsx", "bracs.csv"], name="bracs")
    table = _table(path)
    official = Official(
        "bracs",
        table if classes == 7 else table.assign(label=table["label"].map(_GROUP_OF)),
        TYPES if classes == 7 else GROUPS,
        source="Brancati et al. 2022, doi:10.1093/database/baac093",
        licence="see bracs.icar.cnr.it",
    )
    dataset = load_official(official, Choices(features, features_encoder, seed=seed, partial=partial))
    if table["case"].nunique() < len(table):
        return dataset
    what = f"{path.name} names no patient twice: a patient in two parts cannot be seen"
    problems = [*dataset.cohort.problems, Problem("", what, "use the official BRACS.xlsx")]
    return replace(dataset, cohort=replace(dataset.cohort, problems=problems))


def _table(path: Path) -> pd.DataFrame:
    raw = read_table(path)
    by_lower = {column.lower(): column for column in raw.columns}
    table = pd.DataFrame()
    for role, names in _COLUMNS.items():
        column = next((by_lower[name] for name in names if name in by_lower), None)
        if column is None and role != "case":
            found = f"columns {listed(raw.columns, 12)}"
            raise DatasetError(f"{path} has no column of the {role}", found=found, fix=f"name it {' or '.join(names)}")
        table[role] = table["slide"] if column is None else raw[column]
    table["slide"] = table["slide"].map(slide_name)
    table["label"] = table["label"].map(lambda cell: TYPES[int(cell)] if cell in "0123456" and cell else cell.upper())
    table["part"] = table["part"].str.lower().map(lambda part: _PARTS.get(part, part))
    for column, known in (("label", set(TYPES)), ("part", {"train", "val", "test"})):
        if unknown := sorted(set(table[column]) - known):
            raise DatasetError(f"{path} has an unknown {column}", found=listed(unknown), fix=f"known: {sorted(known)}")
    return table


DATASET = load_bracs
