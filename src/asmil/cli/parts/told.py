"""What a command tells, and how: quiet, verbose, or one JSON object at its end; the same for all commands."""

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from asmil.errors import AsmilError
from asmil.files import Facts, finite
from asmil.progress import Listener, Outcome, Screen

if TYPE_CHECKING:
    from typer import Context
    from typer.core import TyperCommand

QUIET, VERBOSE, JSON = "--quiet", "--verbose", "--json"
WITHOUT = ("bench", "doctor", "init", "list", "view")
"""Commands without these flags: they work on no cohort and no run, or for as long as somebody looks."""


def _flags(
    quiet: bool = typer.Option(False, QUIET, help="Show warnings and errors only."),
    verbose: bool = typer.Option(False, VERBOSE, help="Say on stderr what is opened, begun and written (logging)."),
    as_json: bool = typer.Option(
        False, JSON, help="Print one JSON object at the end, and nothing else to stdout: exit code, outcome, paths."
    ),
) -> None:
    """For the help and the parser; `telling` looks at what was typed, which may be wrong elsewhere."""


def add_flags(command: "TyperCommand") -> None:
    """Let a command take the three flags; it does not hear of them."""
    single = typer.Typer(add_completion=False)
    single.command()(_flags)
    for option in typer.main.get_command(single).params:
        option.expose_value = False
        command.params.append(option)


class _Quiet(Screen):
    """Warnings alone, and a table where something was set aside."""

    stage, note = Listener.stage, Listener.note

    def closing(self, outcome: Outcome) -> None:
        if not outcome.whole:
            super().closing(outcome)


_asked: set[str] = set()
"""Which of the flags were given to the command at work."""
_told: Facts = {}
"""What it has to say at its end."""


def screen() -> Screen:
    """The listener that was asked for."""
    return _Quiet() if QUIET in _asked else Screen()


def wrote(called: str, path: Path, *, shown: str | None = None) -> None:
    """Say which file or folder was written: `called: path`, or the line that is shown instead."""
    _told.setdefault("paths", {}).setdefault(called, []).append(str(path))
    typer.echo(f"{called}: {path}" if shown is None else shown)


def remember(outcome: Outcome | None = None, **facts: object) -> None:
    """Keep for the JSON object what became of the slides, and facts by name that are not None: metrics, settings."""
    _told.update((name, fact) for name, fact in facts.items() if fact is not None)
    if outcome is not None:
        aside = [asdict(row) for row in outcome.set_aside]
        _told["outcome"] = {"done": outcome.counts["ok"], "set_aside": aside}


@contextmanager
def telling(ctx: "Context") -> Iterator[None]:
    """Work in this block as the flags among the words behind the command ask for; with --json tell its end."""
    _told.clear()
    _asked.clear()
    _asked.update({QUIET, VERBOSE, JSON}.intersection(ctx.args))
    stdout, code = sys.stdout, 0
    try:
        with ExitStack() as stack:
            if VERBOSE in _asked:
                stack.enter_context(_verbose())
            if JSON in _asked:
                stack.enter_context(redirect_stdout(sys.stderr))
            elif QUIET in _asked:
                stack.enter_context(redirect_stdout(stack.enter_context(open(os.devnull, "w"))))
            yield
    except Exception as stop:
        code = int(getattr(stop, "exit_code", 1))
        _told["error"] = _in_words(stop.__cause__ or stop)
        raise
    finally:
        if JSON in _asked:
            first: Facts = {"command": ctx.invoked_subcommand, "version": version("asmil"), "exit_code": code}
            last: Facts = {"outcome": None, "paths": {}, "metrics": {}, "error": None}
            print(json.dumps(finite(first | last | _told), ensure_ascii=False), file=stdout, flush=True)
        _asked.clear()


def _in_words(error: BaseException) -> Facts | None:
    """What went wrong; None of an end that is no error."""
    if isinstance(error, typer.Exit):
        return None
    if isinstance(error, AsmilError):
        return {"what": error.what, "found": None if error.found is None else str(error.found), "fix": error.fix}
    words = getattr(error, "format_message", lambda: f"{type(error).__name__}: {error}")
    return {"what": words(), "found": None, "fix": None}


class _Lines(logging.Handler):
    """A line on what is stderr now: a bar takes its place while it is drawn."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr, flush=True)


@contextmanager
def _verbose() -> Iterator[None]:
    logger, handler = logging.getLogger("asmil"), _Lines()
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s", "%H:%M:%S"))
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
