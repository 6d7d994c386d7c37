"""One pool of threads for all slides of a process, as wide as the cores it may use."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import TypeVar

from asmil._cores import cores

T = TypeVar("T")
CHUNK, CHUNKS_PER_CORE = 8, 4
"""At most so many neighbours go to one thread at a time: fewer than a row of tiles, so that threads work side by
side in one row and seldom want the same tile; and chunks enough that the cores finish together."""


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(cores(), thread_name_prefix="asmil-pixels")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork


def each(function: Callable[[T], object], items: Sequence[T]) -> None:
    """Call `function` on every item, on all cores; the first error is raised after all calls have ended.

    Neighbouring items go to one thread. A function that runs here must not call `each` itself: it would
    wait for threads that wait for it.
    """
    count = max(min(len(items), cores() * CHUNKS_PER_CORE), len(items) // CHUNK)
    if count < 2 or cores() == 1:
        for item in items:
            function(item)
        return
    edges = [len(items) * i // count for i in range(count + 1)]

    def run(chunk: Sequence[T]) -> None:
        for item in chunk:
            function(item)

    futures = [_pool().submit(run, items[a:b]) for a, b in pairwise(edges)]
    errors = [error for error in (future.exception() for future in futures) if error is not None]
    if errors:
        raise errors[0]
