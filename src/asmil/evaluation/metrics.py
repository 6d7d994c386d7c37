"""Slide-level metrics by name, and decision thresholds for validation sets.

Every metric takes `y` int (slides,) and `prob` float (slides, classes) and returns a float. The decision is
the class of largest probability (.5 for two classes): a threshold tuned on the reported set is never used
here. A set in which only one class occurs has no AUROC, average precision, F1, balanced accuracy or MCC:
these are then nan.

Published MIL tables often print *micro* F1, which is accuracy under another name; `macro_f1` is the macro
average.
"""

import warnings
from collections.abc import Callable

import numpy as np
from sklearn import metrics as sk

from asmil.errors import MetricError
from asmil.evaluation._resampled import (
    CONFUSION_METRICS,
    calibration_gaps,
    log_losses,
    one_class,
    squared_errors,
)
from asmil.registry import FunctionRegistry

METRICS = FunctionRegistry("metric")
LOWER_IS_BETTER = frozenset({"brier", "ece", "log_loss"})
"""Metrics of error; all others are better when larger."""


def check_scores(y: np.ndarray, prob: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores as arrays of the right shape and type.

    Raises:
        MetricError: nothing to score, shapes that do not fit, non-finite scores, or labels that are no
            class index.
    """
    y, prob = np.asarray(y), np.asarray(prob, dtype=np.float64)
    if prob.ndim != 2 or prob.shape[1] < 2 or y.shape != prob.shape[:1] or not len(y):
        raise MetricError(
            "a metric needs one label and one row of class scores per slide",
            found=f"labels {y.shape}, scores {prob.shape}",
            fix="pass y (slides,) and prob (slides, classes) with two classes or more",
        )
    if not np.isfinite(prob).all():
        raise MetricError("scores are not finite", found=f"{int((~np.isfinite(prob)).any(1).sum())} slides")
    if not np.isin(y, np.arange(prob.shape[1])).all():
        raise MetricError(
            "labels are not class indices",
            found=f"{np.unique(y)[:10].tolist()} for {prob.shape[1]} classes",
            fix="number the classes from 0 in the order of the columns of prob",
        )
    return y.astype(np.int64), prob


def check_probabilities(y: np.ndarray, prob: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As `check_scores`, and rows are probability distributions (to 1e-3, so that half precision passes).

    Raises:
        MetricError: also when values leave [0, 1] or rows do not sum to one.
    """
    y, prob = check_scores(y, prob)
    if (prob < 0).any() or (prob > 1).any() or (np.abs(prob.sum(1) - 1) > 1e-3).any():
        raise MetricError(
            "class probabilities do not lie in [0, 1] or do not sum to one",
            found=f"values {prob.min():.4g} to {prob.max():.4g}, sums off {abs(prob.sum(1) - 1).max():.4g}",
            fix="pass the softmax of the logits",
        )
    return y, prob


def _one_versus_rest(score: Callable, y: np.ndarray, prob: np.ndarray) -> float:
    n_classes = prob.shape[1]
    if len(np.unique(y)) < n_classes:
        return float("nan")
    scored = [1] if n_classes == 2 else range(n_classes)
    return float(np.mean([score(y == c, prob[:, c]) for c in scored]))


@METRICS.register
def auroc(y: np.ndarray, prob: np.ndarray) -> float:
    """Area under the ROC curve of class 1; with more classes the macro mean of one class versus the rest.

    nan when a class does not occur.
    """
    return _one_versus_rest(sk.roc_auc_score, *check_scores(y, prob))


@METRICS.register
def average_precision(y: np.ndarray, prob: np.ndarray) -> float:
    """Average precision (no interpolation) of class 1; with more classes the macro mean one versus rest.

    Chance is the prevalence. nan when a class does not occur.
    """
    return _one_versus_rest(sk.average_precision_score, *check_scores(y, prob))


@METRICS.register
def accuracy(y: np.ndarray, prob: np.ndarray) -> float:
    """Share of slides whose most probable class is the true one (also the micro F1)."""
    y, prob = check_scores(y, prob)
    return float(sk.accuracy_score(y, prob.argmax(1)))


@METRICS.register
def balanced_accuracy(y: np.ndarray, prob: np.ndarray) -> float:
    """Mean recall over the classes that occur; nan when only one does."""
    y, prob = check_scores(y, prob)
    if one_class(y):
        return float("nan")
    with warnings.catch_warnings():  # a predicted class that never occurs has no recall: it is left out, as intended
        warnings.simplefilter("ignore", UserWarning)
        return float(sk.balanced_accuracy_score(y, prob.argmax(1)))


@METRICS.register
def macro_f1(y: np.ndarray, prob: np.ndarray) -> float:
    """F1 averaged over the classes that occur or are predicted; nan when only one class occurs."""
    y, prob = check_scores(y, prob)
    return float("nan") if one_class(y) else float(sk.f1_score(y, prob.argmax(1), average="macro", zero_division=0))


@METRICS.register
def mcc(y: np.ndarray, prob: np.ndarray) -> float:
    """Matthews correlation (multi-class form of Gorodkin 2004); nan when only one class occurs."""
    y, prob = check_scores(y, prob)
    return float("nan") if one_class(y) else float(sk.matthews_corrcoef(y, prob.argmax(1)))


@METRICS.register
def brier(y: np.ndarray, prob: np.ndarray) -> float:
    """Brier score: mean (p - y)^2 of class 1 in [0, 1]; with more classes the sum over them in [0, 2]."""
    y, prob = check_probabilities(y, prob)
    return float(squared_errors(y, prob).mean())


@METRICS.register
def log_loss(y: np.ndarray, prob: np.ndarray) -> float:
    """Mean negative log of the probability of the true class, floored at the float64 epsilon."""
    y, prob = check_probabilities(y, prob)
    return float(log_losses(y, prob).mean())


@METRICS.register
def ece(y: np.ndarray, prob: np.ndarray) -> float:
    """Expected calibration error of the predicted class (Guo 2017).

    15 bins of equal width over the largest probability, open on the left; with two classes only the upper
    half of the bins can be filled. Biased upwards on small sets: read it next to the Brier score.
    """
    y, prob = check_probabilities(y, prob)
    return float(np.abs(calibration_gaps(y, prob).mean(0)).sum())


def best_threshold(y: np.ndarray, prob: np.ndarray, *, metric: str = "macro_f1") -> float:
    """Threshold on the probability of class 1 with the best value of a metric: for VALIDATION slides only.

    Candidates are the midpoints between neighbouring scores; among equals the one nearest to .5 is taken.
    Decide class 1 where `prob[:, 1] >= threshold`.

    Raises:
        MetricError: not two classes, only one class present, or a metric that does not depend on a threshold.
    """
    y, prob = check_scores(y, prob)
    if prob.shape[1] != 2 or one_class(y):
        raise MetricError(
            "a decision threshold needs validation slides of exactly two classes",
            found=f"{prob.shape[1]} classes, labels {np.unique(y).tolist()}",
        )
    if metric not in CONFUSION_METRICS:
        raise MetricError(f"{metric!r} does not depend on a threshold", fix=f"one of {sorted(CONFUSION_METRICS)}")
    scores = np.unique(prob[:, 1])
    candidates = np.concatenate([[scores[0]], (scores[1:] + scores[:-1]) / 2, [np.nextafter(scores[-1], np.inf)]])
    below = np.stack([np.searchsorted(np.sort(prob[y == c, 1]), candidates) for c in (0, 1)], axis=1)
    total = np.bincount(y, minlength=2)
    confusion = np.stack([below, total - below], axis=2).astype(float)  # (candidates, true, predicted)
    values = CONFUSION_METRICS[metric](confusion)
    best = np.flatnonzero(values >= values.max() - 1e-12)
    return float(candidates[best[np.abs(candidates[best] - 0.5).argmin()]])


def youden_threshold(y: np.ndarray, prob: np.ndarray) -> float:
    """Threshold that maximises sensitivity + specificity - 1 (Youden 1950): for VALIDATION slides only.

    Raises:
        MetricError: as `best_threshold`.
    """
    return best_threshold(y, prob, metric="balanced_accuracy")
