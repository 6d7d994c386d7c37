"""One pool of threads for all slides of a process, as wide as the cores it may use."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

from asmil._cores import cores

T = TypeVar("T")
CHUNK = 8
"""At most so many neighbours go to one thread at a time: fewer than a row of tiles, so that threads work side by
side in one row and seldom want the same tile."""


@cache
def pool() -> ThreadPoolExecutor:
    """The pool of this process, made at its first use."""
    return ThreadPoolExecutor(cores(), thread_name_prefix="asmil-pixels")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=pool.cache_clear)  # threads do not survive a fork


def each(function: Callable[[T], object], items: Sequence[T], *, chunk: int = CHUNK) -> None:
    """Call `function` on every item, on all cores; the error of the first item that has one is raised at the end.

    A core that is free takes the next `chunk` neighbours, fewer where there are few. A function that runs here
    must not call `each` itself: it would wait for threads that wait for it.
    """
    if len(items) < 2 or cores() == 1:
        for item in items:
            function(item)
        return
    step = max(1, min(chunk, len(items) // (4 * cores())))
    starts, errors = iter(range(0, len(items), step)), dict[int, Exception]()

    def run() -> None:
        for start in starts:  # of all threads: each start is taken once
            try:
                for item in items[start : start + step]:
                    function(item)
            except Exception as error:  # noqa: BLE001 - raised below
                errors[start] = error

    for worker in [pool().submit(run) for _ in range(cores())]:
        worker.result()
    if errors:
        raise errors[min(errors)]
