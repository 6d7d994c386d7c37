"""Times and events from a table, under the names that survival tables use."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from jaxtyping import Float

from asmil.errors import CohortError
from asmil.tasks.parts.scores import concordance
from asmil.tasks.parts.task import (
    OfColumns,
    Targets,
    find,
    first_problem,
    is_said,
    letters,
    quantile_bins,
    read_flags,
    read_numbers,
    require_readable,
    require_rows,
)

TIMES = ("time", "survivalmonths", "osmonths", "survivaldays", "osdays", "survivaltime", "ostime", "followuptime")
EVENTS = ("event", "osstatus", "osevent", "vitalstatus", "censorship", "censored")
"""Names of the columns, in letters and digits."""
GDC = (("daystodeath",), ("daystolastfollowup",), ("vitalstatus",))
"""The GDC keeps the time of the dead and that of the others apart."""
STATES = dict.fromkeys(("dead", "deceased", "event", "died"), 1.0) | dict.fromkeys(
    ("alive", "living", "censored", "lost to follow-up"), 0.0
)
"""Words that say what happened, whichever way round the numbers of a column are."""

STRATA = 4
Survival = tuple[np.ndarray, list[str], list[str | None]]


def survival_columns(table: pd.DataFrame, columns: Sequence[str]) -> tuple[str, ...]:
    """The columns of time and event: those named, else the only ones of a usual name.

    Three are the GDC's: the time of death, the time that others were last seen, and the state.

    Raises:
        CohortError: not two (or three) are named, or the table has none or several of usual names.
    """
    if columns:
        if len(columns) not in (2, 3):
            fix = "name the columns of time and event (or of time of death, of last follow-up, and state)"
            raise CohortError("survival reads two columns", found=", ".join(columns), fix=fix)
        return tuple(find(table, column) for column in columns)
    times = [column for column in table.columns if letters(column) in TIMES]
    gdc = [_named(table, names) for names in GDC]
    if not times and all(gdc):
        if several := [found for found in gdc if len(found) > 1]:
            fix = "name three columns with --target: of the time of death, of the last follow-up, and of the state"
            raise CohortError("the table has several columns of one name", found=", ".join(several[0]), fix=fix)
        return tuple(found[0] for found in gdc)
    return _usual(table, TIMES, "time"), _usual(table, EVENTS, "event or censorship")


def _named(table: pd.DataFrame, names: Sequence[str]) -> list[str]:
    return [column for column in table.columns if letters(column) in names]


def _usual(table: pd.DataFrame, names: Sequence[str], role: str) -> str:
    found = _named(table, names)
    if len(found) != 1:
        what = f"the column of {role} is not known"
        listed = ", ".join(found) or f"none of {', '.join(names)}"
        raise CohortError(what, found=listed, fix="name the columns of time and event: --target TIME,EVENT")
    return found[0]


def one_means_censored(column: str) -> bool:
    """By its name: "censorship" of CLAM, PORPOISE and SurvPath tables is 1 where nothing was observed."""
    return letters(column).startswith(("censor", "alive"))


def read_survival(table: pd.DataFrame, columns: Sequence[str], *, censored_is_one: bool) -> Survival:
    """Time and event (rows, 2) with nan in unusable rows, strata, and what is wrong with each row.

    Raises:
        CohortError: no row can be used, more than a few cannot, or nobody had an event.
    """
    event_column = columns[-1]
    if len(columns) == 3:
        table = _one_time(table, *columns)
        time_column = table.columns[-1]
    else:
        time_column = columns[0]
    times, no_time = read_numbers(table[time_column], meant="a time of 0 or more")
    negative = np.nan_to_num(times) < 0
    too_early = [
        f"{time_column} is {cell}, a time of 0 or more is meant" if wrong else None
        for cell, wrong in zip(table[time_column], negative, strict=True)
    ]
    meant = f"0 or 1 ({'1 = censored' if censored_is_one else '1 = event'})"
    states = table[event_column].str.lower().map(STATES).to_numpy(np.float64)
    flags, no_flag = read_flags(table[event_column], meant=meant)
    events = 1 - flags if censored_is_one else flags
    stated = np.isfinite(states)
    events = np.where(stated, states, events)
    no_event = [None if known else problem for known, problem in zip(stated, no_flag, strict=True)]
    problems = first_problem(no_time, too_early, no_event)
    require_rows(problems, "time and event")
    require_readable(table, {time_column: first_problem(no_time, too_early), event_column: no_event})
    values = np.stack([times, events], axis=1)
    values[[problem is not None for problem in problems]] = np.nan
    if not (values[:, 1] == 1).any():
        raise CohortError(
            f"nobody in the table had an event ({event_column})",
            found=f"1 is read as {'censored' if censored_is_one else 'an event'}",
            fix="set censored_is_one, or name another column",
        )
    return values, _strata(values), problems


def _one_time(table: pd.DataFrame, death: str, last_seen: str, state: str) -> pd.DataFrame:
    """The table with one column of times more: of death of those who died, of the last visit of the others."""
    died = table[state].str.lower().map(STATES) == 1
    if not (died | (table[state].str.lower().map(STATES) == 0)).any():
        raise CohortError(
            f"column {state!r} says of nobody whether they are alive",
            found=", ".join(sorted(filter(is_said, table[state].unique()))[:8]) or "an empty column",
            fix="write Dead and Alive, or make one column of times and one of events",
        )
    return table.assign(**{f"{death} or {last_seen}": table[death].where(died, table[last_seen])})


def _strata(values: np.ndarray) -> list[str]:
    strata = np.full(len(values), "", dtype=object)
    for event, name in ((1, "event"), (0, "censored")):
        own = values[:, 1] == event
        if own.any():
            strata[own] = [f"{name} {part}" for part in quantile_bins(values[own, 0], most=STRATA)]
    return strata.tolist()


class SurvivalTask(OfColumns):
    """What the tasks of survival share; `censored_is_one` None goes by the name of the event column."""

    censored_is_one: bool | None
    target_names = ("time", "event")

    def read(self, table: pd.DataFrame) -> Targets:
        """Times and events; strata are quarters of the times, of events and censored apart."""
        columns, known = survival_columns(table, self.columns), self.censored_is_one
        censored_is_one = one_means_censored(columns[-1]) if known is None else known
        values, strata, problems = read_survival(table, columns, censored_is_one=censored_is_one)
        return Targets(values, strata, problems, replace(self, columns=columns, censored_is_one=censored_is_one))  # type: ignore

    def select_metric(self, values: Float[np.ndarray, "bags values"], targets: Float[np.ndarray, "bags 2"]) -> float:
        """C-index of the first predicted value, the risk."""
        return concordance(targets, values[:, 0])
