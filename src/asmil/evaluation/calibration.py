"""Whether probabilities can be acted on: calibration, the operating point, and decision curves."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import softmax

from asmil.errors import MetricError
from asmil.evaluation.intervals import (
    Interval,
    bootstrap_ci,
    codes_of,
    compare_predictions,
    percentile_interval,
    resample_counts,
)
from asmil.evaluation.metrics import best_threshold, check_probabilities
from asmil.evaluation.subgroups import wilson
from asmil.evaluation.summary import FIRST, averaged
from asmil.files import Facts

CALIBRATION_METRICS = ("ece", "brier", "log_loss")
LARGEST_TEMPERATURE = 100.0


@dataclass(frozen=True)
class CellTemperature:
    """The temperature of one trained model and how many validation slides chose it.

    `determined` is False where they cannot: all are predicted right (any sharper model would look better still), or
    the model does no better than a constant. The temperature is then 1.
    """

    fold: int
    seed: int
    temperature: float
    n_val: int
    determined: bool


@dataclass(frozen=True)
class Calibration:
    """Test predictions before and after scaling, pooled over folds, mean over seeds.

    `slides` has slide, case, label (index) in the order of `before` and `after` float64 (slides, classes). `values`
    gives for each metric its interval before, after, and of the difference after - before.
    """

    cells: tuple[CellTemperature, ...]
    slides: pd.DataFrame
    before: np.ndarray
    after: np.ndarray
    values: dict[str, tuple[Interval, Interval, Interval]]


def fit_temperature(y: np.ndarray, prob: np.ndarray) -> float | None:
    """The temperature with the least log loss on VALIDATION slides; None where they do not determine one.

    The loss is convex in 1 / temperature. It has no minimum where every slide is predicted right, nor where the true
    classes are on average not more probable than the others.

    Args:
        y: (slides,) class indices.
        prob: (slides, classes).

    Raises:
        MetricError: not probabilities, or labels that are no class.
    """
    y, prob = check_probabilities(y, prob)
    logits = _logits(prob)
    rows = np.arange(len(y))
    if (prob[rows, y] >= prob.max(axis=1)).all() or logits[rows, y].mean() <= logits.mean():
        return None

    low, high = -np.log(LARGEST_TEMPERATURE), np.log(LARGEST_TEMPERATURE)  # of the sharpness, 1 / temperature
    while high - low > 1e-9:
        middle = (low + high) / 2
        expected = (at_temperature(prob, np.exp(-middle)) * logits).sum(axis=1)
        rising = (expected - logits[rows, y]).mean() > 0  # the derivative of the loss by the sharpness
        low, high = (low, middle) if rising else (middle, high)
    return float(np.exp(-middle))


def at_temperature(prob: np.ndarray, temperature: float) -> np.ndarray:
    """The probabilities (slides, classes) of a model whose logits are divided by `temperature`."""
    return softmax(_logits(np.asarray(prob, dtype=np.float64)) / temperature, axis=1)


def calibrate(table: pd.DataFrame, classes: Sequence[str], *, n_boot: int = 1000, seed: int = 0) -> Calibration:
    """Scale the test predictions of every trained model by the temperature of its own validation predictions.

    The test labels are used for the metrics alone. Models are scaled first and averaged over seeds then. Metrics pool
    the folds, because the calibration error of a few slides is mostly chance; their intervals resample patients.

    Args:
        table: rows of all models with slide, case, label (index), part ("val", "test"), fold, seed, prob_<class>.

    Raises:
        MetricError: a model without validation slides, or values that are no probabilities.
    """
    columns = [f"prob_{name}" for name in classes]
    cells, scaled = [], []
    for _, own in table.groupby(["fold", "seed"], sort=True):
        fold, cell_seed = int(own["fold"].iloc[0]), int(own["seed"].iloc[0])
        val, test = own[own["part"] == "val"], own[own["part"] == "test"]
        if val.empty:
            raise MetricError(
                "a temperature needs validation slides",
                found=f"none in the predictions of fold {fold}, seed {cell_seed}",
                fix="keep the rows with part = val in predictions.csv",
            )
        fitted = fit_temperature(val["label"].to_numpy(), val[columns].to_numpy(dtype=np.float64))
        temperature = 1.0 if fitted is None else fitted
        cells.append(CellTemperature(fold, cell_seed, temperature, len(val), fitted is not None))
        after = at_temperature(test[columns].to_numpy(dtype=np.float64), temperature)
        scaled.append(test.assign(**{f"scaled_{name}": after[:, i] for i, name in enumerate(classes)}))
    values = [*columns, *(f"scaled_{name}" for name in classes)]
    rows = averaged(pd.concat(scaled), ["slide"], first=FIRST, mean=values)
    before, after = (
        rows[names].to_numpy(dtype=np.float64) for names in (values[: len(classes)], values[len(classes) :])
    )
    y, groups = rows["label"].to_numpy(), rows["case"].to_numpy()
    options: Facts = {"groups": groups, "strata": y, "n": n_boot, "seed": seed}
    change = compare_predictions(y, before, after, metrics=CALIBRATION_METRICS, **options)
    intervals = {
        name: (bootstrap_ci(name, y, before, **options), bootstrap_ci(name, y, after, **options), change[name])
        for name in CALIBRATION_METRICS
    }
    return Calibration(tuple(cells), rows[["slide", "case", "label"]], before, after, intervals)


def _logits(prob: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(prob, np.finfo(np.float64).tiny))


# Whether acting on a prediction does more good than harm: decision curves (Vickers and Elkin, 2006).
#
# Who acts where the predicted probability is at least p holds one missed case for as bad as (1 - p) / p needless
# actions. In this exchange rate the net benefit is hits / slides - alarms / slides * p / (1 - p).

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
    acted, odds = score[:, None] >= thresholds, _odds(thresholds)
    total = counts @ np.bincount(patients).astype(np.float64)

    def resampled(value: np.ndarray) -> np.ndarray:
        of_patients = np.zeros((counts.shape[1], value.shape[1]))
        np.add.at(of_patients, patients, value)
        return counts @ of_patients / total[:, None]

    worth = acted * np.where(y[:, None], 1.0, -odds)
    everyone = np.where(y[:, None], 1.0, -odds)
    drawn, drawn_all = resampled(worth), resampled(everyone)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    gain_low = np.quantile(drawn - np.maximum(drawn_all, 0.0), 0.025, axis=0)
    return DecisionCurve(thresholds, worth.mean(axis=0), low, high, everyone.mean(axis=0), gain_low)


def _odds(thresholds: np.ndarray) -> np.ndarray:
    return thresholds / (1 - thresholds)


# Where to decide: the operating point of two classes, and what yes-no decisions are worth.

RATES = {"sensitivity": ("tp", "fn"), "specificity": ("tn", "fp"), "ppv": ("tp", "fp"), "npv": ("tn", "fn")}
"""Of each rate, what is counted for it and what against it."""
UNDECIDED = 0.5
"""The threshold where validation slides can choose none."""


def choose_threshold(y: np.ndarray, prob: np.ndarray, *, min_sensitivity: float | None = None) -> float | None:
    """Where class 1 begins, by VALIDATION slides; None where only one class occurs among them.

    It is the threshold of best balanced accuracy, which is that of Youden's index (Youden, 1950), or the highest one
    that finds at least `min_sensitivity` of the slides of class 1; midway between neighbouring probabilities.

    Args:
        y: (slides,) class indices.
        prob: (slides, 2).
    """
    if len(np.unique(y)) < 2:
        return None
    if min_sensitivity is None:
        return best_threshold(y, prob, metric="balanced_accuracy")
    scores = prob[:, 1]
    found = np.sort(scores[y == 1])[::-1]
    last = found[max(int(np.ceil(min_sensitivity * len(found) - 1e-9)), 1) - 1]
    below = scores[scores < last]
    return float((last + below.max()) / 2 if len(below) else last)


def decision_rates(y: np.ndarray, called: np.ndarray, *, groups: np.ndarray, n: int = 1000, seed: int = 0) -> Facts:
    """Sensitivity, specificity, PPV and NPV of yes-no decisions, with 95 % intervals, and what was counted.

    Intervals are percentiles over resampled patients, drawn without strata, because PPV and NPV depend on how many are
    positive. A share of 0 or 1 is the same in every resample: its interval is Wilson's, with the patients as trials.

    Args:
        y: (rows,) bool, the class is there.
        called: (rows,) bool, it is said to be there.
        groups: (rows,) patient of each row.

    Returns:
        `{"sensitivity": {"value", "ci95"}, ..., "counts": {"tp", "fp", "fn", "tn"}}`; None where undefined.
    """
    y, called, groups = np.asarray(y, dtype=bool), np.asarray(called, dtype=bool), np.asarray(groups)
    is_a = {"tp": y & called, "fp": ~y & called, "fn": y & ~called, "tn": ~y & ~called}
    rows, drawn = codes_of(groups), resample_counts(groups, n=n, seed=seed)
    sums = {name: drawn @ np.bincount(rows, weights=hit, minlength=drawn.shape[1]) for name, hit in is_a.items()}
    found: Facts = {}
    for name, (hit, miss) in RATES.items():
        looked_at = is_a[hit] | is_a[miss]
        value = float(is_a[hit][looked_at].mean()) if looked_at.any() else np.nan
        with np.errstate(invalid="ignore", divide="ignore"):  # 0/0 where a resample has none to look at
            interval = percentile_interval(value, sums[hit] / (sums[hit] + sums[miss]))
        if n and value in (0.0, 1.0):
            share = wilson(is_a[hit][looked_at], trials=len(np.unique(groups[looked_at])))
            interval = Interval(value, share.low, share.high, 0)
        found[name] = interval.as_dict()
    return {**found, "counts": {name: int(hit.sum()) for name, hit in is_a.items()}}


def operating_point(
    table: pd.DataFrame,
    classes: Sequence[str],
    *,
    min_sensitivity: float | None = None,
    n_boot: int = 1000,
    seed: int = 0,
) -> Facts:
    """The threshold of each fold, chosen on its validation slides alone, and what it does on its test slides.

    Probabilities are means over seeds first. A slide tested in several folds has the mean of their thresholds.

    Args:
        table: rows of all models with slide, case, label (index), part ("val", "test"), fold, seed, prob_<class>.
        classes: two, the positive one last.
        min_sensitivity: as for `choose_threshold`.

    Returns:
        `{"positive", "min_sensitivity", "thresholds": [{"fold", "threshold", "n_val", "chosen"}]}` and what
        `decision_rates` returns, all folds together; `chosen` is false where validation slides could choose none.
    """
    negative, positive = (f"prob_{name}" for name in classes)
    rows = averaged(table, ["part", "fold", "slide"], first=FIRST, mean=(negative, positive))
    test, thresholds = rows[rows["part"] == "test"], []
    for fold in sorted(test["fold"].unique()):
        val = rows[(rows["part"] == "val") & (rows["fold"] == fold)]
        y, prob = val["label"].to_numpy(), val[[negative, positive]].to_numpy(dtype=np.float64)
        chosen = choose_threshold(y, prob, min_sensitivity=min_sensitivity)
        at = UNDECIDED if chosen is None else chosen
        thresholds.append({"fold": int(fold), "threshold": at, "n_val": len(val), "chosen": chosen is not None})
    slides = averaged(test, ["slide"], first=FIRST, mean=[positive])
    called = slides[positive].to_numpy() >= slide_thresholds(test, thresholds)[slides["slide"]].to_numpy()
    y = (slides["label"] == 1).to_numpy()
    rates = decision_rates(y, called, groups=slides["case"].to_numpy(str), n=n_boot, seed=seed)
    return {"positive": classes[1], "min_sensitivity": min_sensitivity, "thresholds": thresholds, **rates}


def slide_thresholds(test: pd.DataFrame, thresholds: Sequence[Facts]) -> pd.Series:
    """Where the positive class begins, by slide: the mean of the `thresholds` of the folds that tested it.

    Args:
        test: test rows with slide and fold.
        thresholds: those of `operating_point`.
    """
    return test["fold"].map({one["fold"]: one["threshold"] for one in thresholds}).groupby(test["slide"]).mean()


def against_the_rest(
    table: pd.DataFrame, classes: Sequence[str], *, n_boot: int = 1000, seed: int = 0
) -> dict[str, Facts]:
    """Each class against all others: AUROC, and the rates of deciding for it where it is the most probable one.

    Folds are pooled, probabilities are means over seeds.

    Args:
        table: test rows with slide, case, label (index), prob_<class>.

    Returns:
        class to `{"auroc": {"value", "ci95"}}` and what `decision_rates` returns.
    """
    columns = [f"prob_{name}" for name in classes]
    slides = averaged(table, ["slide"], first=FIRST, mean=columns)
    prob, groups = slides[columns].to_numpy(dtype=np.float64), slides["case"].to_numpy(str)
    found = {}
    for i, name in enumerate(classes):
        y = (slides["label"] == i).to_numpy()
        both = np.stack([1 - prob[:, i], prob[:, i]], axis=1)
        auroc = bootstrap_ci("auroc", y.astype(int), both, groups=groups, strata=y, n=n_boot, seed=seed)
        rates = decision_rates(y, prob.argmax(axis=1) == i, groups=groups, n=n_boot, seed=seed)
        found[name] = {"auroc": auroc.as_dict(), **rates}
    return found
