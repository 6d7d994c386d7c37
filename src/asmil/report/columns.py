"""What is known of each slide beside its label: the site, or any column of the cohort or of the table of labels."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from asmil.bags import read_cohort
from asmil.errors import RunError
from asmil.report.inputs import RunFiles
from asmil.report.words import listed


def group_columns(files: RunFiles, names: Sequence[str] = (), *, labels: Path | None = None) -> dict[str, pd.Series]:
    """For each column, its value by slide: `site` where the cohort has it, then the columns asked for.

    cohort.csv keeps slide, case, label, site, mpp and fold; any other column is read from the table of labels that the
    run was made from.

    Args:
        names: columns of cohort.csv or of the table of labels.
        labels: that table, where it is not (or no longer) at the place that config.yaml names.

    Raises:
        RunError: the run is not of classification, or the table is not at hand or does not fit the run.
        CohortError: the table cannot be read, or has no such column.
    """
    if names and not files.classes:
        raise RunError(
            "subgroups are compared for classification only", found=f"task {files.task}", fix="leave out --subgroup"
        )
    cohort = files.cohort
    asked = list(dict.fromkeys([*(["site"] if "site" in cohort and files.classes else []), *names]))
    return {name: _own(cohort, name) if name in cohort else _of_table(files, name, labels) for name in asked}


def _own(cohort: pd.DataFrame, name: str) -> pd.Series:
    return cohort.set_index("slide")[name].astype(str)


def _of_table(files: RunFiles, name: str, labels: Path | None) -> pd.Series:
    """A column of the table of labels for the run's slides; the labels must be those of the run."""
    config = files.config
    path = labels or (Path(str(config["labels"])) if config.get("labels") else None)
    if path is None or not path.is_file():
        columns = listed([str(column) for column in files.cohort], 12)
        raise RunError(
            f"column {name!r} is not in cohort.csv, and the table of labels is not at hand",
            found=f"{path or 'no table named in config.yaml'}; cohort.csv has {columns}",
            fix="give the table with --labels FILE",
        )
    cohort = read_cohort(
        path, slide_table=config.get("slide_table"), label=str(config.get("label") or "label"), site_column=name
    )
    table = cohort.match(files.predictions["slide"]).table.set_index("slide")
    own = files.predictions.set_index("slide")["label"].reindex(table.index)
    if (own != table["label"]).any():
        wrong = list(own.index[own != table["label"]])
        raise RunError(
            f"{path} has other labels than the run",
            found=f"{len(wrong)} slides differ: {listed(wrong)}",
            fix="give the table that the run was made from",
        )
    return table["site"]
