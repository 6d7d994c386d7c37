"""Cohorts of other tasks than classification: targets beside strata, awkward rows set aside, possible splits."""

import numpy as np
import pandas as pd
import pytest
import torch

from asmil.bags import BagBatch, Cohort, load_bags, make_splits, open_features, read_cohort
from asmil.errors import CohortError, SplitError
from asmil.tasks import create_task


def patients(n: int = 24, **columns) -> pd.DataFrame:
    """A row per patient with survival; every third is censored."""
    months = [f"{3 + 1.5 * i}" for i in range(n)]
    table = {"case_id": [f"p{i}" for i in range(n)], "survival_months": months}
    return pd.DataFrame(table | {"censorship": [str(int(i % 3 == 0)) for i in range(n)]} | columns)


def slides(n: int = 24) -> pd.DataFrame:
    return pd.DataFrame({"case_id": [f"p{i}" for i in range(n)], "slide_id": [f"s{i:02d}" for i in range(n)]})


def test_a_patient_table_and_a_slide_table_make_a_survival_cohort():
    cohort = read_cohort(patients(), slide_table=slides(), task=create_task("survival"))
    assert cohort.task.columns == ("survival_months", "censorship")
    assert cohort.table["target_time"].tolist() == pytest.approx([3 + 1.5 * i for i in range(24)])
    assert cohort.table["target_event"].tolist() == [float(i % 3 != 0) for i in range(24)]
    assert cohort.targets.shape == (24, 2)
    assert all(label.startswith(("event", "censored")) for label in cohort.classes)
    assert cohort.subset(["s03"]).targets.tolist() == [[7.5, 0.0]]


def test_rows_that_cannot_be_read_are_problems_that_say_why():
    table = patients().merge(slides(), on="case_id")
    table.loc[0, "survival_months"] = "-4"
    table.loc[1, "survival_months"] = "soon"
    table.loc[2, "censorship"] = "maybe"
    table.loc[3, "survival_months"] = "[Not Available]"
    cohort = read_cohort(table, task=create_task("survival"))
    assert cohort.slides == [f"s{i:02d}" for i in range(4, 24)]
    said = {problem.slide: problem.what for problem in cohort.problems}
    assert said.keys() == {"s00", "s01", "s02", "s03"}
    for slide, found in (("s00", "-4"), ("s01", "soon"), ("s02", "maybe")):
        assert found in said[slide]


def test_what_is_said_of_the_columns_names_those_of_the_table_and_none_of_ours():
    table = patients().merge(slides(), on="case_id").rename(columns={"slide_id": "No."})
    with pytest.raises(CohortError) as said:
        read_cohort(table, task=create_task("survival"))
    assert said.value.found == "columns case_id, survival_months, censorship, No."
    cohort = read_cohort(table, slide_column="No.", task=create_task("survival"))
    assert cohort.lines()[0] == "tables: slide = No., patient = case_id, site = none"


@pytest.mark.parametrize("by_patient", [False, True])
def test_two_different_targets_are_refused_though_their_stratum_is_the_same(by_patient):
    twice = pd.concat([patients(), patients().tail(1).assign(survival_months="37.6")], ignore_index=True)
    slide_table = slides() if by_patient else None
    table = twice if by_patient else twice.merge(slides(), on="case_id")
    with pytest.raises(CohortError, match="different"):
        read_cohort(table, slide_table=slide_table, task=create_task("survival"))


def test_a_patient_of_two_times_is_refused_before_anything_is_trained():
    table = patients().merge(slides(), on="case_id").assign(case_id=[f"p{i // 2}" for i in range(24)])
    with pytest.raises(CohortError, match=r"patients have slides of different times.*p0, p1"):
        read_cohort(table, task=create_task("survival"))


def test_decimal_commas_are_numbers_where_they_can_be_nothing_else():
    table = slides().assign(size=[f"{i},{i % 7}5" for i in range(24)])
    assert read_cohort(table, task=create_task("regression", columns=["size"])).targets[8].tolist() == [8.15]
    for cells in ([f"{i},000" for i in range(24)], ["1.5", *table["size"][1:]]):  # thousands perhaps; both marks
        with pytest.raises(CohortError, match=r"cells in column 'size' cannot be read|no row has a number"):
            read_cohort(table.assign(size=cells), task=create_task("regression", columns=["size"]))
    scale = slides().assign(label=["a", "b"] * 12, mpp="0,25")
    assert set(read_cohort(scale).table["mpp"]) == {0.25}


@pytest.mark.parametrize("cells", [["1.234", "12.500"] * 12, ["1.234", "7"] * 12])
def test_points_in_a_table_of_decimal_commas_are_thousands_or_decimals_and_nobody_knows(cells):
    task = create_task("regression", columns=["count"])
    alone = slides().assign(count=cells)
    assert read_cohort(alone, task=task).targets[0].tolist() == [1.234]
    german = alone.assign(size=[f"{i},5" for i in range(24)])
    with pytest.raises(CohortError, match=r"'count' has numbers that may mean thousands or decimals.*1\.234.*0,5"):
        read_cohort(german, task=task)
    english = german.assign(count=["0.5", *cells[1:]])  # which is no thousand
    assert read_cohort(english, task=task).targets[0].tolist() == [0.5]
    assert read_cohort(german, task=create_task("regression", columns=["size"])).targets[0].tolist() == [0.5]
    named = german.drop(columns="count").assign(slide_id=[f"{i + 1}.234" for i in range(24)])
    assert len(read_cohort(named, task=create_task("regression", columns=["size"]))) == 24  # names of slides


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("regression", {"columns": ["count"]}, "regression of count: -99 to 22, median 10.5"),
        ("ordinal", {"columns": ["grade"]}, "ordinal of grade: 1 (8 slides), 2 (8 slides), 9 (8 slides)"),
        (
            "multilabel",
            {"columns": ["a", "b"]},
            "of a, b: a 0 (12 slides), 1 (12 slides); b 0 (8 slides), 1 (16 slides)",
        ),
        ("survival", {}, "time 3 to 37.5, median 20.25; event 0 (8 slides), 1 (16 slides)"),
    ],
)
def test_what_a_task_learns_is_told_so_that_a_number_for_unknown_is_seen(name, options, said):
    own = {
        **{"count": ["-99", *map(str, range(23))], "grade": ["1", "2", "9"] * 8},
        **{"a": ["0", "1"] * 12, "b": ["0", "1", "1"] * 8},
    }
    table = patients(**own).merge(slides(), on="case_id")
    assert said in read_cohort(table, task=create_task(name, **options)).lines()[1]


def test_a_saved_cohort_has_its_targets_again(tmp_path):
    cohort = read_cohort(patients(), slide_table=slides(), task=create_task("survival"))
    cohort.save(tmp_path / "cohort.csv")
    assert np.array_equal(Cohort.load(tmp_path / "cohort.csv").targets, cohort.targets)


def test_splits_balance_strata_and_take_rare_ones_together():
    rare = ["low"] * 11 + ["high"] * 11 + ["middle"] * 2
    table = patients(grade=rare).merge(slides(), on="case_id")
    cohort = read_cohort(table, task=create_task("ordinal", columns=["grade"], levels=["low", "middle", "high"]))
    splits = make_splits(cohort, folds=5)
    tested = splits.table[splits.table["part"] == "test"]
    assert sorted(tested["slide"]) == cohort.slides
    assert all((rows["label"] == "low").sum() >= 2 for _, rows in tested.groupby("fold"))
    with pytest.raises(SplitError, match=r"too few patients for \d+ folds.*patients?, and \d+ are needed"):
        make_splits(cohort.subset(cohort.slides[:3]), folds=5)


@pytest.mark.parametrize("budget", [None, 0], ids=["in memory", "in their files"])
def test_bags_carry_targets_and_no_class(tmp_path, write_feature_files, budget):
    names = write_feature_files(tmp_path, n_slides=4, dim=5)
    table = pd.DataFrame({"slide": names, "score": ["1.5", "2.5", "0.25", "4"]})
    cohort = read_cohort(table, task=create_task("regression", columns=["score"]))
    bags = load_bags(open_features(tmp_path), cohort, budget=budget)
    assert [bag.target for bag in bags] == [(1.5,), (2.5,), (0.25,), (4.0,)]
    some = [bags[0].rows(torch.tensor([0, 2])), bags[2]]
    batch = BagBatch.from_bags(some).to("cpu")
    assert batch.labels is None
    assert batch.targets.tolist() == [[1.5], [0.25]]


@pytest.mark.parametrize(("task", "kind"), [(create_task("regression", columns=["label"]), "values"), (None, "labels")])
def test_what_slides_of_a_patient_differ_in_is_called_by_its_name(task, kind):
    rows = [("s0", "p0", "1"), ("s1", "p0", "2"), ("s2", "p1", "1"), ("s3", "p2", "2")]
    table = pd.DataFrame(rows, columns=["slide_id", "case_id", "label"])
    said = [str(problem) for problem in read_cohort(table, task=task, label="label").problems]
    assert any(
        f"1 patient has slides of different {kind}: p0 (intended where {kind} are per slide" in one for one in said
    ), said
