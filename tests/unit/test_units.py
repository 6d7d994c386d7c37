"""Numbers as tables write them."""

import math

import numpy as np
import pandas as pd
import pytest

from asmil.errors import ConfigError
from asmil.units import numbers_of, row_numbers, with_decimal_points


def test_numbers_are_read_bit_for_bit():
    """The ordinary converter of pandas before 3.1 is one unit in the last place off in a tenth of these."""
    values = np.random.default_rng(0).random(5000).tolist()
    assert numbers_of(map(repr, values)) == values


@pytest.mark.parametrize("cell", ["", "n/a", "1_000", "1,5", "٣", "1 2", "0x10"])
def test_what_is_no_number_is_none(cell):
    assert math.isnan(numbers_of([cell])[0])


def test_numbers_of_a_column():
    assert numbers_of(pd.Series([" 3 ", "-1e3", "inf"])) == [3, -1000, math.inf]


@pytest.mark.parametrize("word", ["ca. 30", "n. d.", "siehe 2. Befund"])
def test_a_word_with_a_point_is_no_number_with_one(word):
    assert with_decimal_points(pd.Series(["12,5", word, "7"])).tolist() == ["12.5", word, "7"]


@pytest.mark.parametrize("other", ["1.234", "1.234,5", "2.5"])
def test_beside_numbers_with_points_commas_stay(other):
    assert with_decimal_points(pd.Series(["12,5", other])).tolist() == ["12,5", other]


def test_rows_are_numbers_or_a_mask():
    """A mask was taken for numbers: rows 0 and 1 for every tile."""
    mask = np.array([False, True, False, True])
    assert row_numbers(mask, of=4).tolist() == row_numbers([1, 3], of=4).tolist() == [1, 3]
    assert row_numbers(np.array([0, 1, 0, 1], np.uint8), of=4).tolist() == [0, 1, 0, 1], "numbers are numbers"
    assert row_numbers([], of=4).tolist() == []
    for wrong in ([4], [-1], [0.5], [1.0], mask[:3], mask[None], "1"):
        with pytest.raises(ConfigError, match=r"numbers, or a mask of all of them.*of 4 rows"):
            row_numbers(wrong, of=4)
