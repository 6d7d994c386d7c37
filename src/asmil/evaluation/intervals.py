"""Confidence intervals by resampling patients, never slides: slides of one patient are not independent."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from asmil.errors import MetricError
from asmil.evaluation.metrics import METRICS, RESAMPLED, check_scores
from asmil.files import Facts

Metric = str | Callable[[np.ndarray, np.ndarray], float]
BLOCK = 1 << 19
"""Numbers, resamples x slides, that a metric looks at together."""


@dataclass(frozen=True)
class Interval:
    """A value with the percentile interval of its bootstrap.

    `n_boot` resamples entered the interval; `n_degenerate` more were drawn in which the value is not
    defined (a class was lost). Where the value itself is undefined all three numbers are nan. A mean over folds says in
    `folds` in how many of how many it is defined.
    """

    value: float
    low: float
    high: float
    n_boot: int
    n_degenerate: int = 0
    folds: tuple[int, int] | None = None

    def as_dict(self) -> dict:
        """`{"value", "ci95": [low, high]}` for JSON, None where undefined; `folds` where they are not all of them."""
        value, low, high = (float(v) if np.isfinite(v) else None for v in (self.value, self.low, self.high))
        some = self.folds is not None and self.folds[0] < self.folds[1]
        return {"value": value, "ci95": [low, high]} | ({"folds": list(self.folds or ())} if some else {})


def bootstrap_ci(
    metric: Metric,
    y: np.ndarray,
    prob: np.ndarray,
    *,
    groups: np.ndarray,
    strata: np.ndarray | None = None,
    n: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile interval of a metric over resamples of patients with replacement.

    `groups` (rows,) names the patient of each row, all of whose rows are drawn together. With `strata`
    (rows,), for example the labels, patients are drawn within their stratum, so that every resample keeps
    both classes; a patient whose rows lie in several strata belongs to the stratum of that combination. A
    stratum of a single patient adds no spread. A metric of `METRICS` is computed for all resamples at once;
    any other function in a loop.

    Raises:
        MetricError: scores that cannot be scored, or groups or strata of another length.
        UnknownPartError: no metric of that name.
    """
    values = bootstrap_values(metric, y, prob, groups=groups, strata=strata, n=n, seed=seed)
    return percentile_interval(_function(metric)(np.asarray(y), np.asarray(prob)), values, level=level)


def bootstrap_values(
    metric: Metric,
    y: np.ndarray,
    prob: np.ndarray,
    *,
    groups: np.ndarray,
    strata: np.ndarray | None = None,
    n: int = 1000,
    seed: int = 0,
) -> np.ndarray:
    """The metric of each resample of `bootstrap_ci` (resamples,), nan where undefined.

    Equal seeds draw equal patients, so that two predictions can be compared resample by resample.

    Raises:
        MetricError: as `bootstrap_ci`.
    """
    y, prob = check_scores(y, prob)
    rows = codes_of(_same_length("groups", groups, y))
    counts = resample_counts(rows, strata=_same_length("strata", strata, y), n=n, seed=seed)
    return _values(metric, y, prob, counts=counts, rows=rows)


def of_folds(score: Facts) -> str:
    """Of a mean over some of the folds (`Interval.as_dict`), "1 of 2 folds"; else nothing."""
    some = score.get("folds")
    return f"{some[0]} of {some[1]} folds" if some else ""


def mean_over_folds(
    metric: Metric,
    y: np.ndarray,
    prob: np.ndarray,
    *,
    folds: np.ndarray,
    groups: np.ndarray,
    strata: np.ndarray | None = None,
    n: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Mean of a metric over folds, with the interval from resampling patients within their fold.

    Folds in which the metric is undefined are left out of the value and of the interval. Where patients
    recur in several folds (repeated splits) they are drawn once for all their folds, and the draw is not
    held within folds. The interval speaks of the sampling of test patients only; the spread between
    training sets is not in it.

    Raises:
        MetricError: as `bootstrap_ci`.
    """
    function, (y, prob) = _function(metric), check_scores(y, prob)
    folds, groups = _same_length("folds", folds, y), _same_length("groups", groups, y)
    members = [np.flatnonzero(folds == fold) for fold in np.unique(folds)]
    by_fold = np.array([function(y[m], prob[m]) for m in members])
    members = [m for m, value in zip(members, by_fold, strict=True) if np.isfinite(value)]
    of_folds = len(members), len(by_fold)
    if not members:
        return Interval(np.nan, np.nan, np.nan, 0, n, of_folds)
    keys = np.zeros(len(y), dtype=int) if strata is None else codes_of(_same_length("strata", strata, y))
    if _in_one_fold_each(folds, groups):
        keys = codes_of(keys) * len(by_fold) + codes_of(folds)
    drawn, rows = resample_counts(groups, strata=keys, n=n, seed=seed), codes_of(groups)
    resampled = [_values(metric, y[m], prob[m], counts=drawn, rows=rows[m]) for m in members]
    found = percentile_interval(float(np.nanmean(by_fold)), np.mean(resampled, axis=0), level=level)
    return replace(found, folds=of_folds)


def resample_counts(
    groups: np.ndarray, *, strata: np.ndarray | None = None, n: int = 1000, seed: int = 0
) -> np.ndarray:
    """How often each patient occurs in each resample: int32 (n, patients), read-only, patients by sorted name."""
    rows = codes_of(groups)
    n_groups = rows.max() + 1
    keys = np.zeros(n_groups, dtype=int) if strata is None else _stratum_of_groups(rows, np.asarray(strata))
    return _drawn(keys.astype(np.int64).tobytes(), n, seed)


@lru_cache(maxsize=2)  # of all and within folds, in turns for each metric; of 10,000 patients a draw takes a second
def _drawn(keys_: bytes, n: int, seed: int) -> np.ndarray:
    keys, rng = np.frombuffer(keys_, np.int64), np.random.default_rng(seed)
    counts = np.zeros((n, len(keys)), dtype=np.int32)
    for key in np.unique(keys):
        members = np.flatnonzero(keys == key)
        counts[:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), size=n)
    counts.flags.writeable = False
    return counts


def percentile_interval(value: float, resampled: np.ndarray, *, level: float = 0.95) -> Interval:
    """The interval between the outer percentiles of resampled values (resamples,); nan are degenerate."""
    defined = resampled[np.isfinite(resampled)]
    if not len(defined) or not np.isfinite(value):
        return Interval(float(value), np.nan, np.nan, 0, len(resampled))
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(value), float(low), float(high), len(defined), len(resampled) - len(defined))


def _function(metric: Metric) -> Callable[[np.ndarray, np.ndarray], float]:
    return METRICS[metric] if isinstance(metric, str) else metric


def _values(metric: Metric, y: np.ndarray, prob: np.ndarray, *, counts: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The metric of every resample (resamples,), nan where it is undefined."""
    drawn, groups = np.unique(rows, return_inverse=True)
    counts = counts if len(drawn) == counts.shape[1] else counts[:, drawn]
    fast = RESAMPLED.get(_fast_name(metric))
    if fast is not None:
        step = max(1, BLOCK // len(y))  # resamples at a time, so that memory does not grow with the cohort
        with np.errstate(invalid="ignore", divide="ignore"):  # 0/0 where a resample lost a class
            parts = (slice(start, start + step) for start in range(0, len(counts), step))
            return np.concatenate([fast(y, prob, counts[part].astype(np.float64), groups) for part in parts])
    chosen = [np.repeat(np.arange(len(y)), own[groups]) for own in counts]
    return np.array([_function(metric)(y[c], prob[c]) if len(c) else np.nan for c in chosen])


def _fast_name(metric: Metric) -> str:
    """The registered name of a metric given by name or as the registered function, else ""."""
    names = [name for name in METRICS.names() if metric == name or metric is METRICS[name]]
    return names[0] if names else ""


def codes_of(keys: Sequence | np.ndarray) -> np.ndarray:
    """Each key as the position of its value in sorted order."""
    return np.unique(np.asarray(keys), return_inverse=True)[1].reshape(-1)


def _stratum_of_groups(rows: np.ndarray, strata: np.ndarray) -> np.ndarray:
    codes = codes_of(strata)
    occurs = np.zeros((rows.max() + 1, codes.max() + 1), dtype=bool)
    occurs[rows, codes] = True
    return np.unique(occurs, axis=0, return_inverse=True)[1].reshape(-1)


def _in_one_fold_each(folds: np.ndarray, groups: np.ndarray) -> bool:
    pairs = set(zip(groups.tolist(), folds.tolist(), strict=True))
    return len(pairs) == len(np.unique(groups))


def _same_length(name: str, values: np.ndarray | None, y: np.ndarray) -> np.ndarray:
    if values is None:
        return np.zeros(len(y), dtype=int)
    values = np.asarray(values)
    if values.shape != y.shape:
        raise MetricError(f"{name} must name one value per row", found=f"{values.shape} for {len(y)} rows")
    return values


# Whether one run is better than another on the same slides: the interval of the difference.


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
