"""Who hears how far a stage is: nobody, a bar in a terminal or notebook, or plain lines in a log."""

import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from asmil.files import Facts
from asmil.progress.outcome import Outcome, Row, SetAside

LOG_EVERY_SECONDS = 5.0
"""No stage is silent for longer, whether anything is done or not."""

Advance = Callable[..., None]
"""Called as advance(n, parts=m, waiting=s, fewer=k): n more units are done, m more of their parts, s seconds were
waited for, and k units less are to be done than it was thought."""


def model_name(fold: object, seed: object) -> str:
    """What a trained model is called in front of people, and to `Listener.trained`."""
    return f"fold {fold} seed {seed}"


class Listener:
    """What a stage tells while it works. This one shows nothing, and warns of what was set aside; others override.

    Methods are called in the process and thread that called the stage.
    """

    @contextmanager
    def stage(
        self, what: str, *, total: int | None = None, unit: str = "slides", parts: str | None = None
    ) -> Iterator[Advance]:
        """A stage of `total` units begins, and ends with the block; what it yields is called as they are done.

        The parts of a unit (a slide's tiles), where they are counted, tell the pace: a slide is not like another. A
        stage of which nobody can say how much there is to do has no total. No stage is within another.
        """
        yield lambda n=1, *, parts=0, waiting=0.0, fewer=0: None

    def note(self, text: str) -> None:
        """Something to know; nothing to do about it."""

    def warn(self, text: str, *, fix: str = "") -> None:
        """Something that may be wrong, and what to do."""
        warnings.warn(f"{text}{f'; to fix: {fix}' if fix else ''}", UserWarning, stacklevel=_outside())

    def trained(self, model: str, rows: Sequence[Facts], *, result: Facts | None = None) -> None:
        """Epochs of a model ("fold 0 seed 1") are over: their rows of its log, by name, each with its `epoch`.

        They come as they are trained. After a resume those of before come first, and another start of a training that
        found nothing begins with epoch 0 again. With `result`, the values of the chosen epoch, it is at its end.
        """

    def result(self, metrics: Facts) -> None:
        """What all models came to: metrics by name, each with its `value`."""

    def closing(self, outcome: Outcome) -> None:
        """All is done that could be done: what became of the slides."""
        lost = outcome.set_aside
        if lost:
            named = "; ".join(f"{row.name} ({row.stage}: {row.reason})" for row in lost[:5])
            more = f"; and {len(lost) - 5} more" if len(lost) > 5 else ""
            text = f"{len(lost)} set aside: {named}{more}"
            warnings.warn(text, SetAside, stacklevel=_outside())


class Bars(Listener):
    """A bar for each stage, in a terminal or a notebook; elsewhere a line now and then on stderr."""

    @contextmanager
    def stage(
        self, what: str, *, total: int | None = None, unit: str = "slides", parts: str | None = None
    ) -> Iterator[Advance]:
        """See `Listener.stage`; shown are the pace and, as soon as it can be told, the time left."""
        pace = _Pace(what, total, unit, parts)
        with _bar(pace) if can_draw() else _lines(pace) as advance:
            yield advance


class Screen(Bars):
    """What a command shows, all on stderr: progress, notes, warnings, and a closing table of what was set aside."""

    def note(self, text: str) -> None:
        """One line."""
        print(f"note: {text}", file=sys.stderr, flush=True)

    def warn(self, text: str, *, fix: str = "") -> None:
        """One line, and one for what to do."""
        print(f"warning: {text}{f'{chr(10)}fix:     {fix}' if fix else ''}", file=sys.stderr, flush=True)

    def closing(self, outcome: Outcome) -> None:
        """The table of what did not go through and of remarks, a line for many of one reason, and the counts.

        Reasons are not wrapped, so that what they say to type can be copied in one piece.
        """
        bold, plain = ("\x1b[1m", "\x1b[0m") if sys.stderr.isatty() else ("", "")
        rows = [(name, row.result, row.stage, row.reason) for name, row in _together(outcome.rows)]
        if rows:
            rows.insert(0, ("name", "result", "stage", "reason"))
            widths = [*(max(map(len, column)) for column in list(zip(*rows, strict=True))[:-1]), 0]
            for number, row in enumerate(rows):
                line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
                print(line if number else bold + line + plain, file=sys.stderr)
        print(outcome, file=sys.stderr, flush=True)


FEW_ROWS, WIDE = 5, 60
"""More rows than this of one reason are one line, which names the first three, or the first if they are longer."""


def _together(rows: Sequence[Row]) -> Iterator[tuple[str, Row]]:
    """The rows, each with its name; of many of one reason the first, with the names of some and how many there are."""
    alike: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:  # many a reason begins with the slide it is of
        alike.setdefault((row.result, row.stage, row.reason.removeprefix(row.name)), []).append(row)
    for several in alike.values():
        if len(several) <= FEW_ROWS:
            yield from ((row.name, row) for row in several)
        else:
            named = [row.name for row in several[:3]]
            if len("".join(named)) > WIDE:  # every line of the table is as wide
                named = named[:1]
            yield f"{', '.join(named)} and {len(several) - len(named)} more", several[0]


def default_listener() -> Listener:
    """Bars where somebody looks: in a terminal or a notebook; else nothing."""
    return Bars() if can_draw() else Listener()


def can_draw() -> bool:
    """Whether a bar can be drawn: in a terminal, or in a notebook that has what rich needs for it."""
    if "IPython" in sys.modules:  # else rich, which takes as long to import as a small job, need not be asked
        from importlib.util import find_spec

        from rich.console import Console

        if Console(stderr=True).is_jupyter:
            return find_spec("ipywidgets") is not None
    return sys.stderr.isatty()


def _outside() -> int:
    """The stack level of the first caller outside asmil: a warning names the user's line."""
    frame, level = sys._getframe(1), 1
    while frame.f_back and frame.f_globals.get("__name__", "").startswith(("asmil.", "contextlib")):
        frame, level = frame.f_back, level + 1
    return level


def steps_of_cells(advance: Advance) -> Callable[[int, int, int, int], None]:
    """Turn "this fold and seed is at that epoch, of so many" into steps of one bar, whose end comes nearer with it."""
    at: dict[tuple[int, int], tuple[int, int]] = {}

    def tell(fold: int, seed: int, done: int, total: int) -> None:
        before, planned = at.get((fold, seed), (0, total))
        at[fold, seed] = done, total
        advance(done - before, fewer=planned - total)

    return tell


@dataclass
class _Pace:
    """How much is done, and how fast: in parts where they are counted."""

    what: str
    total: int | None
    unit: str
    parts_unit: str | None
    done: int = 0
    parts: int = 0
    waiting: float = 0.0
    start: float = field(default_factory=lambda: time.monotonic())
    first: tuple[float, int] | None = None
    """When something was done for the first time, and how much: what was before it tells nothing of the pace."""

    def add(self, n: int, *, parts: int, waiting: float, fewer: int) -> None:
        """Add to all."""
        self.done += n
        self.parts += parts
        self.waiting += waiting
        if self.total is not None:
            self.total -= fewer
        if self.first is None and self.done:
            self.first = time.monotonic(), self.done

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.start

    @property
    def left(self) -> str:
        """The time left at the mean pace since the first unit; empty where it cannot be told yet, or at the end."""
        if self.first is None or self.total is None or not self.first[1] < self.done < self.total:
            return ""
        since, done = self.first
        return f"{_clock((time.monotonic() - since) / (self.done - done) * (self.total - self.done))} left"

    def __str__(self) -> str:
        if not self.done and not self.parts:
            return f"for {_clock(self.elapsed)}"
        if self.parts_unit and self.parts:
            seconds = self.elapsed
            share = f", {min(1.0, self.waiting / seconds):.0%} waiting for pixels" if self.waiting and seconds else ""
            return rate_text(self.parts, seconds, self.parts_unit) + share
        return rate_text(self.done, self.elapsed, self.unit)

    @property
    def line(self) -> str:
        """All of it."""
        if self.total is None:
            return f"{self.what}: {self}"
        return ", ".join(filter(None, (f"{self.what}: {self.done}/{self.total} {self.unit}", str(self), self.left)))


@contextmanager
def _bar(pace: _Pace) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    counts = (MofNCompleteColumn(), TextColumn(pace.unit), TextColumn("{task.fields[pace]}")) if pace.total else ()
    columns = (TextColumn("{task.description}"), BarColumn(), *counts, TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=pace.total is None) as bars:
        task = bars.add_task(pace.what, total=pace.total, pace="")

        def advance(n: int = 1, *, parts: int = 0, waiting: float = 0.0, fewer: int = 0) -> None:
            pace.add(n, parts=parts, waiting=waiting, fewer=fewer)
            text = ", ".join(filter(None, (str(pace), pace.left)))
            bars.update(task, completed=pace.done, total=pace.total, pace=text)

        yield advance


@contextmanager
def _lines(pace: _Pace) -> Iterator[Advance]:
    """A line every few seconds, by a thread where nothing is done for as long, and one at the end."""
    ended, one_at_a_time = threading.Event(), threading.Lock()
    last, shown = pace.start, 0

    def show(*, after: float = LOG_EVERY_SECONDS) -> None:
        nonlocal last, shown
        with one_at_a_time:
            if time.monotonic() - last >= after:
                last, shown = time.monotonic(), pace.done
                print(pace.line, file=sys.stderr, flush=True)

    def advance(n: int = 1, *, parts: int = 0, waiting: float = 0.0, fewer: int = 0) -> None:
        pace.add(n, parts=parts, waiting=waiting, fewer=fewer)
        show()

    def tick() -> None:
        while not ended.wait(LOG_EVERY_SECONDS / 10):
            show(after=0.9 * LOG_EVERY_SECONDS)

    ticker = threading.Thread(target=tick, daemon=True)
    ticker.start()
    try:
        yield advance
    finally:
        ended.set()
        ticker.join()
        if pace.done != shown or (pace.total is None and last != pace.start):
            show(after=0.0)


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
