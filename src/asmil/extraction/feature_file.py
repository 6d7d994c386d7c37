"""Feature files: one HDF5 per slide that readers of TRIDENT's and CLAM's files understand too."""

import importlib.metadata
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING

import h5py
import numpy as np

from asmil.encoders import Encoder
from asmil.errors import FeatureError
from asmil.files import new_hdf5
from asmil.tiles import TileGrid
from asmil.units import mpp_of_objective, same_mpp, whole

if TYPE_CHECKING:
    from asmil.slides import Slide


IN_MEMORY = 64 * 2**20
"""Bytes of features that are kept in memory for one slide and encoder; more go to a file without a name."""
BLOCK_TILES = 4096


SMALLEST_FEATURE = 1e-4
"""Of a slide's largest value: float16 has steps of 6e-8 at the least; of smaller features digits are lost, or all."""


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


def write_features(
    path: str | Path,
    features: np.ndarray | Rows,
    grid: TileGrid,
    *,
    encoder: Encoder,
    slide: "Slide",
    quality: Mapping[str, np.ndarray] | None = None,
    extra: dict[str, object] | None = None,
) -> Path:
    """Write the features of a slide atomically.

    Datasets: `features` float16 (tiles, dim), contiguous; `coords` int64 (tiles, 2), top-left corners in
    level-0 pixels; `tissue_fraction` float32 (tiles,); `quality/<flag>` boolean (tiles,) where flags were
    looked for. Facts are attributes of the file and of both
    `features` and `coords`, under the names TRIDENT and CLAM use. `patch_size` is in pixels at the tile's own
    scale, as in TRIDENT; `patch_level`, which makes CLAM take it for level-0 pixels, is written only where
    the two are the same. `extra` adds attributes, dictionaries as JSON; `extra["settings"]` is what
    `is_finished` compares.

    Raises:
        FeatureError: features and grid differ in length, there are none, they are not finite, or all so small that
            float16 rounds them away.
    """
    path, features = Path(path), features if isinstance(features, Rows) else np.asarray(features)
    if len(features.shape) != 2 or 0 in features.shape or features.shape[0] != len(grid):
        raise FeatureError(
            f"the features of {slide.name} do not fit its grid",
            found=f"shape {features.shape}, {len(grid)} tiles",
        )
    attributes = _attributes(grid, encoder=encoder, slide=slide) | (extra or {})
    with new_hdf5(path) as file:
        stored, done, largest = file.create_dataset("features", features.shape, np.float16), 0, 0.0
        for block in features if isinstance(features, Rows) else [features.astype(np.float16)]:
            if not np.isfinite(block).all():
                raise FeatureError(f"the features of {slide.name} are not finite in float16")
            stored[done : done + len(block)] = block
            done, largest = done + len(block), max(largest, float(np.abs(block).max()))
        if largest < SMALLEST_FEATURE:
            fix = "have the encoder return larger numbers: times a thousand, say"
            raise FeatureError(f"the features of {slide.name} are too small for float16", found=largest, fix=fix)
        file["coords"] = grid.level0_xy.astype(np.int64)
        file["tissue_fraction"] = grid.tissue_fraction.astype(np.float32)
        for flag, tiles in (quality or {}).items():
            file[f"quality/{flag}"] = np.asarray(tiles, bool)
        for holder in (file, file["features"], file["coords"]):
            for name, value in attributes.items():
                holder.attrs[name] = _plain(value)
    return path


def is_finished(path: str | Path, *, settings: Mapping[str, object]) -> bool:
    """Whether a feature file is complete and was made with exactly these settings.

    A file that is absent, empty, truncated, foreign or of other settings is not finished; none of them
    raises.
    """
    return finished_tiles(path, settings=settings) > 0


def finished_tiles(path: str | Path, *, settings: Mapping[str, object]) -> int:
    """The number of tiles in a feature file for which `is_finished` holds, else 0."""
    try:
        with h5py.File(path, "r") as file:
            features, coords = file["features"], file["coords"]
            stored = json.loads(file.attrs["settings"])
            tiles = len(features) if features.ndim == 2 and coords.shape == (len(features), 2) else 0
    except (
        OSError,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
    ):  # what h5py and json say of other files
        return 0
    return tiles if stored == json.loads(_json(settings)) else 0


def _attributes(grid: TileGrid, *, encoder: Encoder, slide: "Slide") -> dict[str, object]:
    facts: dict[str, object] = {
        "format": "asmil",
        "asmil_version": importlib.metadata.version("asmil"),
        "name": slide.name,
        "slide": slide.name,
        "encoder": encoder.card.name,
        "weight_hash": encoder.weight_hash,
        "precision": encoder.precision,
        "tile_px": grid.tile_px,
        "mpp": grid.mpp,
        "slide_mpp": grid.slide_mpp,
        "patch_size": grid.tile_px,
        "patch_size_level0": whole(grid.tile_level0_px),
        "overlap": grid.overlap_px,
        "level0_width": grid.slide_size[0],
        "level0_height": grid.slide_size[1],
        "level0_magnification": whole(slide.objective or mpp_of_objective(1) / grid.slide_mpp),
        "target_magnification": whole(mpp_of_objective(1) / grid.mpp),
        "settings": {},
    }
    if tuple(slide.bounds) != (0, 0, *grid.slide_size):  # QuPath shows only this part, and counts from its corner
        facts["level0_bounds"] = list(map(int, slide.bounds))
    return facts | ({"patch_level": 0} if same_mpp(grid.mpp, grid.slide_mpp) else {})


def _plain(value: object) -> object:
    return _json(value) if isinstance(value, dict | list | tuple) else "None" if value is None else value


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=str)
