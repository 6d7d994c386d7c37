"""What every metric owes whatever the predictions: its range, and blindness to order and copies."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from asmil.evaluation import LOWER_IS_BETTER, METRICS
from asmil.evaluation.metrics import RESAMPLED
from asmil.evaluation.task_scores import label_scores
from asmil.tasks import auroc

RANGES = {"mcc": (-1, 1), "log_loss": (0, 40), "brier": (0, 2)}


@st.composite
def predictions(draw, max_classes: int = 4):
    n, n_classes = draw(st.integers(2, 25)), draw(st.integers(2, max_classes))
    y = draw(arrays(np.int64, n, elements=st.integers(0, n_classes - 1)))
    weight = draw(arrays(np.float64, (n, n_classes), elements=st.integers(1, 20).map(float)))
    return y, weight / weight.sum(1, keepdims=True)


@settings(max_examples=25, deadline=None)
@given(predictions())
@pytest.mark.parametrize("name", METRICS.names())
def test_in_range_and_blind_to_order_and_copies(name, case):
    y, prob = case
    value = METRICS[name](y, prob)
    if np.isnan(value):
        assert len(np.unique(y)) < prob.shape[1]
        return
    low, high = RANGES.get(name, (0, 1))
    assert low - 1e-9 <= value <= high + 1e-9
    order = np.random.default_rng(0).permutation(len(y))
    assert METRICS[name](y[order], prob[order]) == pytest.approx(value, abs=1e-9)
    assert METRICS[name](np.tile(y, 2), np.tile(prob, (2, 1))) == pytest.approx(value, abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(predictions(max_classes=2))
def test_auroc_ignores_monotone_maps_and_mirrors_when_scores_are_turned(case):
    y, prob = case
    value = METRICS["auroc"](y, prob)
    if np.isnan(value):
        return
    scores = prob[:, 1].round(6)  # so that cubing keeps ties tied
    as_pair = np.stack([-(scores**3), scores**3], axis=1)
    assert METRICS["auroc"](y, as_pair) == pytest.approx(METRICS["auroc"](y, np.stack([-scores, scores], 1)))
    assert METRICS["auroc"](y, -as_pair) == pytest.approx(1 - METRICS["auroc"](y, as_pair))


@settings(max_examples=25, deadline=None)
@given(predictions())
@pytest.mark.parametrize("name", METRICS.names())
def test_no_prediction_beats_the_truth(name, case):
    y, prob = case
    best, value = METRICS[name](y, np.eye(prob.shape[1])[y]), METRICS[name](y, prob)
    if np.isfinite(value) and np.isfinite(best):
        assert (best <= value + 1e-9) if name in LOWER_IS_BETTER else (best >= value - 1e-9)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_the_three_forms_of_auroc_are_equal_to_the_bit(data):
    """By ranks, by patients' counts and by rows' weights: of rows as they are, and drawn again with their patients."""
    n, patients = data.draw(st.integers(2, 30)), data.draw(st.integers(1, 8))
    y = data.draw(arrays(np.int64, n, elements=st.integers(0, 1)))
    y[:2] = 0, 1
    scores = data.draw(arrays(np.float64, n, elements=st.sampled_from([0.0, 0.1, 0.3, 1 / 3, 0.7, 1.0])))
    groups = data.draw(arrays(np.int64, n, elements=st.integers(0, patients - 1)))
    counts = data.draw(arrays(np.float64, (5, patients), elements=st.integers(0, 3).map(float)))
    counts[0] = 1
    prob = np.stack([1 - scores, scores], 1)
    with np.errstate(invalid="ignore"):
        by_patient = RESAMPLED["auroc"](y, prob, counts, groups)
    by_row = label_scores(y.astype(float), scores, weight=counts[:, groups])["auroc"]
    rows = [np.repeat(np.arange(n), own[groups].astype(int)) for own in counts]
    plain = [auroc(y[drawn] == 1, scores[drawn]) if len(drawn) else np.nan for drawn in rows]
    np.testing.assert_array_equal(by_patient, plain)
    np.testing.assert_array_equal(by_row, plain)
    assert METRICS["auroc"](y, prob) == plain[0]
