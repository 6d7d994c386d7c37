"""Whether one run is better than another on the same slides: the interval of the difference."""

from collections.abc import Sequence

import numpy as np

from asmil.errors import MetricError
from asmil.evaluation.intervals import Interval, bootstrap_values, percentile_interval
from asmil.evaluation.metrics import METRICS


def compare_predictions(
    y: np.ndarray,
    prob_a: np.ndarray,
    prob_b: np.ndarray,
    *,
    groups: np.ndarray,
    metrics: Sequence[str] = ("auroc", "macro_f1", "balanced_accuracy", "brier"),
    strata: np.ndarray | None = None,
    folds: np.ndarray | None = None,
    n: int = 1000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Metric of `prob_b` minus that of `prob_a`, with the 95 % interval of a paired bootstrap over patients.

    Both are scored on the same resamples, so that what makes slides hard for both cancels. An interval that
    excludes 0 speaks of these two trained models; to compare methods, look at several seeds too. With `folds`
    (rows,) the difference is the mean over folds, patients drawn within theirs; a fold without a value is left out.

    Raises:
        MetricError: predictions of different shapes.
    """
    if np.shape(prob_a) != np.shape(prob_b):
        raise MetricError("the runs predict different slides", found=f"{np.shape(prob_a)} and {np.shape(prob_b)}")
    y, prob_a, prob_b, groups = (np.asarray(values) for values in (y, prob_a, prob_b, groups))
    keys = np.zeros(len(y), dtype=int) if folds is None else np.asarray(folds)
    parts = [np.flatnonzero(keys == key) for key in np.unique(keys)]
    result = {}
    for name in metrics:
        values, drawn = [], []
        for i, rows in enumerate(parts):
            value = METRICS[name](y[rows], prob_b[rows]) - METRICS[name](y[rows], prob_a[rows])
            if np.isfinite(value):
                own = None if strata is None else np.asarray(strata)[rows]
                a, b = (
                    bootstrap_values(name, y[rows], p[rows], groups=groups[rows], strata=own, n=n, seed=seed + i)
                    for p in (prob_a, prob_b)
                )
                values.append(value)
                drawn.append(b - a)
        whole = float(np.mean(values)) if values else np.nan
        result[name] = percentile_interval(whole, np.mean(drawn, axis=0) if values else np.full(n, np.nan))
    return result
