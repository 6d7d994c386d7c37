"""Whether one run is better than another on the same slides: the interval of the difference."""

from collections.abc import Sequence

import numpy as np

from asmil.evaluation._errors import MetricError
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
    n: int = 1000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Metric of `prob_b` minus that of `prob_a`, with the 95 % interval of a paired bootstrap over patients.

    Both are scored on the same resamples, so that what makes slides hard for both cancels. An interval that
    excludes 0 speaks of these two trained models; to compare methods, look at several seeds too.

    Raises:
        MetricError: predictions of different shapes.
    """
    if np.shape(prob_a) != np.shape(prob_b):
        raise MetricError("the runs predict different slides", found=f"{np.shape(prob_a)} and {np.shape(prob_b)}")
    result = {}
    for name in metrics:
        a, b = (
            bootstrap_values(name, y, prob, groups=groups, strata=strata, n=n, seed=seed) for prob in (prob_a, prob_b)
        )
        result[name] = percentile_interval(METRICS[name](y, prob_b) - METRICS[name](y, prob_a), b - a)
    return result
