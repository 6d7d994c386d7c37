"""The metrics of many resamples at once, from how often each patient was drawn.

Each function `f(y, prob, counts, groups)` takes `counts` float64 (resamples, patients) and `groups` int
(rows,), the patient of each row, and returns for every resample the number that the metric of the same name
in `metrics.py` gives for the set in which the rows of patient g occur counts[g] times; nan where that is
undefined. All is put as matrix products over patients, so that a million tiles of a hundred patients cost
seconds and nothing of size resamples x rows exists.
"""

from collections.abc import Callable, Iterator

import numpy as np

ECE_BINS = 15
_CELLS_AT_ONCE = 1_000_000


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


def _sorted_scores(scores: np.ndarray, groups: np.ndarray, n_groups: int) -> list[np.ndarray]:
    """The scores of each patient, ascending."""
    order = np.lexsort((scores, groups))
    return np.split(scores[order], np.cumsum(np.bincount(groups, minlength=n_groups))[:-1])


def _at_least(values: np.ndarray, by_patient: list[np.ndarray]) -> np.ndarray:
    """How many scores of each patient are at or above each value: float64 (patients, values)."""
    return np.stack([len(own) - np.searchsorted(own, values) for own in by_patient]).astype(np.float64)


def _above(values: np.ndarray, by_patient: list[np.ndarray]) -> np.ndarray:
    """How many scores of each patient are above each value: float64 (patients, values)."""
    return np.stack([len(own) - np.searchsorted(own, values, "right") for own in by_patient]).astype(np.float64)


def _distinct(scores: np.ndarray, width: int) -> Iterator[np.ndarray]:
    """The distinct scores, ascending, in runs short enough for tables of `width` rows."""
    distinct = np.unique(scores)
    step = max(1, _CELLS_AT_ONCE // width)
    return (distinct[start : start + step] for start in range(0, len(distinct), step))


def _auroc_one(positive: np.ndarray, scores: np.ndarray, counts: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Mann-Whitney: the share of pairs in which the positive scores higher, ties a half."""
    n_patients, wins = counts.shape[1], np.zeros(len(counts))
    positives = _sorted_scores(scores[positive], groups[positive], n_patients)
    negatives = _sorted_scores(scores[~positive], groups[~positive], n_patients)
    n_positive, n_negative = (counts @ np.array([len(own) for own in rows]) for rows in (positives, negatives))
    for values in _distinct(scores[positive], max(counts.shape)):
        drawn = counts @ (_at_least(values, positives) - _above(values, positives))
        beaten = n_negative[:, None] - counts @ ((_at_least(values, negatives) + _above(values, negatives)) / 2)
        wins += np.einsum("bv,bv->b", drawn, beaten)
    return wins / (n_positive * n_negative)


def _average_precision_one(
    positive: np.ndarray, scores: np.ndarray, counts: np.ndarray, groups: np.ndarray
) -> np.ndarray:
    """Mean over the positives of the precision among all rows that score as high."""
    n_patients, total = counts.shape[1], np.zeros(len(counts))
    positives = _sorted_scores(scores[positive], groups[positive], n_patients)
    everything = _sorted_scores(scores, groups, n_patients)
    n_positive, n_all = (counts @ np.array([len(own) for own in rows]) for rows in (positives, everything))
    for values in _distinct(scores[positive], max(counts.shape)):
        true = _at_least(values, positives)
        drawn = counts @ (true - _above(values, positives))
        found = counts @ _at_least(values, everything)  # 0 only where nothing is drawn either
        total += np.einsum("bv,bv->b", drawn, counts @ true / np.maximum(found, 1))
    return np.where(n_all > n_positive, total / n_positive, np.nan)


def _one_versus_rest(score: Callable) -> Callable:
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
    "auroc": _one_versus_rest(_auroc_one),
    "average_precision": _one_versus_rest(_average_precision_one),
    "brier": _brier,
    "log_loss": _log_loss,
    "ece": _ece,
    **{name: _by_confusion(score) for name, score in CONFUSION_METRICS.items()},
}
