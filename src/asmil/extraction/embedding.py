"""Slide and grid to features in memory: the pipeline with one slide."""

from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np

from asmil.encoders import Encoder
from asmil.extraction._encoding import Encoding
from asmil.extraction._stream import encode_works
from asmil.extraction._work import Work
from asmil.tiles import TileGrid

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

    A thread reads ahead while the encoder works; a few batches are in memory. Values beyond the range of float16 are
    clamped to it. `progress` is told the number of tiles of each batch that is done.

    Raises:
        EncoderError: the encoder returns another shape than its card says, or values that are not finite.
        SlideError: the slide cannot be read there.
    """
    work = Work()
    work.start(slide, grid, dims={0: encoder.card.dim})
    with closing(work):
        for batch in encode_works([work], Encoding([encoder]), batch_size=batch_size):
            if batch is not None and progress is not None and work.error is None:
                progress(batch.size)
        if work.error is not None:
            raise work.error
        return np.concatenate([np.empty((0, encoder.card.dim), np.float16), *work.features[0]])
