"""Patient bootstrap: who is drawn together, what is held fixed, and what is degenerate."""

import numpy as np
import pytest

from asmil.evaluation import MetricError, bootstrap_ci, compare_predictions, mean_over_folds
from asmil.evaluation.intervals import resample_counts


def simulated(n: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    p = 1 / (1 + np.exp(-rng.normal(y - 0.5, 1)))
    return y, np.stack([1 - p, p], axis=1)


def test_every_resample_has_as_many_patients_of_each_stratum():
    groups, strata = np.array(list("aabbccdde")), np.array([0, 0, 0, 0, 1, 1, 0, 1, 1])
    counts = resample_counts(groups, strata=strata, n=200)  # d lies in both strata: a stratum of its own
    assert (counts[:, :2].sum(1) == 2).all()
    assert (counts[:, [2, 4]].sum(1) == 2).all()
    assert (counts[:, 3] == 1).all()
    assert counts[:, 0].std() > 0


def test_slides_of_one_patient_widen_the_interval_as_if_they_were_one():
    y, prob = simulated(60)
    once = bootstrap_ci("auroc", y, prob, groups=np.arange(60), strata=y)
    y4, prob4 = np.repeat(y, 4), np.repeat(prob, 4, axis=0)
    by_patient = bootstrap_ci("auroc", y4, prob4, groups=np.repeat(np.arange(60), 4), strata=y4)
    by_slide = bootstrap_ci("auroc", y4, prob4, groups=np.arange(240), strata=y4)
    assert (by_patient.low, by_patient.high) == pytest.approx((once.low, once.high))
    assert by_slide.high - by_slide.low < 0.7 * (once.high - once.low)


def test_seed_fixes_the_interval():
    y, prob = simulated(40)
    one, same, other = (bootstrap_ci("auroc", y, prob, groups=np.arange(40), seed=s) for s in (1, 1, 2))
    assert one == same != other
    assert one.low < one.value < one.high


def test_degenerate_resamples_are_counted_and_stratification_prevents_them():
    y, prob = simulated(30)
    y = (np.arange(30) == 0).astype(int)
    loose = bootstrap_ci("auroc", y, prob, groups=np.arange(30))
    assert loose.n_boot + loose.n_degenerate == 1000
    assert 250 < loose.n_degenerate < 480  # a patient is missed with probability (29/30)^30 = .36
    assert bootstrap_ci("auroc", y, prob, groups=np.arange(30), strata=y).n_degenerate == 0


def test_one_class_only_gives_an_undefined_interval():
    interval = bootstrap_ci("auroc", np.ones(5, dtype=int), simulated(5)[1], groups=np.arange(5))
    assert np.isnan(interval.value)
    assert interval.as_dict() == {"value": None, "ci95": [None, None]}


def test_mean_over_folds_leaves_out_folds_without_both_classes():
    y, prob = simulated(40)
    folds = np.arange(40) // 20
    whole = mean_over_folds("auroc", y, prob, folds=folds, groups=np.arange(40), strata=y)
    single = np.r_[folds, [2, 2]]
    more = mean_over_folds(
        "auroc",
        np.r_[y, 1, 1],
        np.vstack([prob, prob[:2]]),
        folds=single,
        groups=np.arange(42),
        strata=np.r_[y, 1, 1],
    )
    assert more.value == whole.value
    assert whole.low < whole.value < whole.high
    assert "folds" not in whole.as_dict()
    assert more.as_dict()["folds"] == [2, 3]


def test_repeated_splits_do_not_narrow_the_interval():
    """A patient tested in two identical folds is one patient, not two."""
    y, prob = simulated(40)
    options = {"groups": np.arange(40), "strata": y}
    once = mean_over_folds("auroc", y, prob, folds=np.zeros(40), **options)
    options = {"groups": np.tile(np.arange(40), 2), "strata": np.tile(y, 2)}
    twice = mean_over_folds("auroc", np.tile(y, 2), np.tile(prob, (2, 1)), folds=np.repeat([0, 1], 40), **options)
    assert (twice.low, twice.high) == pytest.approx((once.low, once.high))


def test_groups_of_another_length_are_refused():
    y, prob = simulated(6)
    with pytest.raises(MetricError, match="one value per row"):
        bootstrap_ci("auroc", y, prob, groups=np.arange(5))


def test_a_paired_comparison_is_sharper_than_the_two_intervals():
    y, prob = simulated(100)
    logit = np.log(prob[:, 1] / prob[:, 0])
    p = 1 / (1 + np.exp(-(logit + 0.4 * (y - 0.5))))
    better = compare_predictions(y, prob, np.stack([1 - p, p], 1), groups=np.arange(100), strata=y)["auroc"]
    alone = bootstrap_ci("auroc", y, prob, groups=np.arange(100), strata=y)
    assert better.low > 0
    assert better.high - better.low < (alone.high - alone.low) / 2
    same = compare_predictions(y, prob, prob, groups=np.arange(100))["auroc"]
    assert (same.value, same.low, same.high) == (0, 0, 0)
