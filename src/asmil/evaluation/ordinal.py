"""Ordered levels: agreement and distance of the predicted level, of all resamples at once (`weight` as in survival)."""

import numpy as np
from jaxtyping import Float

from asmil.evaluation._weighted import Weights
from asmil.tasks import median_level


def ordinal_scores(
    targets: Float[np.ndarray, "rows 1"], values: Float[np.ndarray, "rows levels"], *, weight: Weights
) -> dict[str, np.ndarray]:
    """Quadratic weighted kappa, mean distance in levels, accuracy, and the share at most one level off.

    The predicted level is the median of the predicted distribution.
    """
    levels = values.shape[1]
    true, predicted = targets[:, 0].astype(int), median_level(values)
    total, miss = weight.sum(1), np.abs(true - predicted)
    of_true, of_predicted = weight @ np.eye(levels)[true], weight @ np.eye(levels)[predicted]
    apart = np.square(np.arange(levels)[:, None] - np.arange(levels))
    by_chance = np.einsum("bi,ij,bj->b", of_true, apart, of_predicted) / total
    with np.errstate(invalid="ignore", divide="ignore"):  # one level only: agreement by chance is complete
        kappa = np.where(by_chance > 0, 1 - weight @ miss**2 / by_chance, np.nan)
    return {
        "quadratic_kappa": kappa,
        "mae_levels": weight @ miss / total,
        "accuracy": weight @ (miss == 0) / total,
        "adjacent_accuracy": weight @ (miss <= 1) / total,
    }


def level_confusion(targets: Float[np.ndarray, "rows 1"], values: Float[np.ndarray, "rows levels"]) -> list[list[int]]:
    """Counts of rows by true (rows) and predicted (columns) level."""
    counts = np.zeros((values.shape[1], values.shape[1]), dtype=int)
    np.add.at(counts, (targets[:, 0].astype(int), median_level(values)), 1)
    return counts.tolist()
