"""Tasks that processes can import: some die, some raise."""

import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path


def count(task) -> Iterator[tuple[str, int, int]]:
    """Yield n events; where the task names a file that is not there yet, write it and die after the first of them."""
    name, n, die_once = task
    for i in range(n):
        yield name, i, os.getpid()
        if die_once and not Path(die_once).exists():
            Path(die_once).touch()
            os.kill(os.getpid(), signal.SIGKILL)


def fail(task) -> Iterator[str]:
    """Yield one event, then die, raise, or end."""
    yield task
    if task == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if task == "raise":
        raise ValueError("this one is wrong")


def surroundings(task) -> Iterator[dict[str, str]]:
    """What the environment of the process says to Ray."""
    yield {name: value for name, value in os.environ.items() if name.startswith("RAY_AUTH")}


def die_at_once(task) -> Iterator[str]:
    """Die before the first event."""
    os.kill(os.getpid(), signal.SIGKILL)
    yield task


def log_it(task) -> Iterator[str]:
    """Log a line as a part of asmil would, and yield."""
    logging.getLogger("asmil.of.a.worker").debug("at work on %s", task)
    yield task
