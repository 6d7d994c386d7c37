"""Workers: each claims slides, extracts them and notes what became of each, until every slide is settled."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from asmil.extraction.claims import STALE_SECONDS, Claim, Claims
from asmil.extraction.engines import Engine, WorkerDied, run_tasks
from asmil.extraction.job import SlideResult
from asmil.extraction.ledger import FEATURES, FOLDER, THUMBNAILS, TISSUE, Ledger, Record, table_age, write_table
from asmil.extraction.settings import ExtractSettings, settings_of, store_name
from asmil.files import Facts, file_system_time, safe_name
from asmil.machine import cores
from asmil.slides import SlideFile

if TYPE_CHECKING:
    from asmil.encoders import Encoder

POLL_SECONDS = 0.3
LOOK_SECONDS = 1.0
TABLE_EVERY_SECONDS = 60.0
MOST_DEATHS = 3
"""A slide over which so many processes died is named as failed: the last of them had nothing else in hand."""

Settled = tuple[Record, ...]
"""What became of a slide: its record in the store of each encoder."""
Progress = Callable[[int, float], None]
"""Told the tiles of each batch, and the seconds the encoder waited for their pixels."""


@dataclass(frozen=True)
class EncoderChoice:
    """An encoder as plain values, to be made by the process that uses it."""

    name: str
    weights: Path | None = None
    precision: str | None = None
    stain: str = "none"
    stain_target: Path | None = None

    def create(self, device: str) -> "Encoder":
        """Load it.

        Raises:
            EncoderError: as `create_encoder`.
        """
        from asmil.encoders import create_encoder

        encoder = create_encoder(self.name, device=device, weights=self.weights, precision=self.precision)
        if self.stain == "none":
            return encoder
        from asmil.encoders import with_stain

        return with_stain(encoder, self.stain, target=self.stain_target)


@dataclass(frozen=True)
class Extraction:
    """Slides to extract into a folder, as plain values: what every worker gets.

    `own_settings` are fields of `settings` by slide. `since` is the start of the call (`start_time`): what was noted
    later, by any worker, is not done again. `threads` limits torch; None leaves it alone.
    """

    slides: tuple[SlideFile, ...]
    folder: Path
    encoders: tuple[EncoderChoice, ...]
    settings: ExtractSettings
    since: float
    own_settings: dict[str, Facts] = field(default_factory=dict)
    batch_size: int = 256
    device: str = "cpu"
    threads: int | None = None

    def settings_of(self, slide: SlideFile) -> ExtractSettings:
        """The settings of one slide."""
        return settings_of(slide.name, default=self.settings, table=self.own_settings)


def settle(extraction: Extraction, *, progress: Progress | None = None) -> Iterator[Settled]:
    """Settle every slide, sharing them with whoever works in the same folder; each is told once.

    Slides that nobody claimed come first, in one stream. Then those are seen to that others had claimed: what they
    settled is told, and what they left behind when they died is done again, one by one, so that a slide that ends its
    process is found out and named.

    Raises:
        AsmilError: an encoder cannot be loaded. Whatever else is not about one slide is raised too; the claims are
            released.
    """
    if extraction.threads is not None:
        import torch

        torch.set_num_threads(extraction.threads)
    encoders = [choice.create(extraction.device) for choice in extraction.encoders]
    stores = [store_name(extraction.settings, encoder) for encoder in encoders]
    ledger = Ledger(extraction.folder, stores, since=extraction.since)
    with Claims(extraction.folder) as claims:
        worker = _Worker(extraction, encoders, ledger=ledger, claims=claims, progress=progress)
        yield from worker.stream(worker.unclaimed(extraction.slides), take=claims.take)
        while waiting := len(worker.taken):
            yield from worker.settle_taken()
            if len(worker.taken) == waiting:
                time.sleep(POLL_SECONDS)
        worker.tidy()
    write_table(extraction.folder)


def extract_folder(
    extraction: Extraction, *, engine: Engine = "local", workers: int = 1, progress: Progress | None = None
) -> Iterator[Settled]:
    """Settle every slide by so many workers: processes here, or tasks of a Ray cluster.

    One local worker is this process. Several share the slides by their claims; one that dies is started again. On
    CUDA each has a GPU: here by turns, on Ray as the cluster lends them.

    Raises:
        RunError: a worker cannot be kept alive, or the engine is not there.
        AsmilError: as `settle`.
    """
    if engine == "local" and workers == 1:
        yield from settle(extraction, progress=progress)
        return
    told, dead = set[str](), None
    on_gpu = extraction.device.startswith("cuda")
    shares, tries = _shares(extraction, engine, workers), MOST_DEATHS + 2
    for _, event in run_tasks(settle, shares, engine=engine, workers=workers, gpus=int(on_gpu), tries=tries):
        if isinstance(event, WorkerDied):
            dead = event  # the others may still do it all
        elif isinstance(event, BaseException):
            raise event
        elif event[0].slide not in told:  # every worker tells of every slide
            told.add(event[0].slide)
            if progress is not None:
                progress(event[0].tiles if event[0].result == "ok" else 0, event[0].waiting)
            yield event
    if dead is not None and len(told) < len(extraction.slides):
        raise dead
    write_table(extraction.folder)


def _shares(extraction: Extraction, engine: Engine, workers: int) -> list[Extraction]:
    if not extraction.device.startswith("cuda"):
        return [replace(extraction, threads=max(1, cores() // workers))] * workers
    if engine == "ray" or extraction.device != "cuda":
        return [extraction] * workers
    import torch

    return [replace(extraction, device=f"cuda:{i % torch.cuda.device_count()}") for i in range(workers)]


class _Worker:
    """A worker's claims in hand, and the slides that others have claimed (`taken`)."""

    def __init__(
        self,
        extraction: Extraction,
        encoders: list["Encoder"],
        *,
        ledger: Ledger,
        claims: Claims,
        progress: Progress | None,
    ):
        self.taken: list[SlideFile] = []
        self._extraction, self._encoders, self._progress = extraction, encoders, progress
        self._ledger, self._claims = ledger, claims
        self._in_hand: deque[tuple[SlideFile, Claim]] = deque()
        self._told: deque[Settled] = deque()
        self._next_table = time.monotonic() + TABLE_EVERY_SECONDS

    def unclaimed(self, slides: Iterable[SlideFile]) -> Iterator[SlideFile]:
        """The slides that nobody has in work, by a listing of the claims that is a second old at most."""
        busy, looked = frozenset[str](), float("-inf")
        for slide in slides:
            if time.monotonic() - looked > LOOK_SECONDS:
                busy, looked = self._claims.busy(), time.monotonic()
            if safe_name(slide.name) in busy:
                self.taken.append(slide)
            else:
                yield slide

    def settle_taken(self) -> Iterator[Settled]:
        """Look once at the slides that others had claimed: those that nobody has in work any more are told, or done."""
        busy = self._claims.busy()
        waiting = self.taken.copy()
        self.taken.clear()
        for slide in waiting:
            if safe_name(slide.name) in busy:
                self.taken.append(slide)
            elif self._is_settled(slide):
                yield from self._tell()
            else:
                yield from self.stream([slide], take=self._claims.take_over)

    def stream(self, slides: Iterable[SlideFile], *, take: Callable[[str], Claim | None]) -> Iterator[Settled]:
        """Extract the slides that can be claimed, in one stream, and tell what was settled before."""
        from asmil.extraction.pipeline import extract_slides

        results = extract_slides(
            self._claimed(slides, take),
            self._extraction.folder,
            encoders=self._encoders,
            settings=self._extraction.settings,
            settings_of=self._extraction.settings_of,
            batch_size=self._extraction.batch_size,
            progress=self._progress,
        )
        with closing(results):  # its threads end before the claims do
            for result in results:
                slide, claim = self._in_hand.popleft()
                settled = self._ledger.note(slide, result, settings=self._extraction.settings_of(slide))
                claim.release()
                yield settled
                yield from self._tell()
                self._write_table()
        yield from self._tell()

    def tidy(self) -> None:
        """Remove what dead processes left: locks of settled slides, and partial files too old to be in work."""
        slides = {safe_name(slide.name) for slide in self._extraction.slides}
        for name in slides.intersection(self._claims.left_behind()):
            claim = self._claims.take_over(name)
            if claim is not None:
                _sweep(self._extraction.folder, name)
                claim.release()
        self._claims.sweep()
        _sweep(self._extraction.folder, None)

    def _claimed(self, slides: Iterable[SlideFile], take: Callable[[str], Claim | None]) -> Iterator[SlideFile]:
        for slide in slides:
            if self._is_settled(slide):
                continue
            claim = take(safe_name(slide.name))
            if claim is None:
                self.taken.append(slide)
            elif self._is_settled(slide):  # between the look and the claim
                claim.release()
            elif claim.deaths >= MOST_DEATHS:
                self._give_up(slide, claim)
            else:
                if claim.deaths:
                    _sweep(self._extraction.folder, safe_name(slide.name))
                self._in_hand.append((slide, claim))
                yield slide

    def _is_settled(self, slide: SlideFile) -> bool:
        settled = self._ledger.settled(slide, self._extraction.settings_of(slide))
        if settled:
            self._told.append(settled)
        return bool(settled)

    def _give_up(self, slide: SlideFile, claim: Claim) -> None:
        reason = (
            f"the process died {claim.deaths} times over this slide (killed, out of memory, or a fault in the library "
            "that decodes it). To fix: try another --reader, or fewer workers, and run the same command again"
        )
        result = SlideResult(name=slide.name, path=slide.path, result="failed", reason=reason)
        settings = self._extraction.settings_of(slide)
        self._told.append(self._ledger.note(slide, result, settings=settings, stage="process"))
        _sweep(self._extraction.folder, safe_name(slide.name))
        claim.release()

    def _tell(self) -> Iterator[Settled]:
        while self._told:
            yield self._told.popleft()

    def _write_table(self) -> None:
        if time.monotonic() < self._next_table:
            return
        started = time.monotonic()
        if table_age(self._extraction.folder) >= TABLE_EVERY_SECONDS:  # else another worker has just written it
            write_table(self._extraction.folder)
        now = time.monotonic()  # with very many slides less often: a twentieth of the time at most
        self._next_table = now + max(TABLE_EVERY_SECONDS, 20 * (now - started))


def _sweep(folder: Path, name: str | None) -> None:
    """Delete the partial files of a slide on which nobody works any more; without `name` all that are old.

    Old is what nobody wrote to for `STALE_SECONDS`, by the clock that gives these files their times: that of this
    machine may be another. A date so far ahead is none of now either: it is of a clock that was set back, or of a copy.
    """
    now = file_system_time(folder)
    for place in (f"{FOLDER}/*", f"{FEATURES}/*", TISSUE, THUMBNAILS, ".claims"):
        for parent in folder.glob(place):
            for file in parent.glob(".*.partial*"):
                with suppress(FileNotFoundError):
                    own = file.name.startswith(f".{name}.")
                    if own if name else abs(now - file.stat().st_mtime) > STALE_SECONDS:
                        file.unlink()
