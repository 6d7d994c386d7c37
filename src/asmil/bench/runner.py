"""Run the parts one after another; what looks worse than before is measured again before it is believed."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from asmil.bench.guard import Change, best_of, compare
from asmil.bench.parts import PARTS
from asmil.bench.rows import Row
from asmil.bench.scale import Scale

ORDER = ("step", "models", "cohort", "loading", "cells", "curve")


def run_parts(scale: Scale, *, only: Sequence[str] = ()) -> Iterator[tuple[str, list[Row]]]:
    """Each part's name and rows when it is done; all parts, or those named.

    Raises:
        UnknownPartError: no part of that name.
    """
    measures = {name: PARTS[name] for name in only or _all()}
    for name, measure in measures.items():
        yield name, list(measure(scale))


def check_against(
    path: str | Path,
    rows: dict[str, list[Row]],
    *,
    machine: dict[str, Any],
    scale: Scale,
    tell: Callable[[str], None] = lambda name: None,
) -> list[Change]:
    """The changes against an earlier file; `rows` by part take the better of two measurements where one is worse.

    On a shared machine a single run of minutes always has a disturbed row: one that is worse twice is worse.

    Raises:
        ConfigError: as `compare`.
    """
    for name, found in rows.items():
        changes = compare(found, path, machine=machine)
        if any(change.verdict == "worse" for change in changes):
            tell(name)
            rows[name] = best_of(found, list(PARTS[name](scale)))
    return [change for found in rows.values() for change in compare(found, path, machine=machine)]


def _all() -> list[str]:
    """Every part, those known here in the order of their weight."""
    return sorted(PARTS.names(), key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))
