"""Slide-level metrics by name, and decision thresholds for validation sets.

Every metric takes `y` int (slides,) and `prob` float (slides, classes) and returns a float. The decision is
the class of largest probability (.5 for two classes): a threshold tuned on the reported set is never used
here. A set in which only one class occurs has no AUROC, average precision, F1, balanced accuracy or MCC:
these are then nan.

Published MIL tables often print *micro* F1, which is accuracy under another name; `macro_f1` is the macro
average.
"""

from collections.abc import Callable

import numpy as np

from asmil.errors import MetricError
from asmil.registry import FunctionRegistry

# The metrics of many resamples at once, from how often each patient was drawn.
#
# Each function `f(y, prob, counts, groups)` takes `counts` float64 (resamples, patients) and `groups` int
# (rows,), the patient of each row, and returns for every resample the number that the metric of the same name
# below gives for the set in which the rows of patient g occur counts[g] times; nan where that is undefined. Time
# grows with resamples x rows, and no more; `intervals` gives the resamples in blocks, so that memory does not.

ECE_BINS = 15


def one_class(y: np.ndarray) -> bool:
    """Whether only one class occurs."""
    return bool((y == y[0]).all())


def squared_errors(y: np.ndarray, prob: np.ndarray) -> np.ndarray:
    """Each row's term of the Brier score (rows,)."""
    return ((prob - np.eye(prob.shape[1])[y]) ** 2).sum(1) / (2 if prob.shape[1] == 2 else 1)


def log_losses(y: np.ndarray, prob: np.ndarray) -> np.ndarray:
    """Each row's negative log-probability of its class (rows,), floored at the float64 epsilon."""
    return -np.log(np.maximum(prob[np.arange(len(y)), y], np.finfo(np.float64).eps))


def calibration_gaps(y: np.ndarray, prob: np.ndarray) -> np.ndarray:
    """Confidence minus correctness in the column of each row's bin of confidence, else 0: (rows, bins).

    Bins have equal width and are open on the left, closed on the right.
    """
    confidence = prob.max(1)
    bins = np.clip(np.ceil(confidence * ECE_BINS).astype(int) - 1, 0, ECE_BINS - 1)
    return np.eye(ECE_BINS)[bins] * (confidence - (prob.argmax(1) == y))[:, None]


def _per_group(values: np.ndarray, groups: np.ndarray, n_groups: int) -> np.ndarray:
    """Sums of values (rows, k) over the rows of each patient: float64 (patients, k)."""
    return np.stack([np.bincount(groups, weights=column, minlength=n_groups) for column in values.T], axis=1)


def _by_score(
    positive: np.ndarray, scores: np.ndarray, counts: np.ndarray, groups: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How many positives, and how many rows at all, each resample has of each score, ascending: (resamples, scores)."""
    order = np.argsort(scores)
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))
    everything = counts[:, groups[order]]
    own = everything * positive[order]
    if len(starts) < len(order):
        own, everything = (np.add.reduceat(drawn, starts, axis=1) for drawn in (own, everything))
    return own, everything


def _auroc_one(positive: np.ndarray, scores: np.ndarray, counts: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Mann-Whitney: the share of pairs in which the positive scores higher, ties a half.

    `asmil.tasks.auroc` of thousands of resamples of patients at once, whose rows are never repeated; equal to the bit.
    """
    own, everything = _by_score(positive, scores, counts, groups)
    negative = everything - own
    wins = np.einsum("bs,bs->b", own, negative.cumsum(1) - negative / 2)
    return wins / (own.sum(1) * negative.sum(1))


def _average_precision_one(
    positive: np.ndarray, scores: np.ndarray, counts: np.ndarray, groups: np.ndarray
) -> np.ndarray:
    """Mean over the positives of the precision among all rows that score as high."""
    own, everything = _by_score(positive, scores, counts, groups)
    true, found = (rows[:, ::-1].cumsum(1)[:, ::-1] for rows in (own, everything))
    total = np.einsum("bs,bs->b", own, true / np.maximum(found, 1))  # 0 only where nothing is drawn either
    return np.where(found[:, 0] > true[:, 0], total / true[:, 0], np.nan)


def _each_class(score: Callable) -> Callable:
    def many(y: np.ndarray, prob: np.ndarray, counts: np.ndarray, groups: np.ndarray) -> np.ndarray:
        n_classes = prob.shape[1]
        scored = [1] if n_classes == 2 else range(n_classes)
        return np.mean([score(y == c, prob[:, c], counts, groups) for c in scored], axis=0)

    return many


def _accuracy(confusion: np.ndarray) -> np.ndarray:
    return np.trace(confusion, axis1=1, axis2=2) / confusion.sum((1, 2))


def _only_several_classes(values: np.ndarray, confusion: np.ndarray) -> np.ndarray:
    return np.where((confusion.sum(2) > 0).sum(1) > 1, values, np.nan)


def _mean_of_defined(parts: np.ndarray, wholes: np.ndarray) -> np.ndarray:
    """Mean over classes of parts / wholes where the whole is not zero."""
    shares = np.divide(parts, wholes, out=np.zeros_like(parts), where=wholes > 0)
    return shares.sum(1) / (wholes > 0).sum(1)


def _balanced_accuracy(confusion: np.ndarray) -> np.ndarray:
    hits = np.diagonal(confusion, axis1=1, axis2=2)
    return _only_several_classes(_mean_of_defined(hits, confusion.sum(2)), confusion)


def _macro_f1(confusion: np.ndarray) -> np.ndarray:
    hits = np.diagonal(confusion, axis1=1, axis2=2)
    return _only_several_classes(_mean_of_defined(2 * hits, confusion.sum(1) + confusion.sum(2)), confusion)


def _mcc(confusion: np.ndarray) -> np.ndarray:
    n, true, predicted = confusion.sum((1, 2)), confusion.sum(2), confusion.sum(1)
    covariance = n * np.trace(confusion, axis1=1, axis2=2) - (true * predicted).sum(1)
    spread = np.sqrt((n**2 - (true**2).sum(1)) * (n**2 - (predicted**2).sum(1)))
    values = np.divide(covariance, spread, out=np.zeros_like(covariance), where=spread > 0)
    return _only_several_classes(values, confusion)


CONFUSION_METRICS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "macro_f1": _macro_f1,
    "mcc": _mcc,
}
"""Metrics that depend on the confusion matrix alone: float (resamples, true, predicted) -> (resamples,)."""


def _by_confusion(score: Callable) -> Callable:
    def many(y: np.ndarray, prob: np.ndarray, counts: np.ndarray, groups: np.ndarray) -> np.ndarray:
        n_classes = prob.shape[1]
        cells = np.eye(n_classes**2)[y * n_classes + prob.argmax(1)]
        confusion = counts @ _per_group(cells, groups, counts.shape[1])
        return score(confusion.reshape(-1, n_classes, n_classes))

    return many


def _mean(values: np.ndarray, counts: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Mean over the drawn rows of values (rows, k): (resamples, k)."""
    n_groups = counts.shape[1]
    return counts @ _per_group(values, groups, n_groups) / (counts @ np.bincount(groups, minlength=n_groups))[:, None]


def _brier(y: np.ndarray, prob: np.ndarray, counts: np.ndarray, groups: np.ndarray) -> np.ndarray:
    return _mean(squared_errors(y, prob)[:, None], counts, groups)[:, 0]


def _log_loss(y: np.ndarray, prob: np.ndarray, counts: np.ndarray, groups: np.ndarray) -> np.ndarray:
    return _mean(log_losses(y, prob)[:, None], counts, groups)[:, 0]


def _ece(y: np.ndarray, prob: np.ndarray, counts: np.ndarray, groups: np.ndarray) -> np.ndarray:
    return np.abs(_mean(calibration_gaps(y, prob), counts, groups)).sum(1)


RESAMPLED: dict[str, Callable[..., np.ndarray]] = {
    "auroc": _each_class(_auroc_one),
    "average_precision": _each_class(_average_precision_one),
    "brier": _brier,
    "log_loss": _log_loss,
    "ece": _ece,
    **{name: _by_confusion(score) for name, score in CONFUSION_METRICS.items()},
}


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


def _of_all(name: str, y: np.ndarray, prob: np.ndarray) -> float:
    """The metric of the rows as they are: of one patient, who has them all and is drawn once."""
    return float(RESAMPLED[name](y, prob, np.ones((1, 1)), np.zeros(len(y), dtype=np.int64))[0])


def _of_all_classes(name: str, y: np.ndarray, prob: np.ndarray) -> float:
    return _of_all(name, y, prob) if len(np.unique(y)) == prob.shape[1] else float("nan")


@METRICS.register
def auroc(y: np.ndarray, prob: np.ndarray) -> float:
    """Area under the ROC curve of class 1; with more classes the macro mean of one class versus the rest.

    nan when a class does not occur.
    """
    return _of_all_classes("auroc", *check_scores(y, prob))


@METRICS.register
def average_precision(y: np.ndarray, prob: np.ndarray) -> float:
    """Average precision (no interpolation) of class 1; with more classes the macro mean one versus rest.

    Chance is the prevalence. nan when a class does not occur.
    """
    return _of_all_classes("average_precision", *check_scores(y, prob))


@METRICS.register
def accuracy(y: np.ndarray, prob: np.ndarray) -> float:
    """Share of slides whose most probable class is the true one (also the micro F1)."""
    return _of_all("accuracy", *check_scores(y, prob))


@METRICS.register
def balanced_accuracy(y: np.ndarray, prob: np.ndarray) -> float:
    """Mean recall over the classes that occur; nan when only one does."""
    return _of_all("balanced_accuracy", *check_scores(y, prob))


@METRICS.register
def macro_f1(y: np.ndarray, prob: np.ndarray) -> float:
    """F1 averaged over the classes that occur or are predicted; nan when only one class occurs."""
    return _of_all("macro_f1", *check_scores(y, prob))


@METRICS.register
def mcc(y: np.ndarray, prob: np.ndarray) -> float:
    """Matthews correlation (multi-class form of Gorodkin 2004); nan when only one class occurs."""
    return _of_all("mcc", *check_scores(y, prob))


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
