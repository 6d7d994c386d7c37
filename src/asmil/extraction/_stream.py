"""Slides in, slides with features out: reading in a thread, encoding in the caller's."""

import time
from collections.abc import Callable, Generator, Iterable

from asmil.errors import EncoderError
from asmil.extraction._channel import Ahead
from asmil.extraction._encoding import Encoding
from asmil.extraction._reading import Batch, Buffers, read_batches
from asmil.extraction._work import Work


def encode_works(
    works: Iterable[Work | None],
    encoding: Encoding,
    *,
    batch_size: int,
    stop: Callable[[], None] = lambda: None,
) -> Generator[Batch | None]:
    """Yield each batch when its features are with its slides, and None when all that was read so far is.

    `stop` is called first when it ends, in whatever way: it must wake whoever the works wait on.

    Raises:
        EncoderError: a batch without tiles.
    """
    if batch_size < 1:
        raise EncoderError("a batch needs at least one tile", found=f"batch_size={batch_size}")
    buffers = Buffers(encoding.allocate, batch_size=batch_size)
    batches = Ahead(read_batches(works, buffers), size=1, name="read")
    waited, since = 0.0, time.perf_counter()
    try:
        for batch in batches:
            waited += time.perf_counter() - since
            if batch is None:
                finished = encoding.drain()
            else:
                batch.waiting, waited = waited, 0.0
                finished = encoding.submit(batch)
            for done in finished:
                buffers.give_back(done)
                yield done
            if batch is None:
                yield None
            since = time.perf_counter()
        for done in encoding.drain():
            yield done
    finally:
        stop()
        buffers.close()
        batches.close()
