"""How far a command is: a bar on a terminal, an occasional plain line in a log."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

LOG_EVERY_SECONDS = 15.0

Advance = Callable[..., None]
"""Called as advance(n, parts=m, waiting=s): n more units are done, m more of their parts, s seconds were waited for."""


@dataclass
class _Count:
    """How much is done, and how fast: in parts where they are counted, as a slide is not like another."""

    unit: str
    parts_unit: str | None
    done: int = 0
    parts: int = 0
    waiting: float = 0.0
    start: float = field(default_factory=lambda: time.monotonic())

    def add(self, n: int, parts: int, waiting: float = 0.0) -> float:
        """Add to all and return the seconds since the start."""
        self.done += n
        self.parts += parts
        self.waiting += waiting
        return time.monotonic() - self.start

    @property
    def rate(self) -> str:
        seconds = time.monotonic() - self.start
        if self.parts_unit and self.parts:
            share = f", {min(1.0, self.waiting / seconds):.0%} waiting for pixels" if self.waiting and seconds else ""
            return rate_text(self.parts, seconds, self.parts_unit) + share
        return rate_text(self.done, seconds, self.unit)


@contextmanager
def progress(what: str, *, total: int, unit: str = "slides", parts: str | None = None) -> Iterator[Advance]:
    """Yield `advance(n, parts=m)`; shows n of total, the rate (of the parts, if any) and the time left on stderr.

    With `waiting=seconds` it also shows the share of the time in which there was nothing to work on.

    Off a terminal a line is printed at the end and at most every `LOG_EVERY_SECONDS` before it.
    """
    count = _Count(unit, parts)
    with _bar(what, total, count) if sys.stderr.isatty() else _lines(what, total, count) as advance:
        yield advance


@contextmanager
def _bar(what: str, total: int, count: _Count) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(count.unit),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task(what, total=total, rate="")

        def advance(n: int = 1, *, parts: int = 0, waiting: float = 0.0) -> None:
            count.add(n, parts, waiting)
            bars.update(task, completed=count.done, rate=count.rate)

        yield advance


@contextmanager
def _lines(what: str, total: int, count: _Count) -> Iterator[Advance]:
    last, printed = 0.0, 0

    def show(seconds: float) -> None:
        nonlocal last, printed
        done = count.done
        last, printed = seconds, done
        left = "" if not 0 < done < total else f", {_clock(seconds / done * (total - done))} left"
        print(f"{what}: {done}/{total} {count.unit}, {count.rate}{left}", file=sys.stderr, flush=True)

    def advance(n: int = 1, *, parts: int = 0, waiting: float = 0.0) -> None:
        seconds = count.add(n, parts, waiting)
        if seconds - last >= LOG_EVERY_SECONDS:
            show(seconds)

    try:
        yield advance
    finally:
        if count.done and printed != count.done:
            show(count.add(0, 0))


def rate_text(done: int, seconds: float, unit: str) -> str:
    """The rate in units a person can compare: per second, or per minute where that is below one."""
    per_second = done / seconds if seconds > 0 else 0.0
    if per_second >= 1:
        return f"{per_second:.0f} {unit}/s" if per_second >= 10 else f"{per_second:.1f} {unit}/s"
    return f"{per_second * 60:.1f} {unit}/min"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
