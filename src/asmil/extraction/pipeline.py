"""Slides to a folder of feature files in one stream of tiles: while one is encoded the next is opened and read."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing, suppress
from pathlib import Path

import numpy as np

from asmil.encoders import Encoder
from asmil.errors import AsmilError
from asmil.extraction.batches import Ahead, Channel, Closed
from asmil.extraction.encoding import Encoding, encode_jobs
from asmil.extraction.job import FeatureJob, SlideJob, SlideResult
from asmil.extraction.settings import ExtractSettings
from asmil.slides import Slide, SlideFile
from asmil.tiles import TileGrid

IN_FLIGHT = 3
"""Slides under way at most: one being encoded, one being read, one being opened."""


def extract_slides(
    slides: Iterable[Path | SlideFile],
    folder: Path,
    *,
    encoders: Sequence[Encoder],
    settings: ExtractSettings,
    settings_of: Callable[[SlideFile], ExtractSettings] | None = None,
    batch_size: int = 256,
    progress: Callable[[int, float], None] | None = None,
) -> Generator[SlideResult]:
    """Write `features/<store>/<slide>.h5` for every encoder, `tissue/<slide>.geojson` and `thumbnails/` in `folder`.

    Pixels are read once for all encoders; a slide that has finished files of some is encoded by the others only. Small
    slides share batches. Memory does not grow with the slides. A tissue file that is there is used as it is: edit it in
    QuPath and run again.

    Args:
        slides: slide files (of one of several scenes the first) or slides, pulled one by one from a thread: never more
            than two beyond the one that is worked on.
        settings: of all slides; they name the stores.
        settings_of: the settings of a slide, where it has some of its own.
        batch_size: tiles that are encoded at once; halved, for good, where they do not fit the device's memory.
        progress: told the number of tiles of each batch, and the seconds that the encoders waited for it.

    Yields:
        exactly one result per slide, in their order. What is wrong with one slide is its result.

    Raises:
        EncoderError: no encoder, encoders on several devices, or a batch without tiles.
    """
    pipeline = _Pipeline(slides, folder, encoding=Encoding(encoders), settings=settings, settings_of=settings_of)
    return pipeline.run(batch_size, progress or (lambda tiles, waiting: None))


class _Pipeline:
    """The threads of one call and the slides that are under way, oldest first."""

    def __init__(
        self,
        slides: Iterable[Path | SlideFile],
        folder: Path,
        *,
        encoding: Encoding,
        settings: ExtractSettings,
        settings_of: Callable[[SlideFile], ExtractSettings] | None,
    ):
        self._slides, self._folder, self._encoding = iter(slides), Path(folder), encoding
        self._settings, self._settings_of = settings, settings_of or (lambda slide: settings)
        self._under_way: deque[FeatureJob] = deque()
        self._slots: Channel[None] = Channel(IN_FLIGHT, [None] * IN_FLIGHT)
        self._out_of_slots = False
        self._names: dict[str, SlideFile] = {}
        self._writer, self._writes = ThreadPoolExecutor(1, "asmil-write"), deque[Future[None]]()

    def run(self, batch_size: int, progress: Callable[[int, float], None]) -> Generator[SlideResult]:
        """Encode in this thread, while others prepare, read and write."""
        jobs = Ahead(self._jobs(), size=1, name="prepare")

        def stop() -> None:
            self._slots.close()
            jobs.close()

        # Without the None of a wait that is over: batches are filled as long as slides come.
        to_read = (job for job in jobs if job is not None or self._out_of_slots)
        batches = encode_jobs(to_read, self._encoding, batch_size=batch_size, stop=stop)
        try:
            for batch in batches:
                if batch is None:
                    wait(self._writes)
                else:
                    self._write(batch.ends)
                    progress(batch.size, batch.waiting)
                yield from self._ready()
            wait(self._writes)
            yield from self._ready()
        finally:
            batches.close()
            stop()
            self._writer.shutdown()
            for job in self._under_way:
                job.end_of_reading()
                job.close()

    def _jobs(self) -> Iterator[FeatureJob | None]:
        """In a thread of its own: the slides to be read, prepared; None before it waits for one to be done."""
        while True:
            if not len(self._slots):
                self._out_of_slots = True
                yield None
            self._slots.get()
            self._out_of_slots = False
            slide = next(self._slides, None)
            if slide is None:
                return
            source = slide if isinstance(slide, SlideFile) else SlideFile(Path(slide))
            job = FeatureJob(source, self._folder, encoders=self._encoding.encoders, store=self._settings)
            self._under_way.append(job)
            try:
                self._check_name(source)
                job.prepare(self._settings_of(source))
            except (AsmilError, OSError) as error:
                job.fail(error)
            if job.result is None:
                yield job
            else:
                job.end_of_reading()

    def _write(self, ended: Iterable[SlideJob]) -> None:
        whole = [job for job in ended if isinstance(job, FeatureJob) and not job.error]
        self._writes += [self._writer.submit(job.write) for job in whole]

    def _check_name(self, slide: SlideFile) -> None:
        first = self._names.setdefault(slide.name, slide)
        if first != slide:
            found = f"{first.path} and {slide.path}"
            raise AsmilError("two slides have the same name", found=found, fix="rename one, or extract it elsewhere")

    def _ready(self) -> Iterator[SlideResult]:
        """Results in the order of the slides, as far as they are there."""
        while self._writes and self._writes[0].done():
            self._writes.popleft().result()  # raises what is not about one slide
        while self._under_way and (result := self._under_way[0].result) is not None:
            self._under_way.popleft().close()
            yield result
            with suppress(Closed):  # no more slides come
                self._slots.put(None)


def embed(
    slide: Slide,
    grid: TileGrid,
    encoder: Encoder,
    *,
    batch_size: int = 256,
    progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Encode the tiles of a grid, float16 (tiles, dim), in the order of the grid.

    A thread reads ahead while the encoder jobs; a few batches are in memory. Values beyond the range of float16 are
    clamped to it. `progress` is told the number of tiles of each batch that is done.

    Raises:
        EncoderError: the encoder returns another shape than its card says, or values that are not finite.
        SlideError: the slide cannot be read there.
    """
    job = SlideJob()
    job.start(slide, grid, dims={0: encoder.card.dim})
    with closing(job):
        for batch in encode_jobs([job], Encoding([encoder]), batch_size=batch_size):
            if batch is not None and progress is not None and job.error is None:
                progress(batch.size)
        if job.error is not None:
            raise job.error
        return np.concatenate([np.empty((0, encoder.card.dim), np.float16), *job.features[0]])
