"""Reading many rectangles of a file of native tiles at once, and the pool of threads that does it."""

import threading

import numpy as np
import pytest

from asmil import machine
from asmil.errors import SlideError
from asmil.machine import each
from asmil.slides.native import NativeReader

WIDE, HIGH, COLUMNS, ROWS = 32, 24, 7, 6


class Drawn(NativeReader):
    """Tiles of random pixels, one of them background; the level ends within the last row and column."""

    def __init__(self):
        super().__init__(None)
        self.pixels = np.random.default_rng(0).integers(0, 255, (ROWS * HIGH, COLUMNS * WIDE, 3), np.uint8)
        self.level_sizes, self.downsamples, self.tile_sizes = (
            ((COLUMNS * WIDE - 9, ROWS * HIGH - 5),),
            (1.0,),
            ((32, 24),),
        )
        self.decoded, self.given, self.damaged = [], [], set()

    def decode(self, level, row, column, *, out=None):
        self.decoded.append((row, column))
        self.given.append(out)
        if (row, column) in self.damaged:
            raise SlideError(f"tile ({column}, {row}) is damaged")
        if (row, column) == (2, 3):
            return None
        tile = self.pixels[row * HIGH : (row + 1) * HIGH, column * WIDE : (column + 1) * WIDE]
        if out is None:
            return tile.copy()
        out[...] = tile
        return out

    def expected(self, corners, size):
        """What the rectangles show, cut from one picture with a white border."""
        slide = np.full((ROWS * HIGH + 200, COLUMNS * WIDE + 200, 3), 255, np.uint8)
        slide[100 : 100 + self.level_sizes[0][1], 100 : 100 + self.level_sizes[0][0]] = self.pixels[:-5, :-9]
        slide[100 + 2 * HIGH : 100 + 3 * HIGH, 100 + 3 * WIDE : 100 + 4 * WIDE] = 255
        width, height = size
        return np.stack([slide[100 + y : 100 + y + height, 100 + x : 100 + x + width] for x, y in corners])

    def read(self, corners, size):
        out = np.zeros((len(corners), size[1], size[0], 3), np.uint8)
        self.read_regions(0, corners, out=out)
        return out


def _grid(offset, step, *, columns=5, rows=4):
    return [(offset + x * step[0], offset + y * step[1]) for y in range(rows) for x in range(columns)]


@pytest.fixture(params=[1, 3])
def reader(request, monkeypatch):
    monkeypatch.setattr(machine, "cores", lambda: request.param)
    machine.pool.cache_clear()
    yield Drawn()
    machine.pool.cache_clear()


@pytest.mark.parametrize(
    ("corners", "size"),
    [
        (_grid(0, (32, 24), columns=7, rows=6), (32, 24)),
        (_grid(10, (32, 24)), (32, 24)),
        (_grid(-20, (32, 24), columns=8, rows=8), (32, 24)),
        (_grid(-60, (32, 24), columns=11, rows=10), (32, 24)),
        (_grid(5, (10, 10)), (20, 16)),
        (_grid(-30, (50, 60)), (70, 90)),
        ([(217, 0), (0, 141), (216, 140), (20, 20)], (32, 24)),
        ([(40, 30), (40, 30), (0, 0)], (32, 24)),
        ([], (32, 24)),
    ],
    ids=["aligned", "moved", "beyond", "far", "small", "large", "behind", "twice", "none"],
)
def test_rectangles_show_what_the_file_has_there(reader, corners, size):
    expected = reader.expected(corners, size) if corners else np.zeros((0, 24, 32, 3), np.uint8)
    np.testing.assert_array_equal(reader.read(corners, size), expected)
    assert len(reader.decoded) == len(set(reader.decoded))
    np.testing.assert_array_equal(reader.read(corners, size), expected)  # with what is kept of the first call


def test_batches_of_a_moved_grid_decode_each_tile_once(reader):
    corners = _grid(10, (32, 24), columns=6, rows=5)
    for start in range(0, len(corners), 7):
        part = corners[start : start + 7]
        np.testing.assert_array_equal(reader.read(part, (32, 24)), reader.expected(part, (32, 24)))
    assert sorted(reader.decoded) == [(row, column) for row in range(6) for column in range(7)]


def test_only_what_is_shared_with_a_next_call_is_kept(reader):
    reader.read(_grid(10, (32, 24), columns=6, rows=5), (32, 24))
    assert set(reader._cache._tiles) == {(0, row, column) for row in (4, 5) for column in range(7)}
    memory = {id(out) for out in reader.given if out is not None}
    assert len(memory) <= machine.cores()


def test_whole_tiles_are_decoded_in_their_place(reader):
    out = np.zeros((2, 24, 32, 3), np.uint8)
    reader.read_regions(0, [(0, 0), (32, 24)], out=out)
    assert all(given.base is out for given in reader.given)
    assert not reader._cache._tiles


def test_the_first_damaged_tile_is_named_and_others_are_read_again(reader):
    reader.damaged = {(1, 4), (1, 5), (4, 1)}
    corners = _grid(10, (32, 24), columns=6, rows=5)
    for _ in range(2):
        with pytest.raises(SlideError, match=r"tile \(4, 1\)"):
            reader.read(corners, (32, 24))
    reader.damaged = set()
    np.testing.assert_array_equal(reader.read(corners, (32, 24)), reader.expected(corners, (32, 24)))


@pytest.mark.parametrize("cores", [1, 4])
def test_each_calls_all_and_raises_the_first_error(cores, monkeypatch):
    monkeypatch.setattr(machine, "cores", lambda: cores)
    machine.pool.cache_clear()
    seen, lock = [], threading.Lock()

    def note(item):
        with lock:
            seen.append(item)

    for count in (0, 1, 3, 100):
        for chunk in (1, 8):
            seen.clear()
            each(note, range(count), chunk=chunk)
            assert sorted(seen) == list(range(count))

    def fail(item):
        if item in (31, 32, 77):
            raise SlideError(f"item {item}")

    for _ in range(20):
        with pytest.raises(SlideError, match="item 31"):
            each(fail, range(100), chunk=1)
    machine.pool.cache_clear()
