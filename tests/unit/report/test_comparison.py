"""Two runs on the same slides: paired differences by hand, what cannot be compared, and the page."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.metrics import roc_auc_score

from asmil.errors import RunError
from asmil.evaluation import METRICS, compare_predictions
from asmil.evaluation.intervals import Interval
from asmil.report import write_comparison
from asmil.report.comparison import Pair, verdict
from asmil.runs import Run


@pytest.fixture(scope="module")
def pair(make_run, tmp_path_factory):
    """A run of 24 slides, and one that guesses. Only read."""
    folder = tmp_path_factory.mktemp("pair")
    own = make_run(folder / "own", slides=24, epochs=3)
    other = shutil.copytree(own, folder / "other")
    table = pd.read_csv(other / "predictions.csv")
    table["prob_tumour"] = np.random.default_rng(4).random(len(table))
    table["prob_benign"] = 1 - table["prob_tumour"]
    table["predicted"] = np.where(table["prob_tumour"] > 0.5, "tumour", "benign")
    table["entropy"] = table["entropy"] + 0.1
    table.to_csv(other / "predictions.csv", index=False)
    config = yaml.safe_load((own / "config.yaml").read_text())
    (other / "config.yaml").write_text(yaml.safe_dump(config | {"beta": 0.5}))
    return own, other


def test_differences_are_those_of_the_tables(pair):
    found = Pair(*(Run(folder) for folder in pair))
    own, other = (pd.read_csv(folder / "predictions.csv") for folder in pair)
    y = (own["label"] == "tumour").to_numpy(int)
    by_fold = [
        roc_auc_score(y[rows], own["prob_tumour"][rows]) - roc_auc_score(y[rows], other["prob_tumour"][rows])
        for rows in (own["fold"] == fold for fold in range(3))
    ]
    assert found.same_folds
    assert found.differences(n_boot=50)["auroc"].value == pytest.approx(np.mean(by_fold))
    assert found.over_training()["auroc"].mean == pytest.approx(np.mean(by_fold))
    assert found.values("a")["auroc"] - found.values("b")["auroc"] == pytest.approx(np.mean(by_fold))
    a, b, gap, n = found.map_differences(n_boot=50)["entropy"]
    assert (a - b, gap.value, gap.low, gap.high) == pytest.approx((-0.1, -0.1, -0.1, -0.1))
    assert n == 24
    assert found.settings() == [("beta", 0.1, 0.5)]


def test_a_mean_over_folds_draws_patients_within_their_fold():
    random = np.random.default_rng(0)
    y, folds = np.arange(60) % 2, np.arange(60) // 20
    a, b = (np.stack([1 - p, p], axis=1) for p in random.random((2, 60)))
    found = compare_predictions(y, a, b, groups=np.arange(60), strata=y, folds=folds, n=200)["brier"]
    values = [METRICS["brier"](y[folds == k], b[folds == k]) - METRICS["brier"](y[folds == k], a[folds == k])
              for k in range(3)]  # fmt: skip
    assert found.value == pytest.approx(np.mean(values))
    pooled = compare_predictions(y, a, b, groups=np.arange(60), strata=y, n=200)["brier"]
    assert found.value == pytest.approx(pooled.value), "folds of equal size: the Brier score is the same mean"
    assert (found.low, found.high) == pytest.approx((pooled.low, pooled.high), abs=0.04)


def test_the_page_names_what_differs(pair, read_page):
    page = read_page(write_comparison(*pair))
    assert page.headings == [
        "What was compared", "Metrics", "Attention", "Slides on which they disagree", "Settings that differ",
    ]  # fmt: skip
    assert "own against other" in page.words
    assert "the same folds, so differences are means over the folds" in page.words
    assert "beta 0.1 0.5" in page.words
    assert re.search(r"Difference of AUROC, mean of the folds \+0\.\d+ 95 % interval", page.words)
    assert page.source.count("<svg") == 2
    assert "http" not in page.source.replace("http://www.w3.org", "")
    assert all(link[1:] in page.ids for link in page.links if link.startswith("#"))


def test_other_folds_are_pooled_and_said(pair, tmp_path, read_page):
    own, other = (shutil.copytree(folder, tmp_path / folder.name) for folder in pair)
    splits = pd.read_csv(other / "splits.csv")
    splits.assign(fold=(splits["fold"] + 1) % 3).to_csv(other / "splits.csv", index=False)
    table = pd.read_csv(other / "predictions.csv")
    table[2:].to_csv(other / "predictions.csv", index=False)
    found = Pair(Run(own), Run(other))
    assert not found.same_folds
    assert found.over_training() == {}
    words = read_page(write_comparison(own, other)).words
    assert "Their folds differ" in words
    assert "own has 2 slides that are not in other" in words


def test_what_cannot_be_compared_is_refused(pair, tmp_path):
    own, other = (shutil.copytree(folder, tmp_path / folder.name) for folder in pair)
    table = pd.read_csv(other / "predictions.csv")
    flipped = table.assign(label=np.where(table["label"] == "benign", "tumour", "benign"))
    flipped.to_csv(other / "predictions.csv", index=False)
    with pytest.raises(RunError, match="predicts other labels"):
        write_comparison(own, other)
    cohort = pd.read_csv(other / "cohort.csv")
    for name, rows in {"predictions": table, "cohort": cohort}.items():
        rows.assign(slide="x" + rows["slide"]).to_csv(other / f"{name}.csv", index=False)
    with pytest.raises(RunError, match="predicts other slides"):
        write_comparison(own, other)
    cohort.to_csv(other / "cohort.csv", index=False)
    table.assign(value=0.5).to_csv(other / "predictions.csv", index=False)
    (other / "task.json").write_text(json.dumps({"name": "regression", "options": {"columns": ["age"]}}))
    with pytest.raises(RunError, match="only runs of classification"):
        write_comparison(own, other)


@pytest.mark.parametrize(
    ("low", "high", "says"), [(0.01, 0.1, "better"), (-0.1, -0.01, "worse"), (-0.1, 0.0, "cannot be told apart")]
)
def test_the_verdict_follows_the_interval(low, high, says):
    assert says in verdict(Interval(0.0, low, high, 100), ("a", "b"))
    assert "cannot be computed" in verdict(Interval(np.nan, np.nan, np.nan, 0), ("a", "b"))
