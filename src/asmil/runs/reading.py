"""Files of a run read so that whatever is wrong with one of them becomes an error that names it."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from asmil.errors import RunError, blaming
from asmil.files import Facts
from asmil.units import numbers_of

# a slide or a class called "NA" or "007" is a name, no gap and no number
_TEXT = frozenset({"slide", "name", "case", "label", "predicted", "part", "site", "result", "stage", "reason"})


MOST_DIGITS = 19
"""Of whole numbers: longer ones may be none of 64 bits."""


@contextmanager
def reading(path: Path, *, fix: str, what: str = "cannot be read") -> Iterator[None]:
    """Whatever is raised while a file is read is what is wrong with that file.

    Raises:
        RunError: in the place of any exception but those of asmil, and of memory at its end.
    """
    with blaming(RunError, f"{path} {what}", fix=fix):
        try:
            yield
        except FileNotFoundError as error:
            raise RunError(f"{path} is missing", fix=fix) from error


def read_json(path: Path, *, fix: str) -> Facts:
    """The object in a JSON file.

    Raises:
        RunError: no such file, or not an object in JSON.
    """
    with reading(path, fix=fix):
        value = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(value, dict):
            raise TypeError(f"a {type(value).__name__} in the place of names and values")
        return value


def read_table(path: Path, *, columns: Sequence[str] = (), fix: str) -> pd.DataFrame:
    """A CSV file; columns of names are text, and an empty place is the empty text.

    Raises:
        RunError: no such file, no table, or one without these columns.
    """
    with reading(path, fix=fix):
        table = pd.read_csv(path, dtype=str, na_filter=False)
        table = table.assign(**{name: _plain(table[name]) for name in map(str, table) if name not in _TEXT})
    if missing := [name for name in columns if name not in table]:
        raise RunError(f"{path} lacks columns", found=f"no {', '.join(missing)}", fix=fix)
    return table


def _plain(cells: pd.Series) -> pd.Series:
    """Whole numbers, or numbers, where all cells are some; else the text."""
    texts = cells.tolist()
    numbers = np.array(numbers_of(texts), dtype=np.float64)
    if not texts or np.isnan(numbers).any():
        return cells
    if all(text.removeprefix("-").isdecimal() and len(text) < MOST_DIGITS for text in texts):
        return pd.Series(np.array([int(text) for text in texts], dtype=np.int64), cells.index)
    return pd.Series(numbers, cells.index)


def with_numbers(
    table: pd.DataFrame, *, path: Path, gaps: Sequence[str] = (), whole: Sequence[str] = (), fix: str
) -> pd.DataFrame:
    """The table with numbers in all columns but those of names; those that begin with `gaps` may have empty places,
    and those that are `whole` are of int64.

    Raises:
        RunError: a column holds something else.
    """
    for name in map(str, table):
        if name not in _TEXT:
            if pd.api.types.is_numeric_dtype(table[name]) and table[name].notna().all():
                continue
            numbers = pd.Series(numbers_of(map(str, table[name])), table.index, dtype=float)
            gap = table[name].astype(str).isin(["", "nan"]) & name.startswith(tuple(gaps))
            wrong = numbers.isna() & ~gap
            if wrong.any():
                found = repr(table[name][wrong].iloc[0])
                raise RunError(f"{path} holds no number in column {name}", found=found, fix=fix)
            table[name] = numbers
    for name in whole:
        cut = table[name].to_numpy(np.float64)
        wrong = ~(np.isfinite(cut) & (cut == np.trunc(cut)) & (np.abs(cut) < 2.0**53))
        if wrong.any():
            raise RunError(f"{path} holds no whole number in column {name}", found=f"{cut[wrong][0]}", fix=fix)
    return table.astype(dict.fromkeys(whole, np.int64))


@contextmanager
def open_h5(path: Path, *, fix: str) -> Iterator[h5py.File]:
    """An HDF5 file; what its parts raise when they are read in the block is an error of the file too.

    Raises:
        RunError: no such file, or damage.
    """
    with reading(path, fix=fix), h5py.File(path) as file:
        yield file


MOST_PACKED = 2000
"""Bytes of numbers to one of the file: gzip packs zeros by 1,030."""


def vector(part: h5py.Dataset, *, dims: int | None = 1, kind: type = np.floating) -> np.ndarray:
    """The values of a dataset of that many axes (None: of any), of a kind of numbers or texts (np.object_); of another,
    or one that claims more than its file can hold, it raises a ValueError, for `open_h5` to name."""
    of_kind = isinstance(part, h5py.Dataset) and np.issubdtype(part.dtype, kind)
    if not of_kind or dims not in (None, part.ndim):
        raise ValueError(f"{part.name} has {getattr(part, 'ndim', 'no')} axes of {getattr(part, 'dtype', type(part))}")
    if part.nbytes > MOST_PACKED * Path(part.file.filename).stat().st_size:
        raise ValueError(f"{part.name} claims {part.nbytes:,} bytes")
    return part[()]


# The shape of metrics.json, as far as something is made of it: an edited one is refused where it is read.

Number = float | None
Interval = tuple[Number, Number]


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", allow_inf_nan=False)


class Score(_Part):
    """A value with its 95 % interval; what is not known is None."""

    value: Number = None
    ci95: Interval | None = None
    folds: tuple[int, int] | None = None


class Patients(_Part):
    """The metrics with one prediction for each patient."""

    test: dict[str, Score] = {}
    n_patients: int | None = None


class Seeds(_Part):
    """What a single seed reaches."""

    values: list[dict[str, Number]] = []
    spread: dict[str, dict[str, Number]] = {}


class Rates(_Part):
    """What yes-no decisions are worth, and how many there are of each kind: tp, fp, fn, tn."""

    sensitivity: Score
    specificity: Score
    ppv: Score
    npv: Score
    counts: dict[Literal["tp", "fp", "fn", "tn"], int]


class FoldThreshold(_Part):
    """Where the positive class begins in a fold."""

    fold: int
    threshold: float
    n_val: int
    chosen: bool


class OperatingPoint(Rates):
    """The thresholds of a run of two classes."""

    positive: str
    min_sensitivity: Number = None
    thresholds: list[FoldThreshold]


class OneClass(Rates):
    """A class against the rest."""

    auroc: Score


class Metrics(_Part):
    """What `evaluate` writes. Of a task further keys are read by its own part of the report."""

    task: str | None = None
    partial: str | None = None
    protocol: dict[str, str | bool | Number] = {}
    folds: list[int] = []
    seeds: list[int] = []
    classes: list[str] | None = None
    test: dict[str, Score] = {}
    test_is: str | None = None
    per_fold: list[dict[str, Number]] | None = None
    pooled: dict[str, Score] | None = None
    per_seed: Seeds | None = None
    patients: Patients | None = None
    confusion: list[list[int]] | None = None
    operating_point: OperatingPoint | None = None
    each_class: dict[str, OneClass] | None = None
    attention: Facts = {}
    seconds: dict[str, float] = {}


class LearnedFrom(_Part):
    """What a run learned from, as its identity says it: of each slide the texts of its row, and of its features file,
    tiles, width and digest."""

    cohort: dict[str, list[str]] = {}
    splits: str = ""
    features: dict[str, tuple[str, int, int, str]] = {}


def check_identity(said: Facts) -> None:
    """Raise a ValueError where what decided a run has another shape than it is written in."""
    try:
        LearnedFrom.model_validate(said.get("data", {}))
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"data.{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def options_of(said: object) -> Facts:
    """The options of a task; a TypeError or ValueError where they are none, or its classes no list of different
    ones."""
    options = dict(said)  # type: ignore[call-overload]
    classes = options.get("classes", [])
    if not isinstance(classes, list) or len(set(map(str, classes))) < len(classes):
        raise TypeError("its classes are no list of different ones")
    return options


def check_metrics(metrics: Facts, *, path: Path, fix: str) -> Facts:
    """The metrics as they are.

    Raises:
        RunError: a part has another shape than `evaluate` gives it.
    """
    try:
        Metrics.model_validate(metrics)
    except ValidationError as error:
        first = error.errors()[0]
        found = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise RunError(f"{path} is not what `asmil evaluate` writes", found=found, fix=fix) from error
    return metrics
