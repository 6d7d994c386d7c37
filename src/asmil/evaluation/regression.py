"""Regression: errors and correlations of all resamples at once (`weight` as in survival)."""

import numpy as np
from jaxtyping import Float

from asmil.evaluation._weighted import Weights, per_value


def regression_scores(
    targets: Float[np.ndarray, "rows 1"], values: Float[np.ndarray, "rows 1"], *, weight: Weights
) -> dict[str, np.ndarray]:
    """Mean absolute error, root of the mean squared error, R2 (0 is the mean of these targets), correlations."""
    true, predicted = targets[:, 0], values[:, 0]
    total = weight.sum(1)
    squared = weight @ (true - predicted) ** 2 / total
    spread = weight @ true**2 / total - (weight @ true / total) ** 2
    return {
        "mae": weight @ np.abs(true - predicted) / total,
        "rmse": np.sqrt(squared),
        "r2": _divided(spread - squared, spread),
        "pearson": _correlation(*np.broadcast_arrays(true, predicted, weight)),
        "spearman": _correlation(_ranks(true, weight), _ranks(predicted, weight), weight),
    }


def _correlation(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    total = weight.sum(1, keepdims=True)
    x, y = (v - (weight * v).sum(1, keepdims=True) / total for v in (x, y))
    return _divided((weight * x * y).sum(1), np.sqrt((weight * x**2).sum(1) * (weight * y**2).sum(1)))


def _ranks(values: np.ndarray, weight: Weights) -> Weights:
    """Rank of each row among the rows drawn, equal values sharing the middle of their ranks."""
    place, drawn = np.unique(values, return_inverse=True)[1], per_value(values, weight)
    return (drawn.cumsum(1) - drawn / 2)[:, place]


def _divided(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, nan where the whole is nothing but rounding."""
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 1e-12 * np.abs(whole).max(initial=0))
