"""One slide from its path to its feature files: what the threads of the pipeline do with it, and what became of it."""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from asmil.errors import AsmilError, TissueError
from asmil.extraction._work import Work
from asmil.extraction.feature_file import finished_tiles, write_features
from asmil.extraction.result import UNSTAINED, SlideResult
from asmil.extraction.settings import ExtractSettings, encoder_identity, store_identity, store_name
from asmil.extraction.tissue import tissue_of
from asmil.files import safe_name, write_json
from asmil.slides import SlideFile
from asmil.tiles import tile

if TYPE_CHECKING:
    from asmil.encoders import Encoder


class Job(Work):
    """A slide whose features are wanted of some encoders, in their stores under an output folder.

    `store` are the settings of the stores, from which those of this slide, given to `prepare`, may differ.

    `prepare`, `read` and `write` are called in this order, each by a thread of its own; `end_of_reading` when no thread
    reads it any more. `result` is there when all is done.
    """

    def __init__(self, source: SlideFile, folder: Path, *, encoders: Sequence["Encoder"], store: ExtractSettings):
        super().__init__()
        self.source, self.folder, self.encoders, self.store = source, folder, encoders, store
        self.result: SlideResult | None = None
        self._since, self._is_open = time.perf_counter(), False

    def prepare(self, settings: ExtractSettings) -> None:
        """Open the slide and find its tiles, or set `result` where there is nothing to read.

        Raises:
            AsmilError, OSError: the slide cannot be opened, has no scale, or its tissue file is wrong.
        """
        self.settings, self.name = settings, safe_name(self.source.name)
        files = [self._file(encoder) for encoder in self.encoders]
        pairs = zip(files, self._identities(), strict=True)
        finished = [finished_tiles(file, settings=identity) for file, identity in pairs]
        if all(finished):
            self._end("kept", tiles=finished[0])
            return
        _check_flags(settings.exclude)
        self.slide = self.source.open(mpp=settings.slide_mpp, objective=settings.objective, reader=settings.reader)
        self._is_open = True
        tissue = tissue_of(self.slide, self.folder, settings=settings)
        self.identities = self._identities()  # now there is a tissue file
        try:
            grid = tile(
                self.slide,
                tissue,
                mpp=settings.mpp,
                tile_px=settings.tile_px,
                overlap_px=settings.overlap_px,
                min_tissue=settings.min_tissue,
            )
        except TissueError as error:
            self._end("skipped", reason=str(error))
            return
        dims = {index: self.encoders[index].card.dim for index, tiles in enumerate(finished) if not tiles}
        self.start(self.slide, grid, dims=dims, exclude=settings.exclude, folder=self.folder)

    def fail(self, error: Exception) -> None:
        """Give the slide up; `result` says why."""
        super().fail(error)
        self._end("failed", reason=str(error) or type(error).__name__)

    def write(self) -> None:
        """Write the feature file of every encoder, and `store.json` where it is the first of its store."""
        grid = self.kept
        if len(grid) == 0:
            self._end("skipped", reason=f"every tile was left out: {self._counts()}")
            return
        try:
            for index, rows in self.features.items():
                encoder, file = self.encoders[index], self._file(self.encoders[index])
                identity = file.parent / "store.json"
                if not identity.exists():
                    write_json(identity, store_identity(self.store, encoder))
                write_features(
                    file,
                    rows,
                    grid,
                    encoder=encoder,
                    slide=self.slide,
                    quality=self.quality,
                    extra={"settings": self.identities[index]},
                )
        except (AsmilError, OSError) as error:
            self.fail(error)
        else:
            self._end("ok", reason="; ".join(self.slide.notes), tiles=len(grid))

    def end_of_reading(self) -> None:
        """Close the slide; twice is harmless."""
        if self._is_open:
            self._is_open = False
            self.slide.close()

    def _end(self, result: Literal["ok", "kept", "skipped", "failed"], *, reason: str = "", tiles: int = 0) -> None:
        self.result = SlideResult(
            self.source.name,
            self.source.path,
            result,
            reason=reason,
            tiles=tiles,
            seconds=time.perf_counter() - self._since,
            waiting=self.waiting,
            reader=getattr(getattr(self, "slide", None), "reader", ""),
            flags=self._counts(),
        )

    def _counts(self) -> dict[str, int]:
        counts = {name: int(flagged.sum()) for name, flagged in self.flags.items()}
        return counts | ({UNSTAINED: self.unstained} if self.unstained else {})

    def _file(self, encoder: "Encoder") -> Path:
        return self.folder / "features" / store_name(self.store, encoder) / f"{self.name}.h5"

    def _identities(self) -> list[dict[str, Any]]:
        """What each encoder's file must have been made with to count as finished; an edited tissue changes it."""
        tissue_file = self.folder / "tissue" / f"{self.name}.geojson"
        tissue = hashlib.sha256(tissue_file.read_bytes() if tissue_file.exists() else b"").hexdigest()[:16]
        own = asdict(self.settings) | {"tissue": tissue}
        return [own | encoder_identity(encoder) for encoder in self.encoders]


def _check_flags(exclude: Sequence[str]) -> None:
    if exclude:
        from asmil.tiles import QUALITY_FLAGS

        for name in exclude:
            QUALITY_FLAGS[name]
