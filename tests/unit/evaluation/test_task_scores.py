"""Scores of other tasks, also of resamples, against scikit-learn and SciPy on repeated rows."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from asmil.evaluation.task_scores import (
    label_scores,
    level_confusion,
    multilabel_scores,
    ordinal_scores,
    regression_scores,
    survival_scores,
)

RNG = np.random.default_rng(0)
ROWS = 60
DRAWN = RNG.integers(0, 4, (3, ROWS))


def resampled(*arrays):
    """The arrays as they are, and as each resample repeats their rows."""
    for counts in (np.ones(ROWS, dtype=int), *DRAWN):
        yield [np.repeat(array, counts, axis=0) for array in arrays]


def weights() -> np.ndarray:
    return np.stack([np.ones(ROWS), *DRAWN])


def test_regression_scores_are_those_of_scikit_learn_and_scipy():
    true = RNG.normal(50, 9, (ROWS, 1)).round()
    predicted = true + RNG.normal(0, 6, (ROWS, 1)).round()
    scores = regression_scores(true, predicted, weight=weights())
    for i, (t, p) in enumerate(resampled(true[:, 0], predicted[:, 0])):
        expected = {
            "mae": sk.mean_absolute_error(t, p),
            "rmse": sk.root_mean_squared_error(t, p),
            "r2": sk.r2_score(t, p),
            "pearson": stats.pearsonr(t, p).statistic,
            "spearman": stats.spearmanr(t, p).statistic,
        }
        assert {name: values[i] for name, values in scores.items()} == pytest.approx(expected)


def test_regression_of_one_value_has_errors_but_no_correlation():
    scores = regression_scores(np.full((5, 1), 3.1), np.arange(5.0)[:, None], weight=np.ones((1, 5)))
    assert np.isfinite(scores["mae"]).all()
    assert np.isnan([scores["r2"][0], scores["pearson"][0], scores["spearman"][0]]).all()


def test_ordinal_scores_are_those_of_scikit_learn():
    values = RNG.dirichlet(np.ones(4), ROWS)
    true = RNG.integers(0, 4, (ROWS, 1)).astype(float)
    predicted = np.array([np.searchsorted(np.cumsum(row), 0.5) for row in values])
    scores = ordinal_scores(true, values, weight=weights())
    for i, (t, p) in enumerate(resampled(true[:, 0], predicted)):
        expected = {
            "quadratic_kappa": sk.cohen_kappa_score(t, p, weights="quadratic"),
            "mae_levels": sk.mean_absolute_error(t, p),
            "accuracy": sk.accuracy_score(t, p),
            "adjacent_accuracy": np.mean(np.abs(t - p) <= 1),
        }
        assert {name: score[i] for name, score in scores.items()} == pytest.approx(expected)
    assert level_confusion(true, values) == sk.confusion_matrix(true[:, 0], predicted).tolist()
    assert np.isnan(ordinal_scores(np.zeros((3, 1)), np.eye(4)[[0, 0, 0]], weight=np.ones((1, 3)))["quadratic_kappa"])


def test_label_scores_are_those_of_scikit_learn_and_leave_unknown_labels_out():
    values = RNG.random((ROWS, 3)).round(1)
    targets = (RNG.random((ROWS, 3)) < values).astype(float)
    targets[RNG.random((ROWS, 3)) < 0.2] = np.nan
    scores = multilabel_scores(targets, values, weight=weights())
    names = {"auroc": sk.roc_auc_score, "average_precision": sk.average_precision_score}
    names["f1"] = lambda t, v: sk.f1_score(t, v >= 0.5)
    for i, (t, v) in enumerate(resampled(targets, values)):
        known = np.isfinite(t)
        for name, theirs in names.items():
            each = [theirs(t[known[:, k], k], v[known[:, k], k]) for k in range(3)]
            assert scores[f"macro_{name}"][i] == pytest.approx(np.mean(each))
            assert scores[f"micro_{name}"][i] == pytest.approx(theirs(t[known], v[known]))


def test_a_label_without_positives_is_undefined_and_left_out_of_the_mean():
    targets, values = np.array([[0.0, 1], [0, 0], [0, 1]]), np.array([[0.2, 0.9], [0.1, 0.1], [0.3, 0.8]])
    alone = label_scores(targets[:, 0], values[:, 0], weight=np.ones((1, 3)))
    assert np.isnan(alone["auroc"]).all()
    assert np.isnan(alone["average_precision"]).all()
    assert multilabel_scores(targets, values, weight=np.ones((1, 3)))["macro_auroc"] == 1


def test_survival_without_pairs_is_undefined_and_without_curves_has_no_brier_score():
    censored = np.array([[1.0, 0], [2, 0], [3, 0]])
    scores = survival_scores(censored, np.arange(3.0)[:, None], weight=np.ones((2, 3)), times=np.empty(0))
    assert set(scores) == {"c_index", "uno_c_index"}
    assert np.isnan(scores["c_index"]).all()
    values = np.column_stack([np.arange(3.0), np.full((3, 2), 0.5)])
    brier = survival_scores(
        np.array([[1.0, 1], [2, 1], [3, 1]]), values, weight=np.ones((1, 3)), times=np.array([1.5, 2.5])
    )
    assert brier["integrated_brier"] == pytest.approx(0.25)


def test_saying_one_half_has_a_brier_score_of_a_quarter_also_where_patients_are_lost_in_the_months_others_die_in():
    times = np.repeat([6.0, 12, 18, 24, 30], 8)
    targets = np.column_stack([times, np.arange(len(times)) % 2])
    values = np.column_stack([times, np.full((len(times), 3), 0.5)])
    weight = np.stack([np.ones(len(times)), np.random.default_rng(0).integers(0, 3, len(times))])
    scores = survival_scores(targets, values, weight=weight, times=np.array([9.0, 12, 20]))
    assert scores["integrated_brier"] == pytest.approx(0.25)
