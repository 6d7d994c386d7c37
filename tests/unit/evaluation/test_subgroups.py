"""Every group is named, however small; intervals are not points; what cannot be computed is not."""

import numpy as np
import pytest
from scipy.stats import binomtest

from asmil.evaluation import METRICS, MetricError
from asmil.evaluation.subgroups import by_subgroup, wilson


def cohort() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Labels, probabilities, sites and patients: a large site, one with a single class, one of a single slide."""
    random = np.random.default_rng(2)
    sites = np.array(["B"] * 60 + ["A"] * 8 + ["C"])
    y = np.r_[np.arange(60) % 2, np.zeros(8), 1].astype(int)
    score = np.clip(0.5 + (y - 0.5) * 0.4 + random.normal(scale=0.25, size=len(y)), 0.01, 0.99)
    return y, np.stack([1 - score, score], axis=1), sites, np.arange(len(y)) // 2


def test_no_group_is_hidden():
    y, prob, sites, patients = cohort()
    a, b, c = by_subgroup(y, prob, sites, groups=patients, n=100)
    assert [(g.name, g.n_slides, g.n_patients, g.few) for g in (a, b, c)] == [
        ("A", 8, 4, True), ("B", 60, 30, False), ("C", 1, 1, True),
    ]  # fmt: skip
    assert a.auroc is None
    assert c.auroc is None
    here = sites == "B"
    assert b.auroc.value == METRICS["auroc"](y[here], prob[here])
    assert b.auroc.low < b.auroc.value < b.auroc.high
    right = prob.argmax(1) == y
    assert [share.value for share in b.recalls] == [right[here & (y == k)].mean() for k in (0, 1)]
    assert [share.n for share in a.recalls] == [8, 0]
    assert np.isnan(a.recalls[1].value)


def test_wilson_is_that_of_scipy_and_patients_are_the_trials():
    hits = np.array([True] * 7 + [False] * 2)
    expected = binomtest(7, 9).proportion_ci(method="wilson")
    assert (wilson(hits).low, wilson(hits).high) == pytest.approx((expected.low, expected.high))
    assert wilson(hits, trials=4).low < expected.low
    assert wilson(np.ones(12, dtype=bool)).low == pytest.approx(binomtest(12, 12).proportion_ci(method="wilson").low)


def test_three_classes_have_three_recalls():
    random = np.random.default_rng(0)
    prob = random.dirichlet(np.ones(3), 90)
    y = np.arange(90) % 3
    (only,) = by_subgroup(y, prob, ["x"] * 90, groups=np.arange(90), n=20)
    assert len(only.recalls) == 3
    assert only.auroc.value == METRICS["auroc"](y, prob)


def test_a_name_for_each_slide():
    y, prob, sites, patients = cohort()
    with pytest.raises(MetricError, match="a name and a patient"):
        by_subgroup(y, prob, sites[1:], groups=patients)
