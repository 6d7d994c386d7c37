"""What is known of each slide beside its label: the site, or any column of the cohort or of the table of labels."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from asmil.bags import read_cohort
from asmil.errors import RunError
from asmil.report.words import listed
from asmil.runs import Run


def group_columns(run: Run, names: Sequence[str] = (), *, labels: Path | None = None) -> dict[str, pd.Series]:
    """For each column, its value by slide: `site` where the cohort has it, then the columns asked for.

    cohort.csv keeps slide, case, label, site, mpp and fold; any other column is read from the table of labels that the
    run was made from.

    Args:
        names: columns of cohort.csv or of the table of labels.
        labels: that table, where it is not (or no longer) at the place that the settings name.

    Raises:
        RunError: the run is not of classification, or the table is not at hand or does not fit the run.
        CohortError: the table cannot be read, or has no such column.
    """
    if names and not run.classes:
        raise RunError(
            "subgroups are compared for classification only", found=f"task {run.task_name}", fix="leave out --subgroup"
        )
    cohort = run.cohort
    asked = list(dict.fromkeys([*(["site"] if "site" in cohort and run.classes else []), *names]))
    return {name: _own(cohort, name) if name in cohort else _of_table(run, name, labels) for name in asked}


def _own(cohort: pd.DataFrame, name: str) -> pd.Series:
    return cohort.set_index("slide")[name].astype(str)


def _of_table(run: Run, name: str, labels: Path | None) -> pd.Series:
    """A column of the table of labels for the run's slides; the labels must be those of the run."""
    settings = run.settings
    path = labels or settings.labels
    if path is None or not path.is_file():
        columns = listed([str(column) for column in run.cohort], 12)
        raise RunError(
            f"column {name!r} is not in the cohort, and the table of labels is not at hand",
            found=f"{path or 'no table named in the settings'}; the cohort has {columns}",
            fix="give the table with --labels FILE",
        )
    table = read_cohort(path, slide_table=settings.slide_table, label=settings.label, site_column=name)
    table = table.match(run.predictions["slide"]).table.set_index("slide")
    own = run.predictions.set_index("slide")["label"].reindex(table.index)
    if (own != table["label"]).any():
        wrong = list(own.index[own != table["label"]])
        raise RunError(
            f"{path} has other labels than the run",
            found=f"{len(wrong)} slides differ: {listed(wrong)}",
            fix="give the table that the run was made from",
        )
    return table["site"]
