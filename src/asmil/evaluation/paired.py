"""Paired comparisons over repeated splits: corrected intervals, ranks over datasets, correlations within groups."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from asmil.errors import MetricError
from asmil.evaluation.intervals import codes_of

MIN_METHODS = 3


@dataclass(frozen=True)
class CorrectedMean:
    """A mean with its interval and the p value against 0; `n` values entered, `dropped` were not finite.

    Interval and p are nan where the spread cannot be known: fewer than two values, or all equal but not zero.
    """

    mean: float
    low: float
    high: float
    p: float
    n: int
    dropped: int


@dataclass(frozen=True)
class EffectSizes:
    """Cohen's d_z (mean by standard deviation) and matched rank-biserial correlation (-1 to 1), with intervals."""

    d_z: float
    d_z_low: float
    d_z_high: float
    rank_biserial: float
    rank_biserial_low: float
    rank_biserial_high: float


@dataclass(frozen=True)
class Ranking:
    """Methods ranked over datasets; rank 1 is best.

    `friedman_p` and `critical_difference` are nan where `reason` says why. `cliques` are index pairs into
    `names` (best first): the first and last of a run of methods whose ranks differ by less than the critical
    difference.
    """

    names: tuple[str, ...]
    mean_ranks: tuple[float, ...]
    n_datasets: int
    dropped: int
    friedman_p: float
    critical_difference: float
    cliques: tuple[tuple[int, int], ...]
    reason: str


@dataclass(frozen=True)
class Correlation:
    """A rank correlation with its bootstrap interval (nan with fewer than two clusters).

    `n` rows entered, `dropped` were not finite; `groups` had two rows or more; `clusters` were resampled.
    """

    rho: float
    low: float
    high: float
    n: int
    dropped: int
    groups: int
    clusters: int


def corrected_mean(values: np.ndarray, *, test_to_train: float, level: float = 0.95) -> CorrectedMean:
    """Mean over resampled splits with the corrected t interval (Nadeau and Bengio, Machine Learning 52, 2003).

    Training sets of different splits overlap, so the values are not independent and s^2 / n is too small a
    variance of their mean: (1/n + test_to_train) s^2 stands in its place, with n - 1 degrees of freedom.

    Args:
        values: (splits,), one per split, for example differences of two methods; what is not finite is dropped.
        test_to_train: slides tested by slides trained on, in one split. 0 gives the ordinary t interval.
    """
    kept = _finite(values)
    n, dropped = len(kept), np.size(values) - len(kept)
    mean = float(kept.mean()) if n else np.nan
    if n >= 2 and not kept.any():
        return CorrectedMean(0.0, 0.0, 0.0, 1.0, n, dropped)
    if n < 2 or np.ptp(kept) <= 1e-12 * np.abs(kept).max():
        return CorrectedMean(mean, np.nan, np.nan, np.nan, n, dropped)
    error = float(np.sqrt((1 / n + test_to_train) * kept.var(ddof=1)))
    half = float(stats.t.ppf((1 + level) / 2, n - 1)) * error
    p = 2 * float(stats.t.sf(abs(mean) / error, n - 1))
    return CorrectedMean(mean, mean - half, mean + half, p, n, dropped)


def effect_sizes(differences: np.ndarray, *, test_to_train: float, level: float = 0.95) -> EffectSizes:
    """Size of a paired difference in units of its own spread, and how one-sided its signs are.

    Intervals are those of large samples: Hedges and Olkin (1985) for d_z, and the normal approximation of the
    signed-rank sum on Fisher's scale for the rank-biserial correlation (Kerby 2014). Both variances are
    multiplied by 1 + n * test_to_train, the correction of `corrected_mean`. Zeros count half for either side.

    Args:
        differences: (splits,); what is not finite is dropped.
    """
    kept = _finite(differences)
    n, z = len(kept), float(stats.norm.ppf((1 + level) / 2))
    if n < 2 or not kept.any():
        nothing = 0.0 if n >= 2 else np.nan
        return EffectSizes(nothing, np.nan, np.nan, nothing, np.nan, np.nan)
    inflation = 1 + n * test_to_train
    ranks = stats.rankdata(np.abs(kept))
    biserial = float((np.sign(kept) * ranks).sum() / ranks.sum())
    spread = z * np.sqrt(inflation * (2 * n + 1) / (1.5 * n * (n + 1)))  # of atanh of the rank-biserial correlation
    inside = 1 - 2 / (n * (n + 1))  # half a step below 1, where Fisher's scale ends
    ends = np.tanh(np.arctanh(np.clip(biserial, -inside, inside)) + np.array([-spread, spread]))
    ends = np.array([min(ends[0], biserial), max(ends[1], biserial)])
    if np.ptp(kept) <= 1e-12 * np.abs(kept).max():
        return EffectSizes(np.nan, np.nan, np.nan, biserial, *ends.tolist())
    d_z = float(kept.mean() / kept.std(ddof=1))
    half = z * np.sqrt(inflation * (1 + d_z**2 / 2) / n)
    return EffectSizes(d_z, d_z - half, d_z + half, biserial, *ends.tolist())


def signed_rank_p(differences: np.ndarray) -> float:
    """Two-sided exact p of Wilcoxon's signed-rank test, zeros shared between the signs (Demsar, JMLR 7, 2006).

    The test takes its values for independent: datasets are, cells of one dataset are not. n values cannot give a
    p below 2 / 2^n. Exact with ties too: the distribution over all signs is built rank by rank. nan where
    nothing is finite.

    Args:
        differences: (n,), for example one per dataset; what is not finite is dropped.
    """
    kept = _finite(differences)
    if not len(kept):
        return np.nan
    ranks = np.rint(2 * stats.rankdata(np.abs(kept))).astype(int)  # doubled: mid-ranks become whole
    signed, observed = ranks[kept != 0], int(ranks[kept > 0].sum())
    chances = np.zeros(int(signed.sum()) + 1)
    chances[0] = 1.0
    for rank in signed:
        chances[rank:] = (chances[rank:] + chances[:-rank]) / 2
        chances[:rank] /= 2
    middle = (len(chances) - 1) / 2
    return float(min(1.0, chances[np.abs(np.arange(len(chances)) - middle) >= abs(observed - middle)].sum()))


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's adjusted p values (n,) of a family (n,): the family is what is not nan, nan stays nan."""
    p = np.asarray(p, dtype=np.float64)
    order = np.argsort(p)[: int(np.isfinite(p).sum())]
    adjusted = np.full(p.shape, np.nan)
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def rank_methods(
    values: np.ndarray, names: Sequence[str], *, higher_is_better: bool = True, level: float = 0.95
) -> Ranking:
    """Friedman test and Nemenyi's critical difference of mean ranks over datasets (Demsar, JMLR 7, 2006).

    CD = q sqrt(k (k + 1) / (6 N)), k methods on N datasets, q the quantile of the studentised range of k groups
    and infinite degrees of freedom, divided by sqrt(2). Ties share their mean rank.

    Args:
        values: (datasets, methods); datasets with a value that is not finite are dropped.
        names: (methods,).

    Raises:
        MetricError: not one name per column.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != len(names):
        raise MetricError("ranks need one name per method", found=f"values {values.shape}, {len(names)} names")
    complete = values[np.isfinite(values).all(axis=1)]
    n, k = complete.shape
    ranks = stats.rankdata(-complete if higher_is_better else complete, axis=1)
    means = ranks.mean(axis=0) if n else np.full(k, np.nan)
    order = np.argsort(means, kind="stable")
    reason, p, difference = "", np.nan, np.nan
    cliques: tuple[tuple[int, int], ...] = ()
    if k < MIN_METHODS:
        reason = f"fewer than {MIN_METHODS} methods were measured on the same datasets"
    elif n < 2:
        reason = "ranks need two datasets or more: what holds on one dataset may be its own peculiarity"
    else:
        difference = float(stats.studentized_range.ppf(level, k, np.inf) * np.sqrt(k * (k + 1) / (12 * n)))
        cliques = _cliques(means[order], difference)
        if (ranks != ranks[:, :1]).any():
            p = float(stats.friedmanchisquare(*complete.T).pvalue)
    ranked = tuple(means[order].tolist())
    return Ranking(tuple(names[i] for i in order), ranked, n, len(values) - n, p, difference, cliques, reason)


def _cliques(ranks: np.ndarray, difference: float) -> tuple[tuple[int, int], ...]:
    """First and last index of the longest runs of ascending ranks that span less than the difference."""
    lasts = np.searchsorted(ranks, ranks + difference) - 1
    runs = [(first, int(last)) for first, last in enumerate(lasts) if last > first]
    return tuple(run for i, run in enumerate(runs) if i == 0 or run[1] > runs[i - 1][1])


def rank_correlation(
    x: np.ndarray,
    y: np.ndarray,
    *,
    clusters: Sequence | np.ndarray,
    within: Sequence | np.ndarray | None = None,
    n: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Correlation:
    """Spearman correlation, over all rows or within groups, with a cluster bootstrap interval.

    With `within`, rows are ranked inside their group; ranks are divided by the group's size and centred at
    0, and correlated together. What differs between groups (an easy dataset, a strong model) then cannot pose
    as a correlation. Rows that share a training set, a dataset or a model are not independent, so the
    bootstrap draws whole clusters with replacement and ranks anew in each draw.

    Args:
        x: (rows,); a row with a value that is not finite is dropped.
        y: (rows,).
        clusters: (rows,), what is drawn together; a group lies inside one cluster, or a cluster inside one group.
        within: (rows,), the group of each row; None is one group.
        n: number of bootstrap draws.

    Raises:
        MetricError: arrays of different lengths.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    groups = codes_of(within) if within is not None else np.zeros(len(x), dtype=np.int64)
    drawn = codes_of(clusters)
    if len({len(x), len(y), len(groups), len(drawn)}) > 1:
        raise MetricError("a correlation needs one value per row", found=f"{len(x)}, {len(y)}, {len(drawn)}")
    kept = np.isfinite(x) & np.isfinite(y)
    x, y, groups, drawn = x[kept], y[kept], codes_of(groups[kept]), codes_of(drawn[kept])
    ordered_x, ordered_y = _codes_in_groups(x, groups), _codes_in_groups(y, groups)

    def rho(weights: np.ndarray) -> float:
        a, b = (_centred_ranks(codes, groups, weights) for codes in (ordered_x, ordered_y))
        scale = np.sqrt((weights * a * a).sum() * (weights * b * b).sum())
        return float((weights * a * b).sum() / scale) if scale > 0 else np.nan

    n_clusters = int(drawn.max(initial=-1)) + 1
    low = high = np.nan
    if n_clusters >= 2:
        rng = np.random.default_rng(seed)
        draws = rng.multinomial(n_clusters, np.full(n_clusters, 1 / n_clusters), size=n)
        values = np.array([rho(counts[drawn].astype(np.float64)) for counts in draws])
        if np.isfinite(values).any():
            low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2]).tolist()
    several = int((np.bincount(groups) > 1).sum()) if len(groups) else 0
    return Correlation(rho(np.ones(len(x))), low, high, len(x), int((~kept).sum()), several, n_clusters)


def _centred_ranks(codes: np.ndarray, groups: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mid-ranks of rows inside their groups, each row occurring `weights` times, in shares and centred at 0."""
    sizes = np.bincount(codes, weights=weights)
    totals = np.bincount(groups, weights=weights)
    before = np.cumsum(totals) - totals
    middle = (np.cumsum(sizes) - sizes / 2)[codes] - (before + totals / 2)[groups]
    return middle / np.maximum(totals, 1)[groups]


def _codes_in_groups(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Each row's position among the distinct (group, value) pairs, sorted by group, then value."""
    return np.unique(np.stack([groups, values], axis=1), axis=0, return_inverse=True)[1].reshape(-1)


def _finite(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64).reshape(-1)
    return values[np.isfinite(values)]
