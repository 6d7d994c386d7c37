"""Embedding streams a real slide in batches and stops at an encoder that is wrong."""

import threading

import numpy as np
import pytest
import torch

from asmil.encoders import EncoderCard, create_encoder
from asmil.errors import EncoderError
from asmil.extraction import embed
from asmil.extraction.batches import BUFFERS
from asmil.slides import open_slide
from asmil.tiles import TileGrid


@pytest.fixture(scope="module")
def slide(cmu_slide):
    with open_slide(cmu_slide) as slide:
        yield slide


@pytest.fixture(scope="module")
def grid(slide):
    xy = np.array([(x, y) for y in range(600, 900, 64) for x in range(300, 620, 64)])
    return TileGrid(xy, 32, 2 * slide.mpp, slide.mpp, slide.size, np.ones(len(xy)))


class _Mean:
    """Mean colour, times a factor; remembers its batches."""

    weight_hash = "mean"
    device = torch.device("cpu")
    precision = "fp32"

    def __init__(self, *, factor=1.0, dim=3):
        self.card = EncoderCard("mean", dim, None, None, "-", "-")
        self.factor, self.batches, self.threads = factor, [], set()

    def __call__(self, tiles):
        self.batches.append(len(tiles))
        self.threads.add(threading.current_thread())
        return torch.from_numpy(tiles).float().mean((1, 2)) * self.factor


def test_equals_encoding_all_tiles_at_once(slide, grid):
    encoder = create_encoder("colour-texture")
    wanted = encoder(slide.read_tiles(grid)).numpy()
    found = embed(slide, grid, encoder, batch_size=7)
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, wanted, rtol=2e-3, atol=2e-3)


def test_batches_progress_and_threads(slide, grid):
    encoder, done = _Mean(), []
    embed(slide, grid, encoder, batch_size=10, progress=done.append)
    assert encoder.batches == [10, 10, 5]
    assert done == [10, 10, 5]
    assert encoder.threads == {threading.current_thread()}


class _Counted:
    """Counts the tiles that are read and not yet encoded."""

    def __init__(self, slide, encoder):
        self.slide, self.encoder, self.most = slide, encoder, 0

    def read_tiles(self, grid, indices, out):
        self.most = max(self.most, int(indices[-1]) + 1 - sum(self.encoder.batches[:-1]))
        return self.slide.read_tiles(grid, indices, out=out)


def test_holds_no_more_batches_than_there_are_buffers(slide, grid):
    encoder = _Mean()
    counted = _Counted(slide, encoder)
    embed(counted, grid, encoder, batch_size=2)
    assert 2 <= counted.most <= 2 * BUFFERS < len(grid)


def test_large_values_are_clamped(slide, grid):
    features = embed(slide, grid, _Mean(factor=1e6))
    assert np.isfinite(features).all()
    assert features.max() == np.finfo(np.float16).max


def test_values_that_are_not_finite_are_an_error(slide, grid):
    with pytest.raises(EncoderError, match="not finite"):
        embed(slide, grid, _Mean(factor=float("nan")))


def test_another_dimension_than_the_card_is_an_error(slide, grid):
    with pytest.raises(EncoderError, match="another shape"):
        embed(slide, grid, _Mean(dim=4))


def test_a_reading_error_reaches_the_caller(slide, grid):
    class _Damaged:
        def read_tiles(self, grid, indices, out):
            raise OSError("damaged there")

    with pytest.raises(OSError, match="damaged there"):
        embed(_Damaged(), grid, _Mean())
