"""Whether acting on a prediction does more good than harm: decision curves (Vickers and Elkin, 2006).

Who acts where the predicted probability is at least p holds one missed case for as bad as (1 - p) / p needless
actions. In this exchange rate the net benefit is hits / slides - alarms / slides * p / (1 - p).
"""

from dataclasses import dataclass

import numpy as np

from asmil.errors import MetricError
from asmil.evaluation.intervals import resample_counts

THRESHOLDS = np.arange(1, 100) / 100


@dataclass(frozen=True)
class DecisionCurve:
    """Net benefit by threshold, all float64 (thresholds,), in true positives per slide.

    `low` and `high` are the pointwise 95 % band of `model`; `gain_low` is the lower end of the 95 % interval of its
    gain over the better of treating all and treating none, on the same resamples.
    """

    thresholds: np.ndarray
    model: np.ndarray
    low: np.ndarray
    high: np.ndarray
    treat_all: np.ndarray
    gain_low: np.ndarray

    @property
    def useful(self) -> list[tuple[float, float]]:
        """Runs of thresholds (first, last) at which the model surely does better than treating all or none."""
        better = np.concatenate([[False], self.gain_low > 0, [False]])
        starts, ends = (np.flatnonzero(np.diff(better.astype(int)) == step) for step in (1, -1))
        return [(float(self.thresholds[a]), float(self.thresholds[b - 1])) for a, b in zip(starts, ends, strict=True)]


def net_benefit(y: np.ndarray, score: np.ndarray, thresholds: np.ndarray = THRESHOLDS) -> np.ndarray:
    """Net benefit (thresholds,) of acting where `score` (slides,) reaches the threshold; `y` bool (slides,)."""
    y, score = np.asarray(y, dtype=bool), np.asarray(score, dtype=np.float64)
    acted = score[:, None] >= thresholds
    return ((acted & y[:, None]).mean(axis=0)) - (acted & ~y[:, None]).mean(axis=0) * _odds(thresholds)


def decision_curve(
    y: np.ndarray,
    score: np.ndarray,
    *,
    groups: np.ndarray,
    thresholds: np.ndarray = THRESHOLDS,
    n: int = 1000,
    seed: int = 0,
) -> DecisionCurve:
    """The decision curve of a predicted probability, with bands from resampling patients.

    Patients are drawn without strata, so that the prevalence, which net benefit depends on, varies too.

    Args:
        y: (slides,) bool, the class is there.
        score: (slides,) its predicted probability.
        groups: (slides,) patient of each slide.
        thresholds: strictly between 0 and 1.

    Raises:
        MetricError: scores or thresholds that are no probabilities, arrays of different lengths, or no slide.
    """
    y, score, thresholds = np.asarray(y, dtype=bool), np.asarray(score, dtype=np.float64), np.asarray(thresholds)
    inside = (
        len(y) > 0 and bool(((score >= 0) & (score <= 1)).all()) and bool(((thresholds > 0) & (thresholds < 1)).all())
    )
    if not inside or not y.shape == score.shape == np.shape(groups):
        raise MetricError(
            "a decision curve needs a label, a probability and a patient for each slide, and thresholds inside (0, 1)",
            found=f"{len(y)} labels, {np.shape(score)} scores, {np.shape(groups)} patients",
            fix="pass the probability of one class",
        )
    counts = resample_counts(groups, n=n, seed=seed).astype(np.float64)
    patients = np.unique(groups, return_inverse=True)[1].reshape(-1)
    member = np.zeros((counts.shape[1], len(y)))
    member[patients, np.arange(len(y))] = 1.0
    acted, odds = score[:, None] >= thresholds, _odds(thresholds)
    total = counts @ member.sum(axis=1)

    def resampled(value: np.ndarray) -> np.ndarray:
        return counts @ (member @ value) / total[:, None]

    worth = acted * np.where(y[:, None], 1.0, -odds)
    everyone = np.where(y[:, None], 1.0, -odds)
    drawn, drawn_all = resampled(worth), resampled(everyone)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    gain_low = np.quantile(drawn - np.maximum(drawn_all, 0.0), 0.025, axis=0)
    return DecisionCurve(thresholds, worth.mean(axis=0), low, high, everyone.mean(axis=0), gain_low)


def _odds(thresholds: np.ndarray) -> np.ndarray:
    return thresholds / (1 - thresholds)
