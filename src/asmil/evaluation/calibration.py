"""Whether a predicted 70 % comes true 70 % of the time, and what one temperature per model does about it.

Temperature scaling (Guo et al., ICML 2017): the logits of a model are divided by one number, chosen by the log loss of
its validation slides. Here logits are the logs of the stored probabilities, which differ from the model's only by a
constant per slide and give the same result.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar

from asmil.errors import MetricError
from asmil.evaluation.compare import compare_predictions
from asmil.evaluation.intervals import Interval, bootstrap_ci
from asmil.evaluation.metrics import check_probabilities

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

    def loss(log_sharpness: float) -> float:
        scores = logits * np.exp(log_sharpness)
        top = scores.max(axis=1)
        return float((top + np.log(np.exp(scores - top[:, None]).sum(axis=1)) - scores[rows, y]).mean())

    bound = float(np.log(LARGEST_TEMPERATURE))
    found = minimize_scalar(loss, bounds=(-bound, bound), method="bounded", options={"xatol": 1e-7})
    return float(np.exp(-found.x))


def at_temperature(prob: np.ndarray, temperature: float) -> np.ndarray:
    """The probabilities (slides, classes) of a model whose logits are divided by `temperature`."""
    scores = _logits(np.asarray(prob, dtype=np.float64)) / temperature
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    return scores / scores.sum(axis=1, keepdims=True)


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
    slides = pd.concat(scaled).groupby("slide", sort=True)
    rows = slides.agg({"case": "first", "label": "first"} | dict.fromkeys(values, "mean")).reset_index()
    before, after = (
        rows[names].to_numpy(dtype=np.float64) for names in (values[: len(classes)], values[len(classes) :])
    )
    y, groups = rows["label"].to_numpy(), rows["case"].to_numpy()
    options: dict[str, Any] = {"groups": groups, "strata": y, "n": n_boot, "seed": seed}
    change = compare_predictions(y, before, after, metrics=CALIBRATION_METRICS, **options)
    intervals = {
        name: (bootstrap_ci(name, y, before, **options), bootstrap_ci(name, y, after, **options), change[name])
        for name in CALIBRATION_METRICS
    }
    return Calibration(tuple(cells), rows[["slide", "case", "label"]], before, after, intervals)


def _logits(prob: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(prob, np.finfo(np.float64).tiny))
