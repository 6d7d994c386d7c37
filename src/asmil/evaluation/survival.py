"""Survival: concordance, integrated Brier score and risk groups; every score of all resamples at once.

Scores take `weight` float64 (samples, rows), how often each row was drawn, and return (samples,), nan where undefined:
a row that counts twice is as good as two rows. Times and events are (rows, 2).
"""

import warnings
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.stats import CensoredData, ecdf, logrank

from asmil.evaluation._rows import or_none
from asmil.evaluation._weighted import Weights, per_value
from asmil.tasks import concordant_shares


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
    same rows, and events at times nobody could have stayed until are left out.
    """
    shares, known = concordant_shares(targets, risk)
    won, pairs = weight @ shares.T, weight @ known.T  # of each row as the earlier of a pair
    event = targets[:, 1] == 1
    free = _kept(targets, weight, at=targets[:, 0], censoring=True)
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
    at_own, at_times = (_kept(targets, weight, at=when, censoring=True) for when in (targets[:, 0], times))
    own = weight * np.divide(1, at_own, out=np.zeros_like(at_own), where=at_own > 0)
    then = np.divide(1, at_times, out=np.zeros_like(at_times), where=at_times > 0)
    over, alive = (targets[:, :1] <= times) & event[:, None], targets[:, :1] > times
    everyone = _kept(targets, weight, at=times)
    errors = own @ (over * survival**2) + weight @ (alive * (1 - survival) ** 2) * then
    of_one_curve = own @ over * everyone**2 + weight @ alive * then * (1 - everyone) ** 2
    mean, null = (np.trapezoid(error, times, axis=1) for error in (errors, of_one_curve))
    skill = 1 - np.divide(mean, null, out=np.full_like(mean, np.nan), where=null > 0)
    return {"integrated_brier": mean / weight.sum(1) / (times[-1] - times[0]), "brier_skill": skill}


def _kept(targets: np.ndarray, weight: Weights, *, at: np.ndarray, censoring: bool = False) -> np.ndarray:
    """Kaplan-Meier of no event, or of no censoring, up to and including `at`: (samples, at).

    At equal times events come first: whoever is censored then was at risk of the event, but not the reverse.
    """
    time, event = targets[:, 0], targets[:, 1] == 1
    events, censored = (per_value(time, weight * rows) for rows in (event, ~event))
    at_risk = (events + censored)[:, ::-1].cumsum(1)[:, ::-1] - (events if censoring else 0)
    lost = censored if censoring else events
    stays = 1 - np.divide(lost, at_risk, out=np.zeros_like(lost), where=at_risk > 0)
    curve = np.concatenate([np.ones((len(weight), 1)), stays.cumprod(1)], axis=1)
    return curve[:, np.searchsorted(np.unique(time), at, side="right")]


def kaplan_meier(targets: Float[np.ndarray, "rows 2"], *, until: float | None = None) -> dict[str, Any]:
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
        "at_risk": [[tick, int((time >= tick).sum())] for tick in ticks],
        "n": len(time),
        "events": int(event.sum()),
    }


def risk_groups(rows: pd.DataFrame, cuts: dict[Any, float]) -> dict[str, Any] | None:
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
