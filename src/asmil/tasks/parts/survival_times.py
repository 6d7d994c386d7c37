"""Times and events from a table, under the names that survival tables use."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from asmil.errors import CohortError
from asmil.tasks.parts.scores import concordance
from asmil.tasks.parts.task import find, first_problem, quantile_bins, read_flags, read_numbers, require_rows

TIMES = ("time", "survival_months", "os_months", "survival_days", "os_days", "survival_time", "os_time", "os.time")
EVENTS = ("event", "os_status", "os_event", "vital_status", "censorship", "censored")
STATES = dict.fromkeys(("dead", "deceased", "event"), 1.0) | dict.fromkeys(("alive", "living", "censored"), 0.0)
"""Words that say what happened, whichever way round the numbers of a column are."""

STRATA = 4
Survival = tuple[np.ndarray, list[str], list[str | None]]


def survival_columns(table: pd.DataFrame, columns: Sequence[str]) -> tuple[str, str]:
    """The columns of time and event: those named, else the only ones of a usual name.

    Raises:
        CohortError: not two are named, or the table has none or several of usual names.
    """
    if columns:
        if len(columns) != 2:
            fix = "name the columns of time and event"
            raise CohortError("survival reads two columns", found=", ".join(columns), fix=fix)
        return find(table, columns[0]), find(table, columns[1])
    return _usual(table, TIMES, "time"), _usual(table, EVENTS, "event or censorship")


def _usual(table: pd.DataFrame, names: Sequence[str], role: str) -> str:
    found = [column for column in table.columns if str(column).lower() in names]
    if len(found) != 1:
        what = f"the column of {role} is not known"
        listed = ", ".join(found) or f"none of {', '.join(names)}"
        raise CohortError(what, found=listed, fix="name the columns of time and event as the target")
    return found[0]


def one_means_censored(column: str) -> bool:
    """By its name: "censorship" of CLAM, PORPOISE and SurvPath tables is 1 where nothing was observed."""
    return column.lower().startswith("censor")


def read_survival(table: pd.DataFrame, columns: tuple[str, str], *, censored_is_one: bool) -> Survival:
    """Time and event (rows, 2) with nan in unusable rows, strata, and what is wrong with each row.

    Raises:
        CohortError: no row can be used, or nobody had an event.
    """
    time_column, event_column = columns
    times, no_time = read_numbers(table[time_column], meant="a time of 0 or more")
    negative = np.nan_to_num(times) < 0
    too_early = [
        f"{time_column} is {cell}, a time of 0 or more is meant" if wrong else None
        for cell, wrong in zip(table[time_column], negative, strict=True)
    ]
    meant = f"0 or 1 ({'1 = censored' if censored_is_one else '1 = event'})"
    flags, no_flag = read_flags(table[event_column], meant=meant)
    events = 1 - flags if censored_is_one else flags
    states = table[event_column].str.lower().map(STATES).to_numpy(np.float64)
    stated = np.isfinite(states)
    events = np.where(stated, states, events)
    no_event = [None if known else problem for known, problem in zip(stated, no_flag, strict=True)]
    problems = first_problem(no_time, too_early, no_event)
    require_rows(problems, "time and event")
    values = np.stack([times, events], axis=1)
    values[[problem is not None for problem in problems]] = np.nan
    if not (values[:, 1] == 1).any():
        raise CohortError(
            f"nobody in the table had an event ({event_column})",
            found=f"1 is read as {'censored' if censored_is_one else 'an event'}",
            fix="set censored_is_one, or name another column",
        )
    return values, _strata(values), problems


def _strata(values: np.ndarray) -> list[str]:
    strata = np.full(len(values), "", dtype=object)
    for event, name in ((1, "event"), (0, "censored")):
        own = values[:, 1] == event
        if own.any():
            strata[own] = [f"{name} {part}" for part in quantile_bins(values[own, 0], most=STRATA)]
    return strata.tolist()


def risk_concordance(values: np.ndarray, targets: np.ndarray) -> float:
    """C-index of the first predicted value, the risk."""
    return concordance(targets, values[:, 0])
