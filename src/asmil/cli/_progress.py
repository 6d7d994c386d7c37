"""How far a command is: a bar on a terminal, an occasional plain line in a log."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOG_EVERY_SECONDS = 15.0

Advance = Callable[[int], None]


@contextmanager
def progress(what: str, *, total: int, unit: str = "slides") -> Iterator[Advance]:
    """Yield `advance(n)`; shows n of total, the rate and the time left on stderr.

    Off a terminal a line is printed at the end and at most every `LOG_EVERY_SECONDS` before it.
    """
    with _bar(what, total, unit) if sys.stderr.isatty() else _lines(what, total, unit) as advance:
        yield advance


@contextmanager
def _bar(what: str, total: int, unit: str) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task(what, total=total, rate="")
        done, start = 0, time.monotonic()

        def advance(n: int = 1) -> None:
            nonlocal done
            done += n
            bars.update(task, completed=done, rate=rate_text(done, time.monotonic() - start, unit))

        yield advance


@contextmanager
def _lines(what: str, total: int, unit: str) -> Iterator[Advance]:
    start = last = time.monotonic()
    done = printed = 0

    def show(now: float) -> None:
        nonlocal last, printed
        last, printed = now, done
        left = "" if not 0 < done < total else f", {_clock((now - start) / done * (total - done))} left"
        rate = rate_text(done, now - start, unit)
        print(f"{what}: {done}/{total} {unit}, {rate}{left}", file=sys.stderr, flush=True)

    def advance(n: int = 1) -> None:
        nonlocal done
        done += n
        now = time.monotonic()
        if now - last >= LOG_EVERY_SECONDS:
            show(now)

    try:
        yield advance
    finally:
        if done and printed != done:
            show(time.monotonic())


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
