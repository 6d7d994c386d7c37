"""A run's numbers from its predictions: seeds, folds, patients, and rows that contradict each other."""

import json

import numpy as np
import pandas as pd
import pytest

from asmil.evaluation import METRICS, MetricError, evaluate_predictions


@pytest.fixture
def table() -> pd.DataFrame:
    """24 slides of 12 patients in two folds, predicted by two seeds."""
    rng = np.random.default_rng(0)
    slide = np.tile(np.arange(24), 2)
    label = slide // 2 % 2
    p = 1 / (1 + np.exp(-rng.normal(label - 0.5, 1)))
    columns = {"slide": [f"s{i}" for i in slide], "case": slide // 2, "fold": slide // 12, "label": label}
    return pd.DataFrame(columns | {"seed": np.repeat([1, 2], 24), "prob_no": 1 - p, "prob_yes": p})


def test_seeds_are_averaged_and_patients_counted(table):
    result = evaluate_predictions(table, ["no", "yes"], n_boot=50)
    mean = table.groupby("slide")[["label", "prob_no", "prob_yes"]].mean()
    expected = METRICS["auroc"](mean.label.to_numpy(), mean[["prob_no", "prob_yes"]].to_numpy())
    assert result["pooled"]["auroc"]["value"] == expected
    assert (result["n_slides"], result["n_patients"]) == (24, 12)
    assert np.sum(result["confusion"]) == 24
    assert result["test_is"] == "mean_of_folds"
    assert result["test"]["auroc"]["value"] == pytest.approx(np.mean([f["auroc"] for f in result["per_fold"]]))
    assert [v["seed"] for v in result["per_seed"]["values"]] == [1, 2]
    assert result["per_seed"]["spread"]["auroc"]["sd"] > 0
    json.dumps(result, allow_nan=False)


def test_one_fold_is_pooled_and_only_test_rows_count(table):
    extra = table.assign(part=np.where(table.fold == 0, "test", "train"))
    result = evaluate_predictions(extra, ["no", "yes"], n_boot=20)
    assert (result["test_is"], result["n_slides"]) == ("pooled", 12)


def test_a_set_of_one_class_has_none_where_nothing_is_defined(table):
    result = evaluate_predictions(table[table.label == 1], ["no", "yes"], n_boot=20)
    assert result["test"]["auroc"] == {"value": None, "ci95": [None, None], "folds": [0, 2]}
    json.dumps(result, allow_nan=False)


def test_contradictions_are_refused(table):
    cases = {
        "lack columns": table.drop(columns="case"),
        "same fold and seed": table.drop(columns="seed"),
        "several values of label": table.assign(label=table.label.where(table.index > 0, 1 - table.label)),
        "lack the predictions of a seed": table.iloc[1:],
        "softmax": table.assign(prob_no=table.prob_no + 1),
    }
    for says, wrong in cases.items():
        with pytest.raises(MetricError, match=says):
            evaluate_predictions(wrong, ["no", "yes"])
