"""The operating point is chosen on validation slides alone; rates are those of the counts, with honest intervals."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_curve

from asmil.evaluation import against_the_rest, by_subgroup, choose_threshold, decision_rates, operating_point


def both(score: np.ndarray) -> np.ndarray:
    """Probabilities (slides, 2) of the score of class 1."""
    return np.stack([1 - score, score], axis=1)


def rows(*, folds: int = 3, seeds: int = 2, n: int = 30, seed: int = 0) -> pd.DataFrame:
    """Validation and test rows of all models, n slides of each part, two slides a patient."""
    random, parts = np.random.default_rng(seed), []
    for fold in range(folds):
        for part in ("val", "test"):
            label = np.arange(n) // 2 % 2
            score = 1 / (1 + np.exp(-(2.5 * label - 1 + fold + random.normal(size=n))))
            slide = [f"{part}{fold}-{i}" for i in range(n)]
            case = [f"{part}{fold}-{i // 2}" for i in range(n)]
            for one in range(seeds):
                own = np.clip(score + 0.05 * one, 0.001, 0.999)
                table = pd.DataFrame({"slide": slide, "case": case, "label": label, "part": part, "fold": fold})
                parts.append(table.assign(seed=one, prob_no=1 - own, prob_yes=own))
    return pd.concat(parts, ignore_index=True)


def test_the_threshold_is_that_of_youdens_index():
    random = np.random.default_rng(1)
    y, score = random.integers(0, 2, 200), random.random(200)
    score = np.clip(score + 0.2 * y, 0, 1)
    false, true, _ = roc_curve(y, score, drop_intermediate=False)
    chosen = score >= choose_threshold(y, both(score))
    assert chosen[y == 1].mean() - chosen[y == 0].mean() == pytest.approx((true - false).max())


@pytest.mark.parametrize(("wanted", "found"), [(0.95, 0.95), (0.9, 0.9), (1.0, 1.0), (0.01, 0.05)])
def test_a_sensitivity_that_is_asked_for_is_reached_by_the_highest_threshold(wanted, found):
    y, score = np.repeat([1, 0], [20, 20]), np.concatenate([np.linspace(0.3, 0.9, 20), np.linspace(0.05, 0.62, 20)])
    at = choose_threshold(y, both(score), min_sensitivity=wanted)
    assert (score[:20] >= at).mean() == pytest.approx(found)
    higher = score[score > at].min() + 1e-9
    assert (score[:20] >= higher).mean() < wanted or found == 0.05


def test_one_class_chooses_none():
    assert choose_threshold(np.ones(5, int), both(np.linspace(0, 1, 5))) is None


def test_rates_are_those_of_the_counts_and_their_intervals_resample_patients():
    y = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0], dtype=bool)
    called = np.array([1, 1, 1, 0, 1, 0, 0, 0, 0, 0], dtype=bool)
    found = decision_rates(y, called, groups=np.arange(10))
    assert found["counts"] == {"tp": 3, "fp": 1, "fn": 1, "tn": 5}
    values = {name: found[name]["value"] for name in ("sensitivity", "specificity", "ppv", "npv")}
    assert values == pytest.approx({"sensitivity": 3 / 4, "specificity": 5 / 6, "ppv": 3 / 4, "npv": 5 / 6})
    for name, value in values.items():
        low, high = found[name]["ci95"]
        assert 0 <= low < value < high <= 1
    many = np.random.default_rng(0).random(300) < 0.8
    truth = np.ones(300, dtype=bool)
    alone, together = (
        decision_rates(truth, many, groups=groups)["sensitivity"]["ci95"]
        for groups in (np.arange(300), np.argsort(np.argsort(many, kind="stable")) // 10)
    )
    assert together[1] - together[0] > 1.5 * (alone[1] - alone[0]), "slides of a patient are drawn together"


def test_what_is_all_right_has_no_point_for_an_interval_and_what_is_not_there_none():
    y = np.repeat([True, False], [12, 8])
    found = decision_rates(y, y, groups=np.repeat(np.arange(10), 2))
    assert found["sensitivity"]["value"] == 1
    assert found["sensitivity"]["ci95"] == pytest.approx([0.6097, 1.0], abs=1e-3), "Wilson's, 6 of 6 patients"
    none = decision_rates(y, np.zeros(20, bool), groups=np.arange(20))
    assert none["ppv"] == {"value": None, "ci95": [None, None]}
    assert decision_rates(y, y, groups=np.arange(20), n=0)["npv"] == {"value": 1.0, "ci95": [None, None]}


def test_test_slides_have_no_part_in_the_thresholds():
    table = rows()
    found = operating_point(table, ["no", "yes"], n_boot=50)
    spoilt = table.copy()
    test = spoilt["part"] == "test"
    spoilt.loc[test, "label"] = 1 - spoilt.loc[test, "label"]
    spoilt.loc[test, ["prob_no", "prob_yes"]] = spoilt.loc[test, ["prob_yes", "prob_no"]].to_numpy()
    assert operating_point(spoilt, ["no", "yes"], n_boot=50)["thresholds"] == found["thresholds"]
    at = {one["fold"]: one["threshold"] for one in found["thresholds"]}
    assert len(set(at.values())) == 3, "each fold has its own"
    mean = table[table["part"] == "test"].groupby("slide").agg({"label": "first", "fold": "first", "prob_yes": "mean"})
    called = mean["prob_yes"] >= mean["fold"].map(at)
    counts = {"tp": (called & (mean["label"] == 1)).sum(), "fp": (called & (mean["label"] == 0)).sum(),
              "fn": (~called & (mean["label"] == 1)).sum(), "tn": (~called & (mean["label"] == 0)).sum()}  # fmt: skip
    assert found["counts"] == counts
    assert found["positive"] == "yes"


def test_a_fold_whose_validation_slides_are_of_one_class_is_cut_at_one_half_and_says_so():
    table = rows()
    table = table[~((table["fold"] == 1) & (table["part"] == "val") & (table["label"] == 1))]
    by_fold = {one["fold"]: one for one in operating_point(table, ["no", "yes"], n_boot=20)["thresholds"]}
    assert by_fold[1] == {"fold": 1, "threshold": 0.5, "n_val": 16, "chosen": False}
    assert by_fold[0]["chosen"]
    assert by_fold[2]["chosen"]


def test_each_of_three_classes_has_its_rates_against_the_rest():
    label = np.arange(30) % 3
    prob = np.full((30, 3), 0.2)
    prob[np.arange(30), np.where(np.arange(30) < 3, (label + 1) % 3, label)] = 0.6
    table = pd.DataFrame({"slide": [f"s{i}" for i in range(30)], "case": [f"c{i}" for i in range(30)], "label": label})
    found = against_the_rest(table.assign(**{f"prob_{i}": prob[:, i] for i in range(3)}), ["0", "1", "2"], n_boot=50)
    assert list(found) == ["0", "1", "2"]
    assert found["1"]["counts"] == {"tp": 9, "fp": 1, "fn": 1, "tn": 19}
    assert found["1"]["sensitivity"]["value"] == pytest.approx(0.9)
    assert 0.8 < found["1"]["auroc"]["value"] < 1


def test_subgroups_take_the_decisions_that_they_are_given():
    y, prob = np.array([0, 0, 1, 1]), both(np.array([0.1, 0.2, 0.3, 0.4]))
    names, groups = ["a"] * 4, np.arange(4)
    assert by_subgroup(y, prob, names, groups=groups, n=20)[0].recalls[1].value == 0
    called = (prob[:, 1] >= 0.25).astype(int)
    assert [r.value for r in by_subgroup(y, prob, names, groups=groups, called=called, n=20)[0].recalls] == [1, 1]
