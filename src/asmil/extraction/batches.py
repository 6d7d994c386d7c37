"""Tiles of one slide after the other become batches, in buffers that are used again and again."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, TypeAlias, TypeVar

import numpy as np
from torch import Tensor

from asmil.errors import AsmilError
from asmil.extraction.job import SlideJob

# Bounded queues between the threads of the pipeline, which either end can close.

T = TypeVar("T")


class Closed(Exception):
    """The channel was closed: whoever waits on it may stop."""


class Channel(Generic[T]):
    """At most `size` items on their way from one thread to another; a waiting thread wakes when it is closed."""

    def __init__(self, size: int, items: Iterable[T] = ()):
        self._items, self._size = deque(items), size
        self._closed, self._changed = False, threading.Condition()

    def put(self, item: T) -> None:
        """Wait for room. Raises Closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._items) < self._size)
            if self._closed:
                raise Closed
            self._items.append(item)
            self._changed.notify_all()

    def get(self) -> T:
        """Wait for an item. Raises Closed, also where items are left."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or bool(self._items))
            if self._closed:
                raise Closed
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def close(self) -> None:
        """Let nobody wait here any more; closing twice is harmless."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def __len__(self) -> int:
        return len(self._items)


class Ahead(Generic[T]):
    """An iterator that a thread works ahead on, by at most `size` items; what it raises is raised here, in its place.

    `close` ends the thread and returns when it has ended; whatever else the iterator may wait on must be closed first.
    """

    def __init__(self, items: Iterator[T], *, size: int, name: str):
        self._channel: Channel[tuple[str, T | BaseException | None]] = Channel(size)
        self._items = items
        self._thread = threading.Thread(target=self._work, name=f"asmil-{name}", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        with suppress(Closed):
            try:
                for item in self._items:
                    self._channel.put(("item", item))
                self._channel.put(("end", None))
            except Closed:
                raise
            except BaseException as error:  # noqa: BLE001 - the other thread raises it
                self._channel.put(("error", error))
        close = getattr(self._items, "close", None)
        if close is not None:
            close()

    def __iter__(self) -> Iterator[T]:
        while True:
            kind, value = self._channel.get()
            if kind == "end":
                return
            if isinstance(value, BaseException):
                raise value
            yield value  # type: ignore[misc]

    def close(self) -> None:
        """End the thread, whatever it has done so far."""
        self._channel.close()
        self._thread.join()


Pixels: TypeAlias = np.ndarray | Tensor

BUFFERS = 4
"""Batches of pixels in memory: being read, waiting, being copied and being encoded."""
FULL = 7 / 8
"""A batch this full goes on: to fill the rest would mean to read a few tiles at a time."""


@dataclass
class Batch:
    """Pixels of one or more slides: `tiles` uint8 (capacity, height, width, 3), of which `size` are filled.

    `spans` says whose rows they are; `ends` are the slides that end here; `waiting` is how long, in seconds, the
    encoders had nothing to do before it came. `unstained` (capacity,) are tiles whose stain was left as it was.
    """

    tiles: Pixels
    encoders: tuple[int, ...]
    size: int = 0
    spans: list[tuple[SlideJob, slice]] = field(default_factory=list)
    ends: list[SlideJob] = field(default_factory=list)
    waiting: float = 0.0
    unstained: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.unstained = np.zeros(len(self.tiles), bool)

    def goes_with(self, job: SlideJob) -> bool:
        """Whether tiles of that slide can be in this batch: of one size, for the same encoders."""
        return tuple(job.features) == self.encoders and job.grid.tile_px == self.tiles.shape[1]

    @property
    def full(self) -> bool:
        """Whether it should go on as it is."""
        return self.size >= FULL * len(self.tiles)

    def add(self, job: SlideJob, start: int) -> int:
        """Read tiles of a slide from `start` until the batch or the slide is full; the number that was read."""
        count = min(len(self.tiles) - self.size, len(job.grid) - start)
        out = self.tiles[self.size : self.size + count]
        kept = job.read(start, out if isinstance(out, np.ndarray) else out.numpy())  # pinned memory is shared
        if kept:
            self.spans.append((job, slice(self.size, self.size + kept)))
        self.size += kept
        return count


class Buffers:
    """The pixels of `BUFFERS` batches, handed out and given back; `allocate(shape)` makes one."""

    def __init__(self, allocate: Callable[[tuple[int, ...]], Pixels], *, batch_size: int):
        self._allocate, self._batch_size = allocate, batch_size
        self._free: Channel[Pixels | None] = Channel(BUFFERS, [None] * BUFFERS)

    def batch(self, job: SlideJob) -> Batch:
        """An empty batch for tiles of that slide; waits for a buffer."""
        tiles, shape = self._free.get(), (self._batch_size, job.grid.tile_px, job.grid.tile_px, 3)
        if tiles is None or tuple(tiles.shape) != shape:
            tiles = self._allocate(shape)
        return Batch(tiles, tuple(job.features))

    def give_back(self, batch: Batch) -> None:
        """The pixels are not needed any more."""
        self._free.put(batch.tiles)

    def close(self) -> None:
        """Let nobody wait for a buffer."""
        self._free.close()


def read_batches(jobs: Iterable[SlideJob | None], buffers: Buffers) -> Iterator[Batch | None]:
    """Fill batches with the tiles of slide after slide; a batch holds several slides where these are small.

    None among the jobs means that no slide comes until one is done: what is read so far goes on, and None after it.
    What is wrong with one slide ends that slide only.
    """
    batch: Batch | None = None
    for job in jobs:
        if batch is not None and (job is None or not batch.goes_with(job)):
            yield batch
            batch = None
        if job is None:
            yield None
            continue
        done = 0
        try:
            while done < len(job.grid) and job.error is None:
                batch = batch or buffers.batch(job)
                try:
                    done += batch.add(job, done)
                except (AsmilError, OSError) as error:
                    job.fail(error)
                    break
                if done == len(job.grid):
                    batch.ends.append(job)
                if batch.full:
                    yield batch
                    batch = None
        finally:
            job.end_of_reading()
    if batch is not None:
        yield batch
