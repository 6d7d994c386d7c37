"""Net benefit by hand and by loop, its bands over patients, and what treating all or none gives."""

from itertools import pairwise

import numpy as np
import pytest

from asmil.evaluation import MetricError
from asmil.evaluation.calibration import THRESHOLDS, decision_curve, net_benefit
from asmil.evaluation.intervals import resample_counts


def cohort(n: int = 80, *, effect: float = 1.5, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, calibrated probabilities and patients of two slides each."""
    random = np.random.default_rng(seed)
    score = 1 / (1 + np.exp(-random.normal(scale=effect, size=n)))
    return random.random(n) < score, score, np.arange(n) // 2


def test_by_hand():
    y, score = np.array([True, False, True, False]), np.array([0.9, 0.8, 0.2, 0.1])
    assert net_benefit(y, score, np.array([0.5])) == pytest.approx(1 / 4 - 1 / 4)
    assert net_benefit(y, score, np.array([0.2])) == pytest.approx(2 / 4 - 1 / 4 * 0.25)
    assert net_benefit(y, score, np.array([0.95])) == 0, "nobody is treated"
    assert net_benefit(y, score, np.array([0.05])) == pytest.approx(0.5 - 0.5 * 0.05 / 0.95), "everybody is"


def test_the_curve_and_its_bands_are_those_of_a_loop():
    y, score, groups = cohort()
    found = decision_curve(y, score, groups=groups, n=40, seed=3)
    np.testing.assert_allclose(found.model, net_benefit(y, score))
    np.testing.assert_allclose(found.treat_all, net_benefit(y, np.ones(len(y))))
    values, gains = [], []
    for counts in resample_counts(groups, n=40, seed=3):
        rows = np.concatenate([np.flatnonzero(groups == g) for g, times in enumerate(counts) for _ in range(times)])
        values.append(net_benefit(y[rows], score[rows]))
        gains.append(values[-1] - np.maximum(net_benefit(y[rows], np.ones(len(rows))), 0))
    np.testing.assert_allclose(found.low, np.quantile(values, 0.025, axis=0), atol=1e-12)
    np.testing.assert_allclose(found.high, np.quantile(values, 0.975, axis=0), atol=1e-12)
    np.testing.assert_allclose(found.gain_low, np.quantile(gains, 0.025, axis=0), atol=1e-12)


def test_a_useful_model_is_useful_somewhere_and_noise_nowhere():
    y, score, groups = cohort(400, effect=3.0)
    runs = decision_curve(y, score, groups=groups, n=300).useful
    first, last = max(runs, key=lambda run: run[1] - run[0])
    assert 0 < first < 0.3 < 0.7 < last < 1
    assert all(b < c for (_, b), (c, _) in pairwise(runs))
    random = np.random.default_rng(5).random(400)
    assert decision_curve(y, random, groups=groups, n=300).useful == []


def test_thresholds_stay_inside():
    assert THRESHOLDS[0] == 0.01
    assert THRESHOLDS[-1] == 0.99
    y, score, groups = cohort()
    for wrong in ({"score": score + 1}, {"thresholds": np.array([0.5, 1.0])}, {"groups": groups[1:]}, {"y": y[:0]}):
        values = {"y": y, "score": score, "groups": groups} | wrong
        with pytest.raises(MetricError, match="decision curve"):
            decision_curve(values.pop("y"), values.pop("score"), **values)
