"""What a task is: the contract that training, prediction and evaluation rely on."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from asmil.errors import CohortError
from asmil.units import numbers_of, with_decimal_points

# Cells of text to numbers, flags and strata, with words for what cannot be read.

UNKNOWN = {"?", "-", "--", "unknown", "missing", "not known", "not assessed", "not evaluated", "n.a.", "nd", "n.d."}
"""Words for what is not known, in lower case: cells of them are blank to a task."""
FEW = 0.05
"""Of the cells that are filled: if more than this cannot be read, the column is not what it is taken for."""

ROWS_PER_STRATUM = 10
"""Fewer rows than this are no stratum of their own: every fold of ten could still have one."""

FLAGS = {
    0.0: {"0", "0.0", "false", "no", "n", "neg", "negative"},
    1.0: {"1", "1.0", "true", "yes", "y", "pos", "positive"},
}


def find(table: pd.DataFrame, name: str) -> str:
    """The column of that name, by its letters and digits.

    Raises:
        CohortError: there is none, or several.
    """
    if name in table.columns:
        return name
    found = [column for column in table.columns if letters(column) == letters(name)]
    if len(found) != 1:
        columns = ", ".join(map(str, found or table.columns[:20]))
        what = f"the table has {'several columns' if found else 'no column'} {name!r}"
        raise CohortError(what, found=f"columns {columns}", fix="name the target column with --target")
    return found[0]


def letters(name: str) -> str:
    """The letters and digits of a column's name in lower case; of a name that is there twice, without its place."""
    return "".join(filter(str.isalnum, re.sub(r" \(column \d+\)$", "", str(name)).casefold()))


def read_numbers(cells: pd.Series, *, meant: str = "a number") -> tuple[np.ndarray, list[str | None]]:
    """float64 (rows,), nan where there is no finite number, and what is wrong with each row. Commas may be decimal."""
    numbers = np.array(numbers_of(with_decimal_points(cells)), dtype=np.float64)
    numbers = np.where(np.isfinite(numbers), numbers, np.nan)
    return numbers, problems_of(cells, np.isnan(numbers), meant)


def read_flags(cells: pd.Series, *, meant: str = "0 or 1") -> tuple[np.ndarray, list[str | None]]:
    """float64 (rows,) of 0 and 1, nan where neither, and what is wrong with each row.

    "1:DECEASED" (as cBioPortal writes) counts as 1.

    Raises:
        CohortError: there are other numbers, as 1 and 2, of which nobody said which is which.
    """
    of_word = {word: flag for flag, words in FLAGS.items() for word in words}
    flags = cells.map(lambda cell: of_word.get(cell.partition(":")[0].strip().lower(), np.nan)).to_numpy(np.float64)
    codes = cells.map(lambda cell: cell.partition(":")[0].strip())
    others = codes[np.isnan(flags) & pd.to_numeric(codes, errors="coerce").notna().to_numpy()]
    if len(others):
        counts = codes[codes != ""].value_counts().sort_index()
        raise CohortError(
            f"column {cells.name!r} holds other numbers than 0 and 1",
            found=", ".join(f"{code} ({count} rows)" for code, count in counts[:8].items()),
            fix=f"write {meant}; R has 1 for censored and 2 for an event; or words: dead and alive, yes and no",
        )
    return flags, problems_of(cells, np.isnan(flags), meant)


def problems_of(cells: pd.Series, wrong: np.ndarray, meant: str) -> list[str | None]:
    """What is wrong with each row of a column, of which `wrong` rows could not be read."""
    return [
        None if right else f"{cells.name} is {cell!r}, {meant} is meant" if is_said(cell) else f"has no {cells.name}"
        for cell, right in zip(cells, ~wrong, strict=True)
    ]


def is_said(cell: str) -> bool:
    """Whether a cell says something: it is neither empty nor a word for unknown."""
    return cell != "" and cell.lower() not in UNKNOWN


def require_readable(table: pd.DataFrame, problems: Mapping[str, Sequence[str | None]]) -> None:
    """A few cells of a column may be unreadable, which sets their rows aside; of more the column is another one.

    Raises:
        CohortError: what cannot be read is counted.
    """
    for column, said in problems.items():
        filled = table[column].map(is_said).to_numpy(bool)
        unreadable = filled & [problem is not None for problem in said]
        if unreadable.sum() > max(2, FEW * filled.sum()):
            wrong, first = table[column][unreadable], said[int(unreadable.argmax())]
            counts = wrong.value_counts()
            raise CohortError(
                f"{len(wrong)} of the {filled.sum()} cells in column {column!r} cannot be read",
                found=", ".join(f"{cell!r} ({count})" for cell, count in counts[:5].items())
                + (f" and {len(counts) - 5} more" if len(counts) > 5 else ""),
                fix=f"correct them, or empty the cells of what is not known ({first})",
            )


def first_problem(*columns: Sequence[str | None]) -> list[str | None]:
    """The first thing that is wrong with each row."""
    return [next((problem for problem in row if problem), None) for row in zip(*columns, strict=True)]


def quantile_bins(values: np.ndarray, *, most: int) -> list[str]:
    """ "q1", "q2" ... by quantiles of the values (rows,): at most `most`, and only as many as rows allow."""
    bins = int(np.clip(len(values) // ROWS_PER_STRATUM, 1, most))
    inner = np.unique(np.quantile(values, np.arange(1, bins) / bins)) if bins > 1 else np.empty(0)
    return [f"q{i + 1}" for i in np.searchsorted(inner, values, side="left")]


def require_rows(problems: Sequence[str | None], what: str) -> None:
    """At least one row can be used.

    Raises:
        CohortError: none can; what is wrong with the first is shown.
    """
    if all(problems):
        found = problems[0] if len(problems) else "an empty table"
        raise CohortError(
            f"no row has {what} that can be used", found=found, fix="check the names of the target columns"
        )


def only_column(columns: Sequence[str], task: str) -> str:
    """The one column of a task that reads one.

    Raises:
        CohortError: none or several are named.
    """
    if len(columns) != 1:
        found = ", ".join(columns) or "none"
        raise CohortError(f"the task {task} reads one column", found=found, fix="name it as the target")
    return columns[0]


@dataclass(frozen=True)
class OfColumns:
    """What all our tasks are: plain values, of which `columns` are those of the table of labels that are read."""

    columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:  # lists, as YAML and JSON have them, become tuples
        for name, value in vars(self).items():
            if isinstance(value, list):
                object.__setattr__(self, name, tuple(value))

    @property
    def target_names(self) -> tuple[str, ...]:
        """The columns."""
        return self.columns

    def options(self) -> dict[str, object]:
        """The fields as plain values for YAML and JSON: tuples as lists."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Targets:
    """What a table says of its rows.

    `values` float64 (rows, width), nan where unknown; `strata` a short text per row, by which splits are
    stratified; `problems` what is wrong with a row, None for nothing. A row with a problem has no values and
    the stratum "". `task` knows in addition what was found in the table: its columns, the levels, times to report.
    """

    values: Float[np.ndarray, "rows width"]
    strata: list[str]
    problems: list[str | None]
    task: "Task"


class Task(Protocol):
    """What is predicted of a bag. Immutable; whatever it knows is in `options()`, plain values.

    The order of calls: `read` once (go on with its `task`), `fit_targets` once per training part (go on with
    what it returns), then `loss`, `values` and `select_metric`.
    """

    name: str
    smallest_batch: int
    """Bags that a batch must have for the loss to say anything: 1, or 2 where bags are compared."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the label table that are read; empty until known, where they are recognised."""
        ...

    @property
    def target_names(self) -> tuple[str, ...]:
        """Names of the columns of the target values (width)."""
        ...

    @property
    def outputs(self) -> int:
        """Logits per bag; after `fit_targets` final."""
        ...

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names of the predicted values: the columns of predictions.csv."""
        ...

    def options(self) -> dict[str, object]:
        """What `create_task` takes back."""
        ...

    def read(self, table: pd.DataFrame) -> Targets:
        """Targets of a table of text.

        Raises:
            CohortError: a column is missing or ambiguous, or no row can be used.
        """
        ...

    def fit_targets(self, values: Float[np.ndarray, "rows width"]) -> "Task":
        """The task with what it learns from the targets of the training part, and of nothing else.

        Raises:
            CohortError: these targets cannot be learned from.
        """
        ...

    def loss(
        self, logits: Float[Tensor, "bags outputs"], targets: Float[Tensor, "bags width"]
    ) -> Float[Tensor, " bags"]:
        """The share of each bag; the mean over the batch is the loss. Never waits for the device."""
        ...

    def values(self, logits: Float[np.ndarray, "bags outputs"]) -> Float[np.ndarray, "bags values"]:
        """What is predicted, in the units of the table; may be averaged over models."""
        ...

    def select_metric(
        self, values: Float[np.ndarray, "bags values"], targets: Float[np.ndarray, "bags width"]
    ) -> float:
        """The quality of predictions, higher is better; nan where undefined."""
        ...


def in_full(logits: Float[Tensor, "bags outputs"]) -> Float[Tensor, "bags outputs"]:
    """Logits in float32 at least: losses of half precision lose what they are about."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
