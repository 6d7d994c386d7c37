"""Batches of pixels become features: on a GPU the next batch is copied while this one is computed."""

import time
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor

from asmil.encoders import FP16_MAX, Encoder
from asmil.errors import AsmilError, EncoderError
from asmil.extraction.batches import Ahead, Batch, Buffers, Pixels, read_batches
from asmil.extraction.job import SlideJob

Outputs = dict[int, Tensor] | AsmilError
"""Features by index of the encoder, or what the encoder says is wrong with the batch."""


class Encoding:
    """The encoders of one pass over the pixels, all on one device.

    Raises:
        EncoderError: no encoder, or encoders on several devices.
    """

    def __init__(self, encoders: Sequence[Encoder]):
        devices = sorted({str(torch.device(encoder.device)) for encoder in encoders})
        if len(devices) != 1:
            raise EncoderError(
                "one pass over the slides needs encoders that are on one device",
                found=", ".join(devices) or "no encoder",
                fix="create them with the same `device`",
            )
        self.encoders = list(encoders)
        self._device = torch.device(devices[0])
        self._limits: dict[int, int] = {}  # the most tiles that fit the memory, where it was not a whole batch
        self._cuda = _Cuda(self._device) if self._device.type == "cuda" else None

    def allocate(self, shape: tuple[int, ...]) -> Pixels:
        """Memory for pixels: pinned where they are copied to a GPU."""
        return (
            np.empty(shape, np.uint8) if self._cuda is None else torch.empty(shape, dtype=torch.uint8, pin_memory=True)
        )

    def submit(self, batch: Batch) -> Iterator[Batch]:
        """Encode a batch; yields those whose features are with their slides: on a GPU the one before."""
        if self._cuda is None:
            self._deliver(batch, self._outputs(batch, batch.tiles[: batch.size]))
            yield batch
            return
        self._cuda.launch(batch, self._outputs)
        if len(self._cuda) > 1:
            yield self._gather(self._cuda)

    def drain(self) -> Iterator[Batch]:
        """Wait for the batches that are still being computed."""
        while self._cuda:
            yield self._gather(self._cuda)

    def _gather(self, cuda: "_Cuda") -> Batch:
        batch, outputs = cuda.gather()
        self._deliver(batch, outputs)
        return batch

    def _outputs(self, batch: Batch, tiles: Pixels) -> Outputs:
        try:
            return {index: self._encode(index, batch, tiles) for index in batch.encoders} if batch.size else {}
        except AsmilError as error:
            return error

    def _encode(self, index: int, batch: Batch, tiles: Pixels) -> Tensor:
        """Features of one encoder, float32 (tiles, dim); in smaller batches from the first that does not fit on."""
        parts, start, refused, encoder = [], 0, 0, self.encoders[index]
        while start < len(tiles):
            part = tiles[start : start + self._limits.get(index, len(tiles))]
            try:
                parts.append(encoder(part).detach().float())
                if hasattr(encoder, "unstained"):
                    batch.unstained[start : start + len(part)] |= encoder.unstained
                start += len(part)
                continue
            except torch.OutOfMemoryError:
                if len(part) == 1:
                    raise
                refused = refused or len(part)
                self._limits[index] = len(part) // 2
            if self._cuda is not None:  # outside of the handler: the exception holds what is to be freed
                torch.cuda.empty_cache()
        if refused:
            warnings.warn(
                f"{encoder.card.name}: {refused} tiles at once do not fit the memory of {self._device}; "
                f"going on with {self._limits[index]}",
                stacklevel=2,
            )
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    def _deliver(self, batch: Batch, outputs: Outputs) -> None:
        """Give every slide of the batch its features, or the error that ends it."""
        for job, rows in batch.spans:
            job.waiting += batch.waiting * (rows.stop - rows.start) / batch.size
            job.unstained += int(batch.unstained[rows].sum())
            if job.error is not None:
                continue
            try:
                if isinstance(outputs, AsmilError):
                    raise outputs
                for index, vectors in outputs.items():
                    values = checked(vectors.numpy(), rows, encoder=self.encoders[index], n_tiles=batch.size)
                    job.features[index].append(values)
            except (AsmilError, OSError) as error:
                job.fail(error)


def checked(vectors: np.ndarray, rows: slice, *, encoder: Encoder, n_tiles: int) -> np.ndarray:
    """The rows of one slide in a batch of features, within the range of float16.

    Raises:
        EncoderError: another shape than the card says, or values that are not finite.
    """
    name, shape = encoder.card.name, (n_tiles, encoder.card.dim)
    if vectors.shape != shape:
        raise EncoderError(
            f"the encoder {name!r} returns features of another shape than its card says",
            found=f"{vectors.shape} instead of {shape}",
            fix="correct `dim` in its card",
        )
    values = vectors[rows]
    if not np.isfinite(values).all():
        raise EncoderError(
            f"the encoder {name!r} returns values that are not finite",
            found=f"{int((~np.isfinite(values)).any(axis=1).sum())} of {len(values)} tiles",
            fix="use precision fp32, or check its weights file",
        )
    return values.clip(-FP16_MAX, FP16_MAX)


class _Cuda:
    """What is under way on a GPU: copies on a stream of their own, results fetched one batch late.

    So the next batch is on its way while this one is computed, and no step waits for the device.
    """

    def __init__(self, device: torch.device):
        self._device, self._copies = device, torch.cuda.Stream(device)
        self._launched: deque[tuple[Batch, Outputs, torch.cuda.Event, torch.cuda.Event]] = deque()
        self._last_end: torch.cuda.Event | None = None

    def __len__(self) -> int:
        return len(self._launched)

    def launch(self, batch: Batch, encode: Callable[[Batch, Tensor], Outputs]) -> None:
        """Start the copy of a batch, its encoding and the way back."""
        with torch.cuda.device(self._device):
            compute = torch.cuda.current_stream()
            with torch.cuda.stream(self._copies):
                tiles = cast(Tensor, batch.tiles)[: batch.size].to(self._device, non_blocking=True)
                copied = self._copies.record_event()
            compute.wait_event(copied)
            tiles.record_stream(compute)
            begin = compute.record_event(torch.cuda.Event(enable_timing=True))
            outputs = encode(batch, tiles)
            if not isinstance(outputs, AsmilError):
                outputs = {index: _pinned(vectors) for index, vectors in outputs.items()}
            end = compute.record_event(torch.cuda.Event(enable_timing=True))
        self._launched.append((batch, outputs, begin, end))

    def gather(self) -> tuple[Batch, Outputs]:
        """The oldest batch with its features in host memory; corrects its waiting to what the device was idle."""
        batch, outputs, begin, end = self._launched.popleft()
        end.synchronize()
        if self._last_end is not None:
            batch.waiting = min(batch.waiting, self._last_end.elapsed_time(begin) / 1000)
        self._last_end = end
        return batch, outputs


def _pinned(vectors: Tensor) -> Tensor:
    """A copy in pinned memory, complete when the stream is."""
    host = torch.empty(vectors.shape, dtype=vectors.dtype, pin_memory=True)
    return host.copy_(vectors, non_blocking=True)


def encode_jobs(
    jobs: Iterable[SlideJob | None],
    encoding: Encoding,
    *,
    batch_size: int,
    stop: Callable[[], None] = lambda: None,
) -> Generator[Batch | None]:
    """Yield each batch when its features are with its slides, and None when all that was read so far is.

    `stop` is called first when it ends, in whatever way: it must wake whoever the jobs wait on.

    Raises:
        EncoderError: a batch without tiles.
    """
    if batch_size < 1:
        raise EncoderError("a batch needs at least one tile", found=f"batch_size={batch_size}")
    buffers = Buffers(encoding.allocate, batch_size=batch_size)
    batches = Ahead(read_batches(jobs, buffers), size=1, name="read")
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
