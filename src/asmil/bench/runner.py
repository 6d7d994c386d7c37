"""Run the parts one after another; what looks worse than before is measured again before it is believed."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from asmil.bench.guard import Change, best_of, compare
from asmil.bench.parts import PARTS
from asmil.bench.rows import Row
from asmil.bench.scale import Scale

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
