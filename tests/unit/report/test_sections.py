"""The curves behind the figures, against scikit-learn and by hand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from asmil.report.claims import split_facts
from asmil.report.clinical import reliability
from asmil.report.sections import rate_curve, rates


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=4, max_size=40))
def test_rates_are_those_of_scikit_learn_ties_included(pairs):
    y, score = np.array([p[0] for p in pairs]), np.array([p[1] / 6 for p in pairs])
    if not 0 < y.sum() < len(y):
        return
    ones = np.ones((1, len(y)), dtype=int)
    x, height = next(rates("roc", y, score, weights=ones))
    expected_x, expected_height, _ = roc_curve(y, score, drop_intermediate=False)
    assert x == pytest.approx(expected_x)
    assert height == pytest.approx(expected_height)
    recall, precision = next(rates("pr", y, score, weights=ones))
    expected, expected_recall, _ = precision_recall_curve(y, score)
    points = dict.fromkeys(zip(np.round(recall[1:], 9), np.round(precision[1:], 9), strict=True))
    assert set(points) <= set(zip(np.round(expected_recall, 9), np.round(expected, 9), strict=True))


def test_the_areas_are_those_of_scikit_learn():
    random = np.random.default_rng(3)
    y, score = random.random(80) > 0.6, random.integers(0, 20, 80) / 20
    cases = np.arange(80).astype(str)
    for kind, area in (("roc", roc_auc_score), ("pr", average_precision_score)):
        assert rate_curve(kind, y, score, cases=cases, folds=None).label == f"{area(y, score):.3f}"


def test_weights_count_as_repeated_slides():
    random = np.random.default_rng(0)
    y, score, weights = random.random(30) > 0.5, random.random(30), random.integers(0, 3, 30)
    x, height = next(rates("roc", y, score, weights=weights[None]))
    expected_x, expected_height, _ = roc_curve(np.repeat(y, weights), np.repeat(score, weights))
    assert auc(x, height) == pytest.approx(auc(expected_x, expected_height))


def test_one_class_gives_no_curve():
    ones = np.ones((1, 3), dtype=int)
    assert list(rates("roc", np.array([True] * 3), np.arange(3.0), weights=ones)) == []


@pytest.mark.parametrize("kind", ["roc", "pr"])
def test_the_band_holds_the_curve_and_patients_are_resampled_whole(kind):
    random = np.random.default_rng(1)
    y = np.repeat(random.random(60) > 0.5, 2)
    score = np.repeat(y[::2] * 0.8 + random.normal(size=60), 2)
    alone = {"cases": np.arange(120).astype(str), "folds": None}
    paired = {"cases": np.repeat(np.arange(60), 2).astype(str), "folds": np.repeat([0, 1, 2], 40)}
    curve, narrow = rate_curve(kind, y, score, **paired), rate_curve(kind, y, score, **alone)
    assert (curve.low <= curve.y + 0.05).all()
    assert (curve.high >= curve.y - 0.05).all()
    assert len(curve.faint) == 3
    assert not narrow.faint
    assert (curve.high - curve.low).mean() > 1.2 * (narrow.high - narrow.low).mean()


def test_reliability_bins_hold_equal_counts_and_wilson_intervals():
    random = np.random.default_rng(2)
    probability = random.random(400)
    bins = reliability(random.random(400) < probability, probability)
    assert bins["counts"].tolist() == [50] * 8
    assert ((bins["low"] < bins["observed"]) & (bins["observed"] < bins["high"])).all()
    assert np.abs(bins["observed"] - bins["predicted"]).max() < 0.2
    certain = reliability(np.ones(5, dtype=bool), np.ones(5))
    assert certain["low"] == pytest.approx([0.5655], abs=1e-4)  # Wilson, 5 of 5
    assert certain["high"] == pytest.approx([1.0])


def test_split_facts_find_leaks():
    table = pd.DataFrame(
        [("a1", "a", 0, "train"), ("a2", "a", 0, "test"), ("b", "b", 0, "test"), ("b", "b", 1, "test"),
         ("c", "c", 1, "val")],
        columns=["slide", "case", "fold", "part"],
    )  # fmt: skip
    found = {"folds": 2, "cases": 3, "shared": 1, "retested": 1, "untested": 2, "alone": False}
    assert split_facts(table) == found
