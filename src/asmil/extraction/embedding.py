"""Slide and grid to features: pixels stream through the encoder, a batch ahead being read."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from asmil.encoders._protocol import FP16_MAX, Encoder
from asmil.errors import EncoderError
from asmil.tiles.grid import TileGrid

if TYPE_CHECKING:
    from asmil.slides import Slide


def embed(
    slide: "Slide",
    grid: TileGrid,
    encoder: Encoder,
    *,
    batch_size: int = 256,
    progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Encode the tiles of a grid, float16 (tiles, dim), in the order of the grid.

    While the encoder works on one batch a thread reads the next; no more than these two are in memory. Values
    beyond the range of float16 are clamped to it. `progress` is told the number of tiles of each
    batch that is done.

    Raises:
        EncoderError: the encoder returns another shape than its card says, or values that are not finite.
        SlideError: the slide cannot be read there.
    """
    if batch_size < 1:
        raise EncoderError("a batch needs at least one tile", found=f"batch_size={batch_size}")
    features = np.empty((len(grid), encoder.card.dim), np.float16)
    done = 0
    for tiles in _read_ahead(slide, grid, batch_size=batch_size):
        vectors = encoder(tiles).detach().float().cpu().numpy()
        _check(vectors, encoder, n_tiles=len(tiles))
        features[done : done + len(tiles)] = vectors.clip(-FP16_MAX, FP16_MAX)
        done += len(tiles)
        if progress is not None:
            progress(len(tiles))
    return features


def _read_ahead(slide: "Slide", grid: TileGrid, *, batch_size: int) -> Iterator[np.ndarray]:
    batches = [np.arange(i, min(i + batch_size, len(grid))) for i in range(0, len(grid), batch_size)]
    with ThreadPoolExecutor(1) as pool:  # one thread: a slide is not for several
        upcoming = None
        for batch in [*batches, None]:
            ready = upcoming.result() if upcoming is not None else None
            upcoming = pool.submit(slide.read_tiles, grid, batch) if batch is not None else None
            if ready is not None:
                yield ready


def _check(vectors: np.ndarray, encoder: Encoder, *, n_tiles: int) -> None:
    name, shape = encoder.card.name, (n_tiles, encoder.card.dim)
    if vectors.shape != shape:
        raise EncoderError(
            f"the encoder {name!r} returns features of another shape than its card says",
            found=f"{vectors.shape} instead of {shape}",
            fix="correct `dim` in its card",
        )
    if not np.isfinite(vectors).all():
        raise EncoderError(
            f"the encoder {name!r} returns values that are not finite",
            found=f"{int((~np.isfinite(vectors)).any(axis=1).sum())} of {n_tiles} tiles",
            fix="use precision fp32, or check its weights file",
        )
