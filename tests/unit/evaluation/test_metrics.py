"""Metrics and validation thresholds on cases small enough to count by hand."""

import numpy as np
import pytest

from asmil.errors import UnknownPartError
from asmil.evaluation import LOWER_IS_BETTER, METRICS, MetricError, best_threshold

COMPARES_CLASSES = ("auroc", "average_precision", "macro_f1", "balanced_accuracy", "mcc")


def two(p: list[float]) -> np.ndarray:
    p = np.asarray(p, dtype=float)
    return np.stack([1 - p, p], axis=1)


def test_hand_counted_binary_values():
    y, prob = np.array([0, 0, 1, 1]), two([0.1, 0.6, 0.4, 0.9])
    assert METRICS["auroc"](y, prob) == 0.75
    assert METRICS["average_precision"](y, prob) == pytest.approx((1 + 2 / 3) / 2)
    assert METRICS["accuracy"](y, prob) == METRICS["balanced_accuracy"](y, prob) == METRICS["macro_f1"](y, prob) == 0.5
    assert METRICS["mcc"](y, prob) == 0
    assert METRICS["brier"](y, prob) == pytest.approx((0.01 + 0.36 + 0.36 + 0.01) / 4)
    assert METRICS["log_loss"](y, prob) == pytest.approx(-np.log([0.9, 0.4, 0.4, 0.9]).mean())
    assert METRICS["ece"](y, prob) == pytest.approx((2 * 0.6 + 2 * 0.1) / 4)  # both .6 wrong, both .9 right


def test_macro_f1_is_not_micro_f1():
    y, prob = np.array([0] * 9 + [1]), two([0.1] * 10)
    assert METRICS["accuracy"](y, prob) == 0.9
    assert METRICS["macro_f1"](y, prob) == pytest.approx((18 / 19 + 0) / 2)


def test_perfect_multiclass_is_best_in_every_metric():
    y = np.array([0, 1, 2, 2, 1])
    for name in METRICS.names():
        assert METRICS[name](y, np.eye(3)[y]) == pytest.approx(0 if name in LOWER_IS_BETTER else 1), name


@pytest.mark.parametrize("name", METRICS.names())
def test_one_class_only_is_nan_or_defined_never_a_crash(name):
    value = METRICS[name](np.ones(4, dtype=int), two([0.2, 0.7, 0.8, 0.9]))
    assert np.isnan(value) == (name in COMPARES_CLASSES)


@pytest.mark.parametrize(
    ("y", "prob", "says"),
    [
        ([0, 1], [[0.5, 0.5]], "one row of class scores per slide"),
        ([], np.empty((0, 2)), "one row of class scores per slide"),
        ([0, 2], [[0.5, 0.5], [0.5, 0.5]], "not class indices"),
        ([0, 1], [[0.5, np.nan], [0.5, 0.5]], "not finite"),
    ],
)
def test_what_cannot_be_scored_is_refused(y, prob, says):
    for name in METRICS.names():
        with pytest.raises(MetricError, match=says):
            METRICS[name](np.array(y), np.array(prob))


def test_logits_are_no_probabilities():
    with pytest.raises(MetricError, match="softmax"):
        METRICS["brier"](np.array([0, 1]), np.array([[2.0, -1], [0, 3]]))


def test_an_unknown_metric_is_named_with_the_nearest():
    with pytest.raises(UnknownPartError, match="auroc"):
        METRICS["aurocc"]


def test_the_best_threshold_is_in_the_gap_and_the_tie_goes_to_one_half():
    y = np.array([0, 0, 1, 1])
    assert best_threshold(y, two([0.1, 0.2, 0.3, 0.4]), metric="balanced_accuracy") == pytest.approx(0.25)
    assert best_threshold(y, two([0.6, 0.7, 0.8, 0.9]), metric="balanced_accuracy") == pytest.approx(0.75)


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "macro_f1", "mcc"])
def test_best_threshold_is_as_good_as_any_of_a_fine_search(metric):
    rng = np.random.default_rng(3)
    y = rng.integers(0, 2, 60)
    p = np.clip(rng.normal(0.3 + 0.2 * y, 0.15), 0, 1).round(2)
    search = [METRICS[metric](y, two((p >= t).astype(float))) for t in np.linspace(0, 1, 101) + 0.005]
    chosen = METRICS[metric](y, two((p >= best_threshold(y, two(p), metric=metric)).astype(float)))
    assert chosen == pytest.approx(max(search))


def test_a_threshold_needs_two_classes_and_a_metric_that_has_one():
    with pytest.raises(MetricError, match="exactly two classes"):
        best_threshold(np.ones(3, dtype=int), two([0.1, 0.2, 0.3]))
    with pytest.raises(MetricError, match="does not depend on a threshold"):
        best_threshold(np.array([0, 1]), two([0.1, 0.2]), metric="auroc")
