"""Numbers as tables write them."""

import math

import numpy as np
import pandas as pd
import pytest

from asmil.units import numbers_of


def test_numbers_are_read_bit_for_bit():
    """The ordinary converter of pandas before 3.1 is one unit in the last place off in a tenth of these."""
    values = np.random.default_rng(0).random(5000).tolist()
    assert numbers_of(map(repr, values)) == values


@pytest.mark.parametrize("cell", ["", "n/a", "1_000", "1,5", "٣", "1 2", "0x10"])
def test_what_is_no_number_is_none(cell):
    assert math.isnan(numbers_of([cell])[0])


def test_numbers_of_a_column():
    assert numbers_of(pd.Series([" 3 ", "-1e3", "inf"])) == [3, -1000, math.inf]
