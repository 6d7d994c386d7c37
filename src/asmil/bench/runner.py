"""Run the parts one after another; what looks worse than before is measured again before it is believed."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from asmil.bench.parts import PARTS
from asmil.bench.rows import Row, Scale, by_name, read_rows, write_rows
from asmil.errors import ConfigError

# What got worse: the ratios of a run against those of an earlier one, kept in a file.


@dataclass(frozen=True)
class Change:
    """A ratio then and now; `now` is None where it was not measured."""

    then: Row
    now: Row | None

    @property
    def worse_by(self) -> float:
        """By which share it is worse than it was; negative where it is better."""
        return self.now.worse_by(self.then) if self.now else 0.0

    @property
    def verdict(self) -> str:
        """ "worse" or "better" beyond the tolerance, "same" within it, "missing", or "failed" (now without a value)."""
        if self.now is None:
            return "missing"
        if self.now.value is None:
            return "failed" if self.then.value is not None else "same"
        if self.worse_by > self.tolerance:
            return "worse"
        return "better" if self.then.worse_by(self.now) > self.tolerance else "same"

    @property
    def tolerance(self) -> float:
        """The share within which the two are the same: the earlier file's."""
        return self.then.tolerance or 0.0


def compare(rows: Sequence[Row], path: str | Path, *, machine: dict[str, object]) -> list[Change]:
    """Every ratio of an earlier run's file with that of this run.

    Raises:
        ConfigError: no such file, or of another kind of device or number of threads: its ratios are others.
    """
    earlier, known = read_rows(path)
    then, now = ({key: facts.get(key) for key in COMPARABLE} for facts in (known, machine))
    if then != now:
        what = "ratios are comparable with those of the same kind of device and number of threads only"
        raise ConfigError(what, found=f"{path} is of {then}, this is {now}", fix=RENEW)
    measured = by_name(rows)
    parts = {row.part for row in rows}
    return [Change(row, measured.get(row.name)) for row in earlier if row.tolerance is not None and row.part in parts]


def keep_ratios(path: str | Path, rows: Sequence[Row], *, machine: dict[str, object]) -> None:
    """Write the ratios alone, rounded to three digits: what later runs are compared with."""
    ratios = [
        replace(row, value=float(f"{row.value:.3g}"))
        for row in rows
        if row.tolerance is not None and row.value is not None
    ]
    write_rows(path, ratios, machine=machine)


def best_of(first: Sequence[Row], again: Sequence[Row]) -> list[Row]:
    """The better of two measurements of each row, in the order of the first."""
    second = by_name(again)
    return [
        other if (other := second.get(row.name)) and (row.value is None or row.worse_by(other) > 0) else row
        for row in first
    ]


COMPARABLE = ("kind", "threads")
RENEW = "set OMP_NUM_THREADS alike, or write a file of your own with `asmil bench --baseline FILE`"


ORDER = ("step", "models", "cohort", "loading", "cells", "curve")

Tell = Callable[[str], None]


def run_parts(
    scale: Scale, *, only: Sequence[str] = (), tell: Tell = lambda at: None
) -> Iterator[tuple[str, list[Row]]]:
    """Each part's name and rows when it is done; all parts, or those named. `tell` hears which case was measured last.

    Raises:
        UnknownPartError: no part of that name.
    """
    by_weight = sorted(PARTS.names(), key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))
    names = list(only) or by_weight
    for name in names:
        PARTS[name]  # an unknown one is told before the first is measured
    for name in names:
        yield name, _measured(name, scale, tell=tell)


def check_against(
    path: str | Path,
    rows: dict[str, list[Row]],
    *,
    machine: dict[str, object],
    scale: Scale,
    tell: Tell = lambda at: None,
) -> list[Change]:
    """The changes against an earlier file; `rows` by part take the better of two measurements where one is worse.

    On a shared machine a single run of minutes always has a disturbed row: one that is worse twice is worse.

    Raises:
        ConfigError: as `compare`.
    """
    for name, found in rows.items():
        changes = compare(found, path, machine=machine)
        if any(change.verdict == "worse" for change in changes):
            tell(f"{name} is worse than before, measured again")
            rows[name] = best_of(found, _measured(name, scale, tell=tell))
    return [change for found in rows.values() for change in compare(found, path, machine=machine)]


def _measured(name: str, scale: Scale, *, tell: Tell) -> list[Row]:
    tell(name)
    rows = []
    for row in PARTS[name](scale):
        rows.append(row)
        tell(f"{name}: after {row.case}")
    return rows
