"""One slide on its way through the pipeline: its tiles, what was read of them, and the features so far."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING

import numpy as np

from asmil.tiles import TileGrid

if TYPE_CHECKING:
    from asmil.slides import Slide

IN_MEMORY = 64 * 2**20
"""Bytes of features that are kept in memory for one slide and encoder; more go to a file without a name."""
BLOCK_TILES = 4096


class Rows:
    """Features of a slide as they come, float16, in bounded memory however large the slide is."""

    def __init__(self, dim: int, *, folder: Path | None = None):
        self._dim, self._tiles = dim, 0
        self._file = SpooledTemporaryFile(IN_MEMORY, dir=None if folder is None else str(folder))  # noqa: SIM115 - lives as long as the slide's work

    @property
    def shape(self) -> tuple[int, int]:
        """(tiles so far, dim)."""
        return self._tiles, self._dim

    def append(self, rows: np.ndarray) -> None:
        """Add the rows (tiles, dim) that come next."""
        self._file.write(np.ascontiguousarray(rows, np.float16).tobytes())
        self._tiles += len(rows)

    def close(self) -> None:
        """Forget the rows."""
        self._file.close()

    def __iter__(self) -> Iterator[np.ndarray]:
        self._file.seek(0)
        for start in range(0, self._tiles, BLOCK_TILES):
            count = min(BLOCK_TILES, self._tiles - start)
            data = self._file.read(count * self._dim * 2)
            yield np.frombuffer(data, np.float16).reshape(count, self._dim)


class Work:
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
            from asmil.tiles import flag_tiles

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
