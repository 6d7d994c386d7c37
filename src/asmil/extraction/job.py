"""One slide on its way: what is read of it, its features so far, its feature files, and what became of it."""

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from asmil.errors import AsmilError, TissueError
from asmil.extraction.feature_file import Rows, finished_tiles, write_features
from asmil.extraction.ledger import FEATURES, STORE, TISSUE
from asmil.extraction.settings import ExtractSettings, encoder_identity, store_identity, store_name, tissue_of
from asmil.files import safe_name, write_json
from asmil.slides import SlideFile
from asmil.tiles import QUALITY_FLAGS, TileGrid, flag_tiles, tile

if TYPE_CHECKING:
    from asmil.encoders import Encoder
    from asmil.slides import Slide

UNSTAINED = "unstained"
"""Among the flags of a result: tiles that were encoded as they are, as their stain could not be normalised."""


@dataclass(frozen=True)
class SlideResult:
    """What became of one slide, `path`, whose name is `name`.

    "ok": its feature files were written; "kept": they were there; "skipped": there is nothing on it to encode;
    "failed": something is wrong with it. `reason` says why, and of an "ok" slide what there is to know: a level that is
    damaged, other scenes in its file. `tiles` is the number of tiles in its files, `flags` how many of the tiles
    that were read have each quality flag. `seconds` lasted from opening it to its files, other slides being on their
    way beside it; `waiting` is its tiles' share of the seconds in which the encoders had no pixels to work on. They may
    have waited since before it was opened; over a run these shares add up to all the waiting there was.
    """

    name: str
    path: Path
    result: Literal["ok", "kept", "skipped", "failed"]
    reason: str = ""
    tiles: int = 0
    seconds: float = 0.0
    waiting: float = 0.0
    reader: str = ""
    flags: dict[str, int] = field(default_factory=dict)


class SlideJob:
    """One slide being read and encoded.

    `dims` maps the index of each encoder that is wanted to its number of features. Tiles with a quality flag of
    `exclude` are left out; where it names any, all flags are looked for.
    """

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.waiting, self.unstained = 0.0, 0
        self.features: dict[int, Rows] = {}
        self._kept: list[np.ndarray] = []
        self._flags: dict[str, list[np.ndarray]] = {}

    def start(
        self,
        slide: "Slide",
        grid: TileGrid,
        *,
        dims: Mapping[int, int],
        exclude: Sequence[str] = (),
        folder: Path | None = None,
    ) -> None:
        """Say what is to be read, before the first `read`. `folder` is where features go that memory is not for."""
        self.slide, self.grid, self.exclude = slide, grid, tuple(exclude)
        self.features = {index: Rows(dim, folder=folder) for index, dim in dims.items()}

    def read(self, start: int, out: np.ndarray) -> int:
        """Read as many tiles as `out` (tiles, height, width, 3) holds, from `start`; the number that is kept, in front.

        Raises:
            AsmilError, OSError: the slide cannot be read there.
        """
        indices = np.arange(start, start + len(out))
        self.slide.read_tiles(self.grid, indices, out=out)
        keep = np.ones(len(out), bool)
        if self.exclude:
            for name, flagged in flag_tiles(out, mpp=self.grid.mpp).items():
                self._flags.setdefault(name, []).append(flagged)
                if name in self.exclude:
                    keep &= ~flagged
            if not keep.all():
                out[: keep.sum()] = out[keep]
        self._kept.append(indices[keep])
        return int(keep.sum())

    def end_of_reading(self) -> None:
        """Told when no more of the slide is read, also where reading failed."""

    def fail(self, error: Exception) -> None:
        """Give the slide up: no more of it is read, and nothing written."""
        self.error = error

    def close(self) -> None:
        """Forget the features."""
        for rows in self.features.values():
            rows.close()

    @property
    def kept(self) -> TileGrid:
        """The tiles that were not left out."""
        kept = np.concatenate(self._kept)
        grid = self.grid
        return replace(grid, level0_xy=grid.level0_xy[kept], tissue_fraction=grid.tissue_fraction[kept])

    @property
    def flags(self) -> dict[str, np.ndarray]:
        """Of every tile that was read, kept or not, whether it has each quality flag: boolean (tiles,)."""
        return {name: np.concatenate(parts) for name, parts in self._flags.items()}

    @property
    def quality(self) -> dict[str, np.ndarray]:
        """The flags of the tiles that were kept."""
        kept = np.concatenate(self._kept)
        return {name: flagged[kept] for name, flagged in self.flags.items()}


class FeatureJob(SlideJob):
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
        for flag in settings.exclude:
            QUALITY_FLAGS[flag]  # raises where there is no such flag
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
                identity = file.parent / STORE
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
        return self.folder / FEATURES / store_name(self.store, encoder) / f"{self.name}.h5"

    def _identities(self) -> list[dict[str, object]]:
        """What each encoder's file must have been made with to count as finished; an edited tissue changes it."""
        tissue_file = self.folder / TISSUE / f"{self.name}.geojson"
        tissue = hashlib.sha256(tissue_file.read_bytes() if tissue_file.exists() else b"").hexdigest()[:16]
        own = asdict(self.settings) | {"tissue": tissue}
        return [own | encoder_identity(encoder) for encoder in self.encoders]
