"""Tiles of deep zoom: the right pixels, few open files, bounded memory, many clients."""

import io
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from asmil.errors import NotOfferedError, SlideError
from asmil.slides import open_slide
from asmil.viewer.pyramid import TILE_PX, Picture, Pyramid, _OpenSlides


def pixels(jpeg: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(jpeg)), dtype=float)


@pytest.fixture
def picture(cmu_slide) -> Picture:
    return Picture((2220, 2967), path=cmu_slide)


def test_the_tiles_of_a_level_make_up_the_slide_at_that_scale(picture, cmu_slide):
    pyramid, level = Pyramid(), picture.levels[-2]
    columns, rows = (-(-length // (2 * TILE_PX)) for length in picture.size)
    parts = [[pixels(pyramid.tile(picture, level, (x, y))) for x in range(columns)] for y in range(rows)]
    whole = np.concatenate([np.concatenate(row, axis=1) for row in parts], axis=0)
    with open_slide(cmu_slide) as slide:
        expected = slide.read((0, 0), (1110, 1484), mpp=2 * slide.mpp)
    assert whole.shape == expected.shape
    assert np.abs(whole - expected).mean() < 3  # JPEG
    assert np.abs(whole - np.roll(expected, 8, axis=1)).mean() > 6  # a shift would be seen


def test_the_coarsest_level_is_one_tile_and_there_is_none_beyond(picture):
    pyramid = Pyramid()
    assert pixels(pyramid.tile(picture, 0, (0, 0))).shape == (371, 278, 3)
    for level, xy in ((0, (1, 0)), (0, (0, -1)), (len(picture.levels), (0, 0)), (picture.levels[-1], (0, 6))):
        with pytest.raises(NotOfferedError):
            pyramid.tile(picture, level, xy)


def test_a_region_is_that_square_of_the_slide(picture, cmu_slide):
    found = pixels(Pyramid().region(picture, (640, 800), 160))
    with open_slide(cmu_slide) as slide:
        assert np.abs(found - slide.read((640, 800), 160, mpp=slide.mpp)).mean() < 3
    for corner, side in (((0, 0), 100_000), ((0, 0), 0), ((2220, 0), 10), ((-10, 0), 10)):
        with pytest.raises(NotOfferedError):
            Pyramid().region(picture, corner, side)


def test_without_a_file_the_thumbnail_is_stretched_and_without_one_all_is_white(tmp_path):
    half = np.zeros((100, 200, 3), np.uint8)
    half[:, 100:] = 255
    Image.fromarray(half).save(tmp_path / "t.png")
    tile = pixels(Pyramid().tile(Picture((800, 400), thumbnail=tmp_path / "t.png"), 1, (0, 0)))
    assert tile.shape == (400, 512, 3)
    assert tile[:, :390].mean() < 3
    assert tile[:, 410:].mean() > 250
    assert pixels(Pyramid().tile(Picture((800, 400)), 1, (1, 0))).mean() == 255


def test_kept_tiles_are_bounded_and_read_once(picture, monkeypatch):
    reads = []
    original = type(open_slide(picture.path)).read
    monkeypatch.setattr("asmil.slides.slide.Slide.read", lambda *a, **k: reads.append(1) or original(*a, **k))
    pyramid = Pyramid()
    first = pyramid.tile(picture, 1, (0, 0))
    assert pyramid.tile(picture, 1, (0, 0)) == first
    assert len(reads) == 1
    small = Pyramid(kept_bytes=len(first) + 10)
    for xy in ((0, 0), (1, 0), (0, 1)):
        small.tile(picture, 1, xy)
        assert small._kept._size <= len(first) + 10
    assert len(reads) == 4


class Pretended:
    """Stands for an open slide: it knows whether two threads are in it, and how many are open."""

    alive, most = 0, 0

    def __init__(self, *_, **__):
        type(self).alive += 1
        type(self).most = max(self.most, self.alive)
        self.users, self.open = 0, True

    def close(self):
        assert self.open
        assert not self.users
        self.open = False
        type(self).alive -= 1


def test_few_slides_stay_open_and_each_has_one_reader_at_a_time(tmp_path):
    slides = _OpenSlides(2, opener=Pretended)
    pictures = [Picture((10, 10), path=tmp_path / f"{i}.svs") for i in range(5)]

    def use(number: int) -> None:
        with slides.opened(pictures[number % 5]) as slide:
            assert slide.open
            slide.users += 1
            time.sleep(0.001)
            assert slide.users == 1
            slide.users -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, range(200)))
    assert Pretended.alive <= 2 < Pretended.most <= 2 + 8


def test_a_file_that_cannot_be_opened_is_an_error_each_time(tmp_path):
    (tmp_path / "broken.svs").write_bytes(b"nothing")
    pyramid, picture = Pyramid(), Picture((10, 10), path=tmp_path / "broken.svs")
    for _ in range(2):
        with pytest.raises(SlideError):
            pyramid.tile(picture, 0, (0, 0))
