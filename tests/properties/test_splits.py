"""Splits hold for any cohort: one test per slide, no patient or site leaks, balance, order and seed."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asmil.bags import make_splits, read_cohort
from asmil.bags.splits import by_label, by_site
from asmil.errors import SplitError

quick = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def cohorts(draw, sites=None):
    """6 to 40 patients of 2 or 3 classes (at least 6 of each), 1 to 5 slides each."""
    classes = draw(st.integers(2, 3))
    labels = list(range(classes)) * 6 + draw(st.lists(st.integers(0, classes - 1), max_size=22))
    rows = []
    for patient, label in enumerate(labels):
        site = f"site{draw(st.integers(0, sites - 1))}" if sites else ""
        for slide in range(draw(st.integers(1, 5))):
            rows.append((f"s{patient}_{slide}", f"p{patient}", f"class{label}", site))
    table = pd.DataFrame(rows, columns=["slide", "case", "label", "site"])
    return read_cohort(table if sites else table.drop(columns="site"))


@quick
@given(cohorts(), st.integers(2, 5), st.integers(0, 10))
def test_every_slide_is_tested_once_and_no_patient_leaks(cohort, folds, seed):
    splits = make_splits(cohort, folds=folds, seed=seed)
    tested = [slide for k in splits.folds for slide in splits.fold(k).test]
    assert sorted(tested) == sorted(cohort.slides)
    case = dict(zip(cohort.slides, cohort.cases, strict=True))
    for k in splits.folds:
        parts = [{case[slide] for slide in part} for part in splits.fold(k)]
        assert all(parts)
        assert sum(map(len, parts)) == len(set().union(*parts)) == len(set(cohort.cases))
        assert sum(map(len, splits.fold(k))) == len(cohort)


@quick
@given(cohorts(), st.integers(2, 5), st.integers(0, 10))
def test_classes_are_spread_evenly_over_test_and_are_in_every_part(cohort, folds, seed):
    table = make_splits(cohort, folds=folds, seed=seed).table
    patients = table.drop_duplicates(["fold", "case"])
    counts = patients.pivot_table(index=["fold", "part"], columns="label", values="case", aggfunc="count", fill_value=0)
    assert (counts > 0).all(axis=None)
    test = counts.xs("test", level="part")
    assert ((test.max() - test.min()) <= 1).all()


@settings(quick, max_examples=10)
@given(cohorts(), st.randoms(use_true_random=False), st.integers(0, 3))
def test_the_order_of_rows_does_not_matter_and_the_seed_does(cohort, random, seed):
    shuffled = cohort.slides
    random.shuffle(shuffled)
    first, again = make_splits(cohort, seed=seed), make_splits(cohort.subset(shuffled), seed=seed)
    pd.testing.assert_frame_equal(first.table, again.table)


def test_seeds_differ():
    table = pd.DataFrame({"slide": [f"s{i}" for i in range(40)], "label": list("ab") * 20})
    cohort = read_cohort(table)
    assert not make_splits(cohort, seed=0).table.equals(make_splits(cohort, seed=1).table)


@quick
@given(cohorts(sites=7), st.integers(2, 3), st.integers(0, 10))
def test_sites_never_span_test_and_the_rest(cohort, folds, seed):
    try:
        splits = make_splits(cohort, folds=folds, seed=seed, by_site=True)
    except SplitError:  # all patients of a class may come from one site: then there is nothing to train on
        per_class = cohort.table.groupby("label")["site"].nunique().min()
        assert per_class <= 2 or cohort.table["site"].nunique() < folds
        return
    site = dict(zip(cohort.slides, cohort.table["site"], strict=True))
    tested = []
    for k in splits.folds:
        fold = splits.fold(k)
        tested += fold.test
        assert not {site[s] for s in fold.test} & {site[s] for s in fold.train + fold.val}
    assert sorted(tested) == sorted(cohort.slides)


@quick
@given(st.integers(5, 30), st.integers(2, 5), st.integers(0, 100))
def test_sites_of_one_patient_each_are_as_balanced_as_patients(sites, folds, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, sites)
    fold_of = by_site(np.eye(2)[labels], folds=folds, rng=rng)
    for label in np.unique(labels):
        counts = np.bincount(fold_of[labels == label], minlength=folds)
        assert counts.max() - counts.min() <= 1


@quick
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 9)), min_size=10, max_size=60), st.integers(2, 5))
def test_slides_are_balanced_too(patients, folds):
    labels, slides = np.array(patients).T
    fold_of = by_label(labels, slides, folds=folds, rng=np.random.default_rng(0))
    totals = np.bincount(fold_of, weights=slides, minlength=folds)
    assert totals.max() - totals.min() <= 3 * slides.max()


@pytest.mark.parametrize("patients", [1, 2, 3, 4])
def test_too_few_patients_says_what_is_possible(patients):
    rows = [(f"a{i}", f"p{i}", "common") for i in range(20)]
    rows += [(f"b{i}_{j}", f"q{i}", "rare") for i in range(patients) for j in range(5)]
    cohort = read_cohort(pd.DataFrame(rows, columns=["slide", "case", "label"]))
    possible = f"use --folds {patients}" if patients >= 3 else "leave the class out"
    with pytest.raises(
        SplitError, match=f"'rare' has too few patients for 5 folds.*{patients} patients?, and 5 are.*{possible}"
    ):
        make_splits(cohort, folds=5)
    if patients >= 3:
        make_splits(cohort, folds=patients)
