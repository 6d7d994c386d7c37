"""The numbers of a run from its table of test predictions."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from asmil.evaluation._rows import averaged, or_none, parts, tested_rows
from asmil.evaluation.intervals import bootstrap_ci, mean_over_folds
from asmil.evaluation.metrics import METRICS, check_probabilities


def evaluate_predictions(
    table: pd.DataFrame, classes: Sequence[str], *, n_boot: int = 1000, seed: int = 0
) -> dict[str, object]:
    """Every metric of out-of-fold predictions, with 95 % intervals over patients.

    `table` has columns slide, case, fold, label (index into `classes`), prob_<class> for each class, and
    `seed` where a slide has several rows. Rows whose `part` is not "test" are left out. Seeds are averaged
    first (an ensemble); what a single seed reaches is in `per_seed`. Folds are compared among themselves
    only: pooling ranks slides by models that never met, so the headline `test` is the mean over folds where
    there are several.

    Returns:
        plain types, undefined numbers None: `test` and `pooled` and `mean_of_folds` ({metric: {"value",
        "ci95"}}), `test_is`, `per_fold` (a dict each), `per_seed` ({"values": a dict each, "spread":
        {metric: {"mean", "sd"}}}), `confusion` (rows true, columns predicted), `classes`, `n_slides`,
        `n_patients`.

    Raises:
        MetricError: missing columns, values that are no probabilities, or rows of a slide that contradict
            each other.
    """
    table, columns = _checked(table, classes)
    by_fold = _averaged(table, ["slide", "fold"], columns)
    y, prob, fold = by_fold["label"].to_numpy(), by_fold[columns].to_numpy(), by_fold["fold"].to_numpy()
    pooled = _averaged(table, ["slide"], columns)
    y_all, prob_all = pooled["label"].to_numpy(), pooled[columns].to_numpy()
    options = {"n": n_boot, "seed": seed}
    results: dict[str, dict] = {"pooled": {}, "mean_of_folds": {}}
    for name in METRICS.names():
        whole = bootstrap_ci(name, y_all, prob_all, groups=pooled["case"].to_numpy(), strata=y_all, **options)
        mean = mean_over_folds(name, y, prob, folds=fold, groups=by_fold["case"].to_numpy(), strata=y, **options)
        results["pooled"][name], results["mean_of_folds"][name] = whole.as_dict(), mean.as_dict()
    headline = "mean_of_folds" if by_fold["fold"].nunique() > 1 else "pooled"
    confusion = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(confusion, (y_all, prob_all.argmax(1)), 1)
    return {
        "test": results[headline],
        "test_is": headline,
        **results,
        "per_fold": [{"fold": key, **_values(part, columns)} for key, part in parts(by_fold, "fold")],
        "per_seed": _per_seed(table, columns, several_folds=headline == "mean_of_folds"),
        "confusion": confusion.tolist(),
        "classes": list(classes),
        "n_slides": len(pooled),
        "n_patients": int(pooled["case"].nunique()),
    }


def _checked(table: pd.DataFrame, classes: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """The test rows with a seed column, and the names of the probability columns."""
    columns = [f"prob_{name}" for name in classes]
    table = tested_rows(table, ["label", *columns], constant=("case", "label"))
    check_probabilities(table["label"].to_numpy(), table[columns].to_numpy(dtype=np.float64))
    return table, columns


def _averaged(table: pd.DataFrame, keys: list[str], columns: list[str]) -> pd.DataFrame:
    return averaged(table, keys, first=("case", "label"), mean=columns)


def _values(rows: pd.DataFrame, columns: list[str]) -> dict[str, object]:
    """Every metric of one set of slides, without intervals, and its number of slides."""
    y, prob = rows["label"].to_numpy(), rows[columns].to_numpy()
    values = {name: METRICS[name](y, prob) for name in METRICS.names()}
    return {"n_slides": len(rows), **{name: or_none(value) for name, value in values.items()}}


def _per_seed(table: pd.DataFrame, columns: list[str], *, several_folds: bool) -> dict[str, object]:
    """The headline of each seed alone, and mean and standard deviation over seeds."""
    values, spread = [], {}
    for seed, part in parts(table, "seed"):
        sets = [rows for _, rows in parts(part, "fold")] if several_folds else [part]
        by_set = pd.DataFrame([_values(rows, columns) for rows in sets]).astype(float)
        means = by_set.drop(columns="n_slides").mean()
        values.append({"seed": seed, **{name: or_none(value) for name, value in means.items()}})
    for name in METRICS.names():
        column = pd.Series([value[name] for value in values], dtype=float)
        spread[name] = {"mean": or_none(column.mean()), "sd": or_none(column.std())}
    return {"values": values, "spread": spread}
