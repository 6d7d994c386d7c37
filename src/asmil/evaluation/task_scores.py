"""Survival: concordance, integrated Brier score and risk groups; every score of all resamples at once.

Scores take `weight` float64 (samples, rows), how often each row was drawn, and return (samples,), nan where undefined:
a row that counts twice is as good as two rows. Times and events are (rows, 2).
"""

import warnings
from typing import NotRequired, TypedDict

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.stats import CensoredData, ecdf, logrank

from asmil.evaluation.summary import or_none
from asmil.tasks import concordant_shares, median_level

# Sums over rows that count several times, of many samples at once.

Weights = Float[np.ndarray, "samples rows"]
"""How often each row was drawn in each sample."""


def per_value(values: np.ndarray, weight: Weights) -> Float[np.ndarray, "samples distinct"]:
    """The weight of the rows of each distinct value (rows,), ascending."""
    if not len(values):
        return np.zeros((len(weight), 0))
    order = np.argsort(values, kind="stable")
    first = np.flatnonzero(np.append(True, np.diff(values[order]) > 0))
    return np.add.reduceat(weight[:, order], first, axis=1)


def survival_scores(
    targets: Float[np.ndarray, "rows 2"],
    values: Float[np.ndarray, "rows values"],
    *,
    weight: Weights,
    times: np.ndarray,
) -> dict[str, np.ndarray]:
    """C-index, Uno's C, and Brier scores where survival at `times` follows the risk in `values`."""
    scores = c_indexes(targets, values[:, 0], weight=weight)
    inside = (times > targets[:, 0].min()) & (times < targets[:, 0].max())
    if values.shape[1] > 1 and inside.sum() > 1:
        survival = values[:, 1:][:, inside]
        scores |= brier_scores(targets, survival, times=times[inside], weight=weight)
    return scores


def c_indexes(targets: np.ndarray, risk: np.ndarray, *, weight: Weights) -> dict[str, np.ndarray]:
    """Harrell's C-index, and that of Uno et al. (2011, Stat Med 30), which censoring does not bias.

    Uno's weighs each event by the inverse square of the chance not to be censored before; that is estimated on the
    same rows.
    """
    shares, known = concordant_shares(targets, risk)
    won, pairs = weight @ shares.T, weight @ known.T  # of each row as the earlier of a pair
    event = targets[:, 1] == 1
    free = _kept(targets, weight, at=targets[:, 0], censoring=True, before=True)
    inverse = np.divide(1, free**2, out=np.zeros_like(free), where=event & (free > 0))
    with np.errstate(invalid="ignore"):  # no pair in a resample
        return {
            "c_index": (weight * won).sum(1) / (weight * pairs).sum(1),
            "uno_c_index": (weight * inverse * won).sum(1) / (weight * inverse * pairs).sum(1),
        }


def brier_scores(
    targets: np.ndarray, survival: Float[np.ndarray, "rows times"], *, times: np.ndarray, weight: Weights
) -> dict[str, np.ndarray]:
    """Squared error of survival, weighted for censoring (Graf et al. 1999, Stat Med 18), as a mean over the times.

    `integrated_brier` (trapezium rule): 0 is perfect, saying one half everywhere reaches .25, lower is better.
    `brier_skill` is the share by which it is below that of one curve for all, the Kaplan-Meier curve of these rows.
    """
    event = targets[:, 1] == 1
    at_own = _kept(targets, weight, at=targets[:, 0], censoring=True, before=True)
    at_times = _kept(targets, weight, at=times, censoring=True)
    own = weight * np.divide(1, at_own, out=np.zeros_like(at_own), where=at_own > 0)
    then = np.divide(1, at_times, out=np.zeros_like(at_times), where=at_times > 0)
    over, alive = (targets[:, :1] <= times) & event[:, None], targets[:, :1] > times
    everyone = _kept(targets, weight, at=times)
    errors = own @ (over * survival**2) + weight @ (alive * (1 - survival) ** 2) * then
    of_one_curve = own @ over * everyone**2 + weight @ alive * then * (1 - everyone) ** 2
    mean, null = (np.trapezoid(error, times, axis=1) for error in (errors, of_one_curve))
    skill = 1 - np.divide(mean, null, out=np.full_like(mean, np.nan), where=null > 0)
    return {"integrated_brier": mean / weight.sum(1) / (times[-1] - times[0]), "brier_skill": skill}


def _kept(
    targets: np.ndarray, weight: Weights, *, at: np.ndarray, censoring: bool = False, before: bool = False
) -> np.ndarray:
    """Kaplan-Meier of no event, or of no censoring, up to and including `at`, or only `before`: (samples, at).

    At equal times events come first: whoever is censored then was at risk of the event, but not the reverse. An event
    is therefore seen by whoever is not censored *before* its time; in whole months that is another number.
    """
    time, event = targets[:, 0], targets[:, 1] == 1
    events, censored = (per_value(time, weight * rows) for rows in (event, ~event))
    at_risk = (events + censored)[:, ::-1].cumsum(1)[:, ::-1] - (events if censoring else 0)
    lost = censored if censoring else events
    stays = 1 - np.divide(lost, at_risk, out=np.zeros_like(lost), where=at_risk > 0)
    curve = np.concatenate([np.ones((len(weight), 1)), stays.cumprod(1)], axis=1)
    return curve[:, np.searchsorted(np.unique(time), at, side="left" if before else "right")]


class SurvivalCurve(TypedDict):
    """Survival by time with its band (None: undefined), as metrics.json holds it; `at_risk` are pairs (time, count)."""

    name: NotRequired[str]
    times: list[float]
    survival: list[float]
    low: list[float | None]
    high: list[float | None]
    censored_at: list[float]
    at_risk: list[tuple[float, int]]
    n: int
    events: int


def kaplan_meier(targets: Float[np.ndarray, "rows 2"], *, until: float | None = None) -> SurvivalCurve:
    """Survival by time with its 95 % band (Greenwood, log-log), plain lists.

    How many are at risk is counted at round times up to `until`, None for the last of these rows: curves that are
    drawn together need the same.
    """
    time, event = targets[:, 0], targets[:, 1] == 1
    curve = ecdf(CensoredData(uncensored=time[event], right=time[~event])).sf
    with warnings.catch_warnings():  # the band is undefined where nobody, or everybody, has had an event
        warnings.simplefilter("ignore", RuntimeWarning)
        band = curve.confidence_interval(method="log-log")
    ticks = _ticks(float(time.max()) if until is None else until)
    return {
        "times": [0.0, *curve.quantiles.tolist()],
        "survival": [1.0, *curve.probabilities.tolist()],
        "low": [1.0, *map(or_none, band.low.probabilities)],
        "high": [1.0, *map(or_none, band.high.probabilities)],
        "censored_at": sorted(time[~event].tolist()),
        "at_risk": [(tick, int((time >= tick).sum())) for tick in ticks],
        "n": len(time),
        "events": int(event.sum()),
    }


def risk_groups(rows: pd.DataFrame, cuts: dict[object, float]) -> dict[str, object] | None:
    """Kaplan-Meier of low and high risk and their log-rank test; None where either group is empty.

    `rows` have fold, risk, target_time and target_event; `cuts` is the risk of each fold above which it is high, which
    must not have been chosen on these rows. Rows of folds without a cut are left out.
    """
    rows = rows[rows["fold"].isin(list(cuts))]
    high = rows["risk"].to_numpy() > rows["fold"].map(cuts).to_numpy(np.float64)
    targets = rows[["target_time", "target_event"]].to_numpy(np.float64)
    if high.all() or not high.any():
        return None
    low_data, high_data = (
        CensoredData(uncensored=own[own[:, 1] == 1, 0], right=own[own[:, 1] == 0, 0])
        for own in (targets[~high], targets[high])
    )
    events = bool((targets[:, 1] == 1).any())
    test = logrank(low_data, high_data) if events else None
    return {
        "cut": "median risk of the validation patients of each fold",
        "log_rank_p": or_none(test.pvalue) if test else None,
        "log_rank_z": or_none(test.statistic) if test else None,
        "groups": [
            {"name": name, **kaplan_meier(targets[own], until=float(targets[:, 0].max()))}
            for name, own in (("low risk", ~high), ("high risk", high))
        ],
    }


def _ticks(last: float) -> list[float]:
    """Round times from 0, about five steps to the last."""
    rough = last / 5 if last > 0 else 1.0
    unit = 10.0 ** np.floor(np.log10(rough))
    step = next(factor * unit for factor in (1, 2, 2.5, 5, 10) if factor * unit >= rough)
    return [float(f"{i * step:.6g}") for i in range(int(last // step) + 1)]


# Regression: errors and correlations of all resamples at once (`weight` as in survival).


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


# Ordered levels: agreement and distance of the predicted level, of all resamples at once (`weight` as in survival).


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


# Several labels: ranking and decisions per label and over labels, unknown ones left out (`weight` as in survival).

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
    """AUROC, average precision and F1 of one label (rows,), whose unknown rows are nan.

    AUROC is `asmil.tasks.auroc` of rows by weight, off the same sums as the precision; equal to the bit.
    """
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
