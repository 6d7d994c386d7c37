"""The numbers of a run from its table of test predictions, of slides and of patients."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from asmil.errors import MetricError
from asmil.evaluation.intervals import bootstrap_ci, mean_over_folds
from asmil.evaluation.metrics import METRICS, check_probabilities
from asmil.files import Facts
from asmil.runs import Cell, Run


def tested_rows(table: pd.DataFrame, columns: Sequence[str], *, constant: Sequence[str]) -> pd.DataFrame:
    """The rows whose `part` is "test" (all, where there is no such column), with a column `seed`.

    Raises:
        MetricError: `columns` are missing, a slide has several values of a `constant` column or several rows of one
            fold and seed, or lacks the rows of a seed.
    """
    missing = [name for name in ("slide", "case", "fold", *columns) if name not in table.columns]
    if missing:
        raise MetricError("the predictions lack columns", found=f"no {', '.join(missing)}")
    if "part" in table.columns:
        table = table[table["part"] == "test"]
    table = table.assign(seed=table["seed"] if "seed" in table.columns else 0)
    twice = table.duplicated(["slide", "fold", "seed"])
    if twice.any():
        raise MetricError(
            "a slide has several predictions of the same fold and seed",
            found=f"slide {table.loc[twice, 'slide'].iloc[0]}",
            fix="tell the runs apart in a column `seed`",
        )
    for column in constant:
        several = table.groupby("slide")[column].nunique() > 1
        if several.any():
            raise MetricError(f"a slide has several values of {column}", found=f"slide {several.idxmax()}")
    seeds = table.groupby(["slide", "fold"])["seed"].nunique()
    if seeds.nunique() > 1:
        raise MetricError(
            "some slides lack the predictions of a seed",
            found=f"{', '.join(map(str, seeds.index[int(seeds.argmin())]))}: {seeds.min()} seeds, others {seeds.max()}",
            fix="finish the run, or leave that seed out",
        )
    return table


FIRST = ("case", "label")
"""What is the same in all rows of a slide."""


def averaged(table: pd.DataFrame, keys: list[str], *, first: Sequence[str], mean: Sequence[str]) -> pd.DataFrame:
    """One row per combination of `keys`, sorted: the `first` value of some columns, the `mean` of others."""
    rows = table.groupby(keys, sort=True).agg(dict.fromkeys(first, "first") | dict.fromkeys(mean, "mean"))
    return rows.reset_index()


def parts(table: pd.DataFrame, key: str) -> list[tuple[object, pd.DataFrame]]:
    """The rows of each value of a column, the value as a plain type."""
    return [(value.item() if hasattr(value, "item") else value, part) for value, part in table.groupby(key)]


def or_none(value: float) -> float | None:
    """A number for JSON: None where it is not defined."""
    return float(value) if np.isfinite(value) else None


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
    by_fold = averaged(table, ["slide", "fold"], first=FIRST, mean=columns)
    y, prob, fold = by_fold["label"].to_numpy(), by_fold[columns].to_numpy(), by_fold["fold"].to_numpy()
    pooled = averaged(table, ["slide"], first=FIRST, mean=columns)
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


def bags_are_patients(run: Run) -> bool:
    """Whether the run learned from bags of all slides of a patient."""
    return run.unit == "case"


def one_row_per_patient(table: pd.DataFrame) -> pd.DataFrame:
    """The predictions of bags of patients, which stand in the row of each slide, once each."""
    return table.drop_duplicates([name for name in ("case", "fold", "seed", "part") if name in table])


def patient_summary(table: pd.DataFrame, classes: Sequence[str], *, n_boot: int, seed: int = 0) -> Facts | None:
    """The metrics of patients, whose probabilities are the means over their slides.

    `table` has the test rows that `evaluate_predictions` takes. None where no patient has several slides, or where
    slides of one patient have different labels, so that a patient has none.

    Returns:
        `{"test", "test_is", "n_patients", "how"}`, the first two as `evaluate_predictions`.
    """
    slides, labels = (table.groupby("case")[column].nunique().max() for column in ("slide", "label"))
    if not slides > 1 or labels > 1:
        return None
    columns = [f"prob_{name}" for name in classes]
    patients = averaged(table, ["case", "fold", "seed"], first=["label"], mean=columns)
    found = evaluate_predictions(patients.assign(slide=patients["case"]), classes, n_boot=n_boot, seed=seed)
    how = "the probabilities of a patient are the means over the patient's slides"
    return {**{name: found[name] for name in ("test", "test_is", "n_patients")}, "how": how}


def own_maps(maps: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Maps that each sum to 1, of maps (tiles,) that sum to 1 over a patient; even where a slide got no attention."""
    return {
        slide: attention / attention.sum() if attention.sum() > 0 else np.full(len(attention), 1 / len(attention))
        for slide, attention in maps.items()
    }


def test_maps(run: Run, cells: Sequence[Cell]) -> dict[str, np.ndarray]:
    """The test attention of some models by slide, mean over seeds; of a patient's bag, the map of the slide alone."""
    maps = run.test_attention(cells)
    return own_maps(maps) if bags_are_patients(run) else maps


def attention_shares(maps: Mapping[str, np.ndarray], cases: pd.Series) -> pd.Series:
    """What each slide has of its patient's attention; `cases` and the result go by slide."""
    own = pd.Series({slide: float(maps[slide].sum()) for slide in cases.index})
    return own / own.groupby(cases).transform("sum")
