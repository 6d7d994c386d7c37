"""A run of another task to numbers: seeds, folds, patients, unknown labels, risk groups."""

import json

import numpy as np
import pandas as pd
import pytest

from asmil.evaluation import MetricError, evaluate_task
from asmil.tasks import concordance, create_task
from asmil.tasks.regression import Regression


def survival_table(*, slides_per_case: int = 2, seeds: int = 2) -> pd.DataFrame:
    """80 patients in two folds, tested and, in the other fold, validated; risk with noise of its own in each row."""
    rng = np.random.default_rng(0)
    risk = rng.normal(size=80)
    time = rng.exponential(np.exp(-risk)) * 10
    rows = [
        {
            "slide": f"s{case}_{slide}", "case": f"c{case}", "fold": fold, "seed": seed,
            "part": "test" if case % 2 == fold else "val",
            "target_time": time[case], "target_event": float(case % 4 > 0),
            "risk": risk[case] + rng.normal(0, 0.5) + 5 * fold,
        }
        for case in range(80) for slide in range(slides_per_case) for fold in (0, 1) for seed in range(seeds)
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def cox():
    return create_task("survival_cox", columns=("time", "event"))


def test_survival_counts_patients_and_averages_their_slides_and_seeds(cox):
    table = survival_table()
    result = evaluate_task(table, cox, n_boot=30)
    fold = (
        table[(table.part == "test") & (table.fold == 1)]
        .groupby("case")[["target_time", "target_event", "risk"]]
        .mean()
    )
    expected = concordance(fold[["target_time", "target_event"]].to_numpy(), fold.risk.to_numpy())
    assert result["per_fold"][1]["c_index"] == pytest.approx(expected)
    assert result["per_fold"][1]["n_patients"] == 40
    assert (result["n_slides"], result["n_patients"], result["n_events"]) == (160, 80, 60)
    assert result["test_is"] == "mean_of_folds"
    assert result["test"]["c_index"]["value"] == pytest.approx(np.mean([f["c_index"] for f in result["per_fold"]]))
    low, high = result["test"]["c_index"]["ci95"]
    assert 0.5 < low < result["test"]["c_index"]["value"] < high
    assert len(result["per_seed"]["values"]) == 2
    json.dumps(result, allow_nan=False)


def test_risk_groups_are_cut_by_the_validation_patients_of_each_fold(cox):
    table = survival_table()
    groups = evaluate_task(table, cox, n_boot=5)["risk_groups"]
    sizes = [group["n"] for group in groups["groups"]]
    assert sum(sizes) == 80
    assert min(sizes) > 30, "a cut common to both folds would put each fold into one group"
    assert groups["log_rank_p"] < 0.05
    ticks = [[tick for tick, _ in group["at_risk"]] for group in groups["groups"]]
    assert ticks[0] == ticks[1], "counts of both groups stand below each other"
    tested = table[table.part == "test"].drop_duplicates("case")
    for i, tick in enumerate(ticks[0]):
        assert sum(group["at_risk"][i][1] for group in groups["groups"]) == (tested.target_time >= tick).sum()
    low, high = (np.interp(5, group["times"], group["survival"]) for group in groups["groups"])
    assert high < low
    moved = table.assign(risk=np.where(table.part == "val", table.risk + 100, table.risk))
    assert "risk_groups" not in evaluate_task(moved, cox, n_boot=5), "all tested patients are below the cut"
    assert "risk_groups" not in evaluate_task(table[table.part == "test"], cox, n_boot=5)


def test_patients_of_a_fold_without_validation_are_in_no_risk_group(cox):
    table = survival_table()
    groups = evaluate_task(table[(table.part == "test") | (table.fold == 1)], cox, n_boot=5)["risk_groups"]
    assert sum(group["n"] for group in groups["groups"]) == 40


class Rounded(Regression):
    """A task of somebody else."""

    name = "rounded"


def test_a_task_of_somebody_else_is_scored_by_what_it_selects_by():
    true = np.arange(12.0)
    rows = {
        "slide": np.arange(12),
        "case": np.arange(12),
        "fold": 0,
        "target_y": true,
        "value": true + np.tile([-1, 1], 6),
    }
    result = evaluate_task(pd.DataFrame(rows), Rounded(columns=("y",)), n_boot=50)
    r2 = result["test"]["select_metric"]
    assert r2["value"] == pytest.approx(1 - 12 / np.square(true - true.mean()).sum())
    assert r2["ci95"][0] < r2["value"] < r2["ci95"][1]


def test_discrete_time_has_a_brier_score():
    table = survival_table(seeds=1)
    task = create_task("survival", columns=("time", "event"), times=(2, 5, 9))
    for time in task.times:
        table[f"survival_{time:g}"] = np.exp(-time / 10 * np.exp(table.risk - 5 * table.fold))
    result = evaluate_task(table, task, n_boot=20)
    assert 0 < result["test"]["integrated_brier"]["value"] < 0.25
    assert result["times"] == [2, 5, 9]


def test_the_interval_draws_patients_not_slides():
    rng = np.random.default_rng(1)
    case = np.repeat(np.arange(20), 10)
    true = rng.normal(size=20)[case]
    frame = {
        "slide": np.arange(200),
        "case": case,
        "fold": 0,
        "target_y": true,
        "value": true + rng.normal(size=20)[case],
    }
    task = create_task("regression", columns=("y",))
    table = pd.DataFrame(frame)
    by_patient = evaluate_task(table, task, n_boot=300)
    by_slide = evaluate_task(table.assign(case=table.slide), task, n_boot=300)
    width = [np.ptp(result["test"]["mae"]["ci95"]) for result in (by_patient, by_slide)]
    assert width[0] > 2 * width[1]
    assert by_patient["test_is"] == "pooled"
    assert by_patient["test"]["mae"]["value"] == pytest.approx(by_slide["test"]["mae"]["value"])


def test_labels_are_scored_where_they_are_known():
    rng = np.random.default_rng(2)
    p = rng.random((60, 2))
    target = (rng.random((60, 2)) < p).astype(float)
    target[:30, 1] = np.nan
    table = pd.DataFrame({"slide": np.arange(60), "case": np.arange(60), "fold": 0})
    table[["prob_er", "prob_her2"]], table[["target_er", "target_her2"]] = p, target
    result = evaluate_task(table, create_task("multilabel", columns=("er", "her2")), n_boot=20)
    assert result["per_label"]["her2"]["known"] == 30
    assert result["per_label"]["er"]["positive"] == target[:, 0].sum()
    each = [result["per_label"][name]["auroc"]["value"] for name in ("er", "her2")]
    assert result["test"]["macro_auroc"]["value"] == pytest.approx(np.mean(each))
    json.dumps(result, allow_nan=False)


def test_levels_have_a_confusion_matrix():
    table = pd.DataFrame({"slide": list("abcd"), "case": list("abcd"), "fold": 0, "target_g": [0.0, 1, 2, 2]})
    table[["level_1", "level_2", "level_3"]] = [[0.8, 0.1, 0.1], [0.3, 0.4, 0.3], [0, 0, 1], [0.9, 0.1, 0]]
    result = evaluate_task(table, create_task("ordinal", columns=("g",), levels=(1, 2, 3)), n_boot=20)
    assert result["confusion"] == [[1, 0, 0], [0, 1, 0], [1, 0, 1]]
    assert result["levels"] == ["1", "2", "3"]
    assert result["test"]["accuracy"]["value"] == 0.75


def test_contradictions_are_refused(cox):
    table = survival_table()
    wrong_time = table.target_time.where(table.slide != "s0_0", 3.0)
    cases = {
        "lack columns": table.drop(columns="risk"),
        "not finite": table.assign(risk=np.inf),
        "several values of target_time": table.assign(target_time=np.arange(len(table))),
        "different times": table.assign(target_time=wrong_time),
        "same fold and seed": table.drop(columns="seed"),
    }
    for says, wrong in cases.items():
        with pytest.raises(MetricError, match=says):
            evaluate_task(wrong, cox, n_boot=5)
