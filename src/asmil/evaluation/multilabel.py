"""Several labels: ranking and decisions per label and over labels, unknown ones left out (`weight` as in survival)."""

import numpy as np
from jaxtyping import Float

from asmil.evaluation._weighted import Weights, per_value

Labels = Float[np.ndarray, "rows labels"]

MACRO = ("auroc", "average_precision", "f1")
DECISION = 0.5
"""Probability from which a label counts as predicted."""


def multilabel_scores(targets: Labels, values: Labels, *, weight: Weights) -> dict[str, np.ndarray]:
    """AUROC, average precision and F1 at one half: mean over labels (macro), and all pairs of row and label (micro).

    A label that is undefined in a resample is left out of its mean.
    """
    each = [label_scores(t, v, weight=weight) for t, v in zip(targets.T, values.T, strict=True)]
    labels = targets.shape[1]
    everything = label_scores(targets.ravel(), values.ravel(), weight=np.repeat(weight, labels, axis=1))
    scores = {f"macro_{name}": _mean_of_defined(np.stack([label[name] for label in each])) for name in MACRO}
    return scores | {f"micro_{name}": everything[name] for name in MACRO}


def label_scores(target: np.ndarray, value: np.ndarray, *, weight: Weights) -> dict[str, np.ndarray]:
    """AUROC, average precision and F1 of one label (rows,), whose unknown rows are nan."""
    known = np.isfinite(target)
    positive, value, weight = target[known] == 1, value[known], weight[:, known]
    yes, no = (per_value(-value, weight * rows) for rows in (positive, ~positive))  # the highest value first
    found, alarms = yes.cumsum(1), no.cumsum(1)
    n_yes, n_no = yes.sum(1), no.sum(1)
    precision = np.divide(found, found + alarms, out=np.zeros_like(found), where=found + alarms > 0)
    called = value >= DECISION
    hits = weight @ (positive & called)
    with np.errstate(invalid="ignore"):  # a resample without positives, or without negatives
        both = np.where((n_yes > 0) & (n_no > 0), 1.0, np.nan)
        return {
            "auroc": both * (no * (found - yes / 2)).sum(1) / (n_yes * n_no),
            "average_precision": both * (yes * precision).sum(1) / n_yes,
            "f1": 2 * hits / (n_yes + weight @ called),
        }


def _mean_of_defined(values: Float[np.ndarray, "labels samples"]) -> np.ndarray:
    defined = np.isfinite(values)
    total, count = np.where(defined, values, 0).sum(0), defined.sum(0)
    return np.divide(total, count, out=np.full(values.shape[1], np.nan), where=count > 0)
