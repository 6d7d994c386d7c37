"""Numbers behind the figures: ROC and precision-recall with bands, reliability, and a check of the splits."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from asmil.figures import Curve

GRID = np.linspace(0, 1, 201)


def _rates(
    kind: str, y: np.ndarray, score: np.ndarray, *, weights: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Per row of `weights` (samples, slides), the x and y of the curve, one point per distinct score."""
    order = np.argsort(-score, kind="stable")
    last = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))  # tied slides are called positive together
    hits = np.cumsum(weights[:, order] * y[order], axis=1)[:, last]
    alarms = np.cumsum(weights[:, order] * ~y[order], axis=1)[:, last]
    for hit, alarm in zip(hits, alarms, strict=True):
        if hit[-1] == 0 or alarm[-1] == 0:  # one class only: no curve
            continue
        recall = np.append(0.0, hit / hit[-1])
        if kind == "roc":
            yield np.append(0.0, alarm / alarm[-1]), recall
        else:
            found = hit > 0  # before the first hit recall stays 0: the curve starts at the first hit's precision
            precision = hit[found] / (hit[found] + alarm[found])
            yield np.append(0.0, recall[1:][found]), np.append(precision[0], precision)


def rate_curve(
    kind: str,
    y: np.ndarray,
    score: np.ndarray,
    *,
    cases: np.ndarray,
    folds: np.ndarray | None,
    label: str = "",
) -> Curve:
    """One ROC ("roc") or precision-recall ("pr") curve, with a 95 % band and the folds' own curves behind it.

    The band resamples patients with replacement (400 times, fixed seed) and reads each curve at 201 places.

    Args:
        y: (slides,) bool.
        score: (slides,) predicted probability of the positive class.
        cases: (slides,) patient of each slide.
        folds: (slides,) fold of each slide; None draws no curves of folds.
    """
    case_of = np.unique(cases, return_inverse=True)[1]
    n_cases = case_of.max() + 1
    drawn = np.random.default_rng(0).multinomial(n_cases, np.full(n_cases, 1 / n_cases), size=400)
    samples = [np.interp(GRID, *curve) for curve in _rates(kind, y, score, weights=drawn[:, case_of])]
    low, high = np.percentile(samples, [2.5, 97.5], axis=0) if samples else (None, None)
    of_folds = (folds == fold for fold in pd.unique(folds)) if folds is not None else ()
    single = np.ones((1, len(y)), dtype=int)
    faint = [c for rows in of_folds for c in _rates(kind, y[rows], score[rows], weights=single[:, rows])]
    x, height = next(_rates(kind, y, score, weights=single))
    # trapezoids are right for ROC; average precision is the sum of steps, as scikit-learn defines it
    level = (height[1:] + height[:-1]) / 2 if kind == "roc" else height[1:]
    area = float(np.sum(np.diff(x) * level))
    return Curve(GRID, np.interp(GRID, x, height), f"{label} {area:.3f}".strip(), low=low, high=high, faint=faint)


def reliability(correct: np.ndarray, probability: np.ndarray, *, bins: int = 8) -> dict[str, np.ndarray]:
    """Mean prediction and observed frequency in bins of equal count, with 95 % Wilson intervals.

    Args:
        correct: (slides,) bool, what was predicted came true.
        probability: (slides,) its predicted probability.

    Returns:
        predicted, observed, low, high, counts: each (bins,), without empty bins.
    """
    order = np.argsort(probability, kind="stable")
    groups = [group for group in np.array_split(order, min(bins, max(len(order) // 5, 1))) if len(group)]
    counts = np.array([len(group) for group in groups])
    observed = np.array([correct[group].mean() for group in groups])
    z = 1.959964  # 97.5 % point of the normal distribution
    centre = (observed + z**2 / (2 * counts)) / (1 + z**2 / counts)
    half = z / (1 + z**2 / counts) * np.sqrt(observed * (1 - observed) / counts + z**2 / (4 * counts**2))
    predicted = np.array([probability[group].mean() for group in groups])
    return {
        "predicted": predicted,
        "observed": observed,
        "low": centre - half,
        "high": centre + half,
        "counts": counts,
    }


def split_facts(splits: pd.DataFrame) -> dict[str, int]:
    """What the split table itself shows: folds, patients, and how often a clean split's rules are broken.

    Returns:
        folds, cases, shared (patients in two parts of one fold), retested (slides tested in more than one
        fold), untested (slides tested in none).
    """
    parts = splits.groupby(["fold", "case"])["part"].nunique()
    tests = splits.assign(test=splits["part"] == "test").groupby("slide")["test"].sum()
    return {
        "folds": int(splits["fold"].nunique()),
        "cases": int(splits["case"].nunique()),
        "shared": int((parts > 1).sum()),
        "retested": int((tests > 1).sum()),
        "untested": int((tests == 0).sum()),
    }
