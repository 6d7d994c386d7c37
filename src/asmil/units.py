"""Lengths on a slide: micrometres, pixels, levels, and the plausible range of mpp; and numbers as tables write them."""

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from asmil.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

PLAUSIBLE_MPP = (0.05, 50.0)
"""Micrometres per pixel of any level 0: from 200x oil immersion to a lone low level of a DICOM pyramid."""

MPP_TOLERANCE = 0.02
"""Relative difference of two mpp values that are the same scale (scanners write .4990 or .5015 for "20x")."""


def mpp_of_objective(magnification: float) -> float:
    """Micrometres per pixel of a nominal objective: 10 um/px at 1x, hence .25 at 40x and .5 at 20x."""
    return 10.0 / magnification


def same_mpp(a: float, b: float, tolerance: float = MPP_TOLERANCE) -> bool:
    """Whether two scales differ by no more than the tolerance."""
    return abs(a - b) <= tolerance * max(a, b)


def plausible_mpp(mpp: float) -> bool:
    """Whether a value can be the mpp of a slide's level 0."""
    return PLAUSIBLE_MPP[0] <= mpp <= PLAUSIBLE_MPP[1]


def whole(value: float) -> float:
    """An integer where the value is one to within a hundredth: the readers of TRIDENT and CLAM index with it."""
    return round(value) if abs(value - round(value)) < 0.01 else float(value)


def row_numbers(rows: "Sequence[int] | np.ndarray", *, of: int) -> "np.ndarray":
    """Which of so many rows are meant, int64: by their numbers, or by a mask that says of each whether it is.

    A mask taken for numbers would be rows 0 and 1, again and again.

    Raises:
        ConfigError: neither whole numbers below `of`, nor as many truth values as there are rows.
    """
    import numpy as np

    given = np.asarray(rows)
    if given.dtype == bool and given.shape == (of,):
        return np.flatnonzero(given)
    found = f"{given.dtype} of shape {given.shape}"
    if given.ndim == 1 and (given.dtype.kind in "iu" or not given.size):
        numbers = given.astype(np.int64)
        if not given.size or (numbers.min() >= 0 and numbers.max() < of):
            return numbers
        found = f"{numbers.min()} to {numbers.max()}"
    raise ConfigError(
        "rows are numbers, or a mask of all of them", found=f"{found}, of {of} rows", fix=f"numbers from 0 to {of - 1}"
    )


def with_decimal_points(cells: "pd.Series") -> "pd.Series":
    """Numbers in text with points for their decimal commas, where the column shows that these are no thousands."""
    commas = cells.str.fullmatch(_COMMA)
    return cells.where(~commas, cells.str.replace(",", ".")) if has_decimal_commas(cells) else cells


_COMMA = r"[-+]?\d+,\d+"


def has_decimal_commas(cells: "pd.Series") -> bool:
    """Whether a column has commas in numbers, which are no thousands, and no points."""
    commas = cells[cells.str.fullmatch(_COMMA)]
    no_thousands = commas.str.split(",").str[1].str.len() != 3
    points = cells.str.contains(r"\d\.\d", regex=True)  # of numbers: that of "ca. 30" says nothing
    return bool(no_thousands.any()) and not points.any()


def numbers_of(cells: Iterable[str]) -> list[float]:
    """The numbers that cells of text are, NaN for what is none: by Python, which reads bit for bit what it wrote.

    How pandas reads a last digit depends on its version, and a run is known again by its numbers.
    """
    return [_number(cell) for cell in cells]


def _number(cell: str) -> float:
    try:
        return float(cell) if cell.isascii() and "_" not in cell else math.nan
    except ValueError:
        return math.nan
