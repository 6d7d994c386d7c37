"""Sums over rows that count several times, of many samples at once."""

import numpy as np
from jaxtyping import Float

Weights = Float[np.ndarray, "samples rows"]
"""How often each row was drawn in each sample."""


def per_value(values: np.ndarray, weight: Weights) -> Float[np.ndarray, "samples distinct"]:
    """The weight of the rows of each distinct value (rows,), ascending."""
    if not len(values):
        return np.zeros((len(weight), 0))
    order = np.argsort(values, kind="stable")
    first = np.flatnonzero(np.append(True, np.diff(values[order]) > 0))
    return np.add.reduceat(weight[:, order], first, axis=1)
