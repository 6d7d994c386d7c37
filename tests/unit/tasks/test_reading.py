"""Tables as people keep them to targets: columns recognised, awkward rows named, strata that folds can share."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from asmil.bags import read_table
from asmil.errors import CohortError, ConfigError, UnknownPartError
from asmil.tasks import create_task, list_tasks, task_options


def table(**columns) -> pd.DataFrame:
    return read_table(pd.DataFrame(columns))


def test_tasks_are_found_by_name_and_their_options_make_them_again():
    assert list_tasks() == ["multilabel", "ordinal", "regression", "survival", "survival_cox"]
    assert task_options("survival")["bins"] == 4
    task = create_task("survival-cox", columns=["t", "e"], ties="breslow")
    assert create_task("survival_cox", **task.options()) == task
    with pytest.raises(UnknownPartError, match="regression"):
        create_task("regresion")
    with pytest.raises(ConfigError, match="did you mean 'columns'"):
        create_task("regression", column=["age"])
    refused = {"survival": {"bins": 1}, "survival_cox": {"ties": "exact"}, "ordinal": {"levels": ["a", "a"]}}
    for name, wrong in refused.items():
        with pytest.raises(ConfigError):
            create_task(name, **wrong)


CBIOPORTAL = {"OS_MONTHS": ["3.5", "12", "0"], "OS_STATUS": ["1:DECEASED", "0:LIVING", "1:DECEASED"]}
SURVPATH = {"survival_months": ["3.5", "12", "0"], "censorship": ["0", "1", "0.0"]}
WORDS = {"time": ["3.5", "12", "0"], "vital_status": ["Dead", "Alive", "dead"]}


@pytest.mark.parametrize("columns", [CBIOPORTAL, SURVPATH, WORDS])
@pytest.mark.parametrize("name", ["survival", "survival_cox"])
def test_survival_columns_are_recognised_and_censorship_is_turned_round(columns, name):
    read = create_task(name).read(table(age=["1", "2", "3"], **columns))
    np.testing.assert_array_equal(read.values, [[3.5, 1], [12, 0], [0, 1]])
    assert read.task.columns == tuple(columns)
    assert read.task.options()["censored_is_one"] is ("censorship" in columns)
    again = create_task(name, **read.task.options()).read(table(**columns))
    assert again.task == read.task


def test_words_count_as_what_they_say_whichever_way_round_the_numbers_are():
    read = create_task("survival").read(table(time=["1", "2", "3"], censored=["censored", "event", "0"]))
    np.testing.assert_array_equal(read.values[:, 1], [0, 1, 1])
    read = create_task("survival", columns=["t", "status"], censored_is_one=True).read(
        table(t=["1", "2"], status=["1", "0"])
    )
    np.testing.assert_array_equal(read.values[:, 1], [0, 1])


def test_survival_of_unclear_columns_is_refused():
    cases = {
        "event or censorship is not known": table(time=["1"], outcome=["1"]),
        "time is not known": table(time=["1"], OS_MONTHS=["1"], event=["1"]),
        "nobody .* had an event": table(time=["1", "2"], event=["0", "0"]),
        "no row has time and event": table(time=["x", "-2"], event=["1", "0"]),
    }
    for says, wrong in cases.items():
        with pytest.raises(CohortError, match=says):
            create_task("survival").read(wrong)
    with pytest.raises(CohortError, match="two columns"):
        create_task("survival", columns=["time"]).read(table(time=["1"]))
    with pytest.raises(CohortError, match="no column 'ime'"):
        create_task("survival", columns=["ime", "event"]).read(table(time=["1"], event=["1"]))


def test_awkward_rows_are_named_and_have_no_values():
    times = ["-1", "abc", "", "unknown", "5", "5", "5"]
    read = create_task("survival").read(table(OS_MONTHS=times, event=["1", "1", "1", "1", "maybe", "", "TRUE"]))
    said = [
        "OS_MONTHS is -1, a time of 0 or more is meant",
        "OS_MONTHS is 'abc', a time of 0 or more is meant",
        "has no OS_MONTHS",
        "has no OS_MONTHS",
        "event is 'maybe', 0 or 1 (1 = event) is meant",
        "has no event",
        None,
    ]
    assert read.problems == said
    assert np.isnan(read.values[:6]).all()
    assert read.strata == [""] * 6 + ["event q1"]
    np.testing.assert_array_equal(read.values[6], [5, 1])


@pytest.mark.parametrize("codes", [["1", "2"], ["1.0", "2.0"], ["0", "2"], ["-1", "1"], ["1:DEAD", "2:ALIVE"]])
@pytest.mark.parametrize("task", ["survival", "survival_cox", "multilabel"])
def test_events_and_labels_of_other_numbers_than_0_and_1_are_refused(codes, task):
    frame = table(time=[str(i) for i in range(24)], status=codes * 12, other=["0", "1"] * 12)
    columns = ["status", "other"] if task == "multilabel" else ["time", "status"]
    with pytest.raises(CohortError, match=rf"other numbers than 0 and 1.*{codes[1].partition(':')[0]} \(12 rows\)"):
        create_task(task, columns=columns).read(frame)


PARTLY = {
    "regression": {"columns": ["x"]},
    "ordinal": {"columns": ["x"], "levels": ["1", "2", "3"]},
    "multilabel": {"columns": ["x", "y"]},
    "survival": {"columns": ["x", "y"]},
}


@pytest.mark.parametrize("name", PARTLY)
def test_of_a_column_more_than_a_few_cells_that_cannot_be_read_stop(name):
    good = ["1", "2", "3", "1"] if name in ("regression", "ordinal") else ["1", "0", "1", "0"]
    frame = pd.DataFrame({"x": good * 10, "y": ["0", "1"] * 20})
    frame.loc[:2, "x"] = "<1"
    with pytest.raises(CohortError, match=r"3 of the 40 cells in column 'x' cannot be read.*'<1' \(3\)"):
        create_task(name, **PARTLY[name]).read(read_table(frame))
    frame.loc[:2, "x"] = ["<1", "?", "Unknown"]
    read = create_task(name, **PARTLY[name]).read(read_table(frame))
    told = sum(problem is not None for problem in read.problems)
    assert told == (1 if name == "multilabel" else 3), "a label may be unknown; a target may not"


def test_the_times_of_the_gdc_are_one_column():
    gdc = {
        "days_to_death": ["100", "'--", "", "300", ""],
        "days_to_last_follow_up": ["", "200", "250", "400", ""],
        "vital_status": ["Dead", "Alive", "Alive", "Dead", "Not Reported"],
    }
    for names in (list(gdc), [name.replace("_", " ").title() for name in gdc]):
        frame = table(**dict(zip(names, gdc.values(), strict=True)))
        read = create_task("survival").read(frame)
        np.testing.assert_array_equal(read.values[:4], [[100, 1], [200, 0], [250, 0], [300, 1]])
        assert np.isnan(read.values[4]).all()
        assert create_task("survival", **read.task.options()).read(frame).task == read.task
    dead = table(**gdc | {"days_to_death": ["", "", "", "300", ""]})
    assert create_task("survival").read(dead).problems[0] == "has no days_to_death or days_to_last_follow_up"
    with pytest.raises(CohortError, match="says of nobody whether"):
        create_task("survival").read(table(**gdc | {"vital_status": ["x"] * 5}))


def test_columns_are_found_by_their_letters():
    read = create_task("survival").read(table(**{"OS Months": ["3", "4"], "Vital Status": ["dead", "alive"]}))
    np.testing.assert_array_equal(read.values, [[3, 1], [4, 0]])
    assert create_task("regression", columns=["tumour_purity"]).read(table(**{"Tumour Purity": ["1", "2"]})).values.size


@pytest.mark.parametrize("name", ["survival", "regression"])
def test_strata_are_quarters_with_enough_rows_for_folds(name):
    rng = np.random.default_rng(0)
    frame = table(time=rng.exponential(9, 200).astype(str), event=(np.arange(200) % 4 == 0).astype(str))
    read = create_task(name, **({} if name == "survival" else {"columns": ["time"]})).read(frame)
    counts = Counter(read.strata)
    assert len(counts) == (8 if name == "survival" else 4)
    assert min(counts.values()) >= 10
    few = create_task(name, **({} if name == "survival" else {"columns": ["time"]})).read(frame[:16])
    assert len(set(few.strata)) == (2 if name == "survival" else 1), "16 rows are too few to cut"


def test_a_regression_target_is_a_number_and_equal_values_are_refused():
    read = create_task("regression", columns=["Purity"]).read(table(purity=["1.5", "high", "", "2"]))
    assert read.task.columns == ("purity",)
    assert read.problems == [None, "purity is 'high', a number is meant", "has no purity", None]
    fitted = read.task.fit_targets(read.values[[0, 3]])
    assert (fitted.options()["mean"], fitted.options()["scale"]) == (1.75, 0.25)
    with pytest.raises(CohortError, match="equal"):
        read.task.fit_targets(np.full((4, 1), 2.0))
    with pytest.raises(CohortError, match="one column"):
        create_task("regression").read(table(purity=["1"]))


def test_levels_are_ordered_by_number_or_as_named():
    read = create_task("ordinal", columns=["isup"]).read(table(isup=["10", "2.0", "1", "2", ""]))
    assert read.task.options()["levels"] == ["1", "2", "10"]
    np.testing.assert_array_equal(read.values[:, 0], [2, 1, 0, 1, np.nan])
    assert read.strata == ["10", "2", "1", "2", ""]
    named = create_task("ordinal", columns=["grade"], levels=["low", "mid", "high"])
    read = named.read(table(grade=["high", "low", "median"]))
    assert read.problems[2] == "grade is 'median', one of low, mid, high is meant"
    assert read.task.value_names == ("level_low", "level_mid", "level_high")
    with pytest.raises(CohortError, match="order of the levels"):
        create_task("ordinal", columns=["grade"]).read(table(grade=["high", "low"]))
    with pytest.raises(CohortError, match="one level"):
        named.fit_targets(np.zeros((3, 1)))


def test_labels_may_be_unknown_but_not_all_of_them():
    frame = table(er=["1", "neg", "", "maybe", ""], her2=["", "positive", "0", "1", ""])
    read = create_task("multilabel", columns=["er", "her2"]).read(frame)
    np.testing.assert_array_equal(read.values[:3], [[1, np.nan], [0, 1], [np.nan, 0]])
    assert read.problems == [
        None,
        None,
        None,
        "er is 'maybe', 0, 1 or blank (unknown) is meant",
        "has none of er, her2",
    ]
    assert np.isnan(read.values[3:]).all()
    assert read.strata[3:] == ["", ""]
    with pytest.raises(CohortError, match="label 'her2' is the same"):
        read.task.fit_targets(np.array([[0, 1.0], [1, 1], [0, np.nan]]))


def test_rare_combinations_of_labels_share_a_stratum():
    er = ["1"] * 20 + ["0"] * 12
    her2 = ["1"] * 3 + ["0"] * 17 + ["0"] * 12
    strata = Counter(create_task("multilabel", columns=["er", "her2"]).read(table(er=er, her2=her2)).strata)
    assert strata == {"er": 17, "none": 12, "rare combination": 3}


def test_intervals_hold_equally_many_events_and_come_from_the_training_part_alone():
    rng = np.random.default_rng(1)
    time, event = rng.exponential(20, 400), (rng.random(400) < 0.5) * 1.0
    read = create_task("survival").read(table(time=time.astype(str), event=event.astype(int).astype(str)))
    assert len(read.task.value_names) == 10
    train = read.values[:200]
    fitted = read.task.fit_targets(train)
    per_interval = np.bincount((train[train[:, 1] == 1, :1] > np.array(fitted.options()["edges"])).sum(1))
    assert np.ptp(per_interval) <= 1
    assert fitted.options()["end"] == train[:, 0].max()
    assert fitted.value_names == read.task.value_names, "folds report the same times"
    assert read.task.fit_targets(train * [100, 1]).options()["edges"] == pytest.approx(
        [100 * edge for edge in fitted.options()["edges"]]
    )


def test_tied_event_times_make_fewer_intervals_and_one_time_is_refused():
    task = create_task("survival", columns=["time", "event"])
    fitted = task.fit_targets(np.array([[1.0, 1], [1, 1], [1, 1], [5, 1], [9, 0]]))
    assert (fitted.outputs, fitted.options()["edges"]) == (2, [1.0])
    with pytest.raises(CohortError, match="too few events"):
        task.fit_targets(np.array([[1.0, 0], [5, 0]]))
    with pytest.raises(CohortError, match="too few events"):
        task.fit_targets(np.array([[5.0, 1], [5, 1], [3, 0]]))
    with pytest.raises(CohortError, match="no event"):
        create_task("survival_cox").fit_targets(np.array([[1.0, 0], [5, 0]]))


@pytest.mark.parametrize("cancer", ["blca", "brca", "coadread", "hnsc", "stad"])
def test_real_survival_tables_are_read_without_being_told_anything(data_dir, cancer):
    path = data_dir / "tables" / "tcga" / "survpath" / "metadata" / f"tcga_{cancer}.csv"
    raw = read_table(path)
    read = create_task("survival").read(raw)
    assert not any(read.problems)
    assert read.task.columns == ("survival_months", "censorship")
    np.testing.assert_array_equal(read.values[:, 1], 1 - raw["censorship"].astype(float))
    assert read.task.fit_targets(read.values).outputs == 4
    assert min(Counter(read.strata).values()) >= 5
