"""Bounded queues between the threads of the pipeline, which either end can close."""

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Generic, TypeVar

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
