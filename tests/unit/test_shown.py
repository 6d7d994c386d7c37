"""What objects say of themselves: one line, and a table in a notebook, in which names from elsewhere are text."""

import math

import pandas as pd
import pytest

from asmil.bags import make_splits, open_features, read_cohort
from asmil.shown import Shown, fixed, number, percent
from asmil.tasks import create_task


class Thing(Shown):
    def __init__(self, **facts):
        self.said = facts

    def facts(self):
        return self.said


def test_a_line_and_a_table():
    thing = Thing(slides=1200, name="<b>x</b>\nand y", nothing=None, long="a" * 500)
    assert repr(thing).startswith("Thing(slides 1,200, name <b>x</b> and y, long aaa")
    assert len(repr(thing)) < 200
    html = thing._repr_html_()
    assert "<b>" not in html
    assert "&lt;b&gt;x&lt;/b&gt; and y" in html
    assert html.count("<tr>") == 3
    assert "nothing" not in html


@pytest.fixture
def table():
    return pd.DataFrame({"slide": [f"s{i}" for i in range(12)], "case": [f"p{i // 2}" for i in range(12)],
                         "label": ["benign", "benign", "tumour", "tumour"] * 3})  # fmt: skip


def test_a_cohort_and_its_splits(table):
    cohort = read_cohort(pd.concat([table, table[:1]]))
    assert repr(cohort) == "Cohort(slides 12, patients 6, classes benign (6), tumour (6), set aside 1)"
    splits = make_splits(cohort, folds=3)
    assert repr(splits) == "Splits(folds 3, slides 12, patients 6, train 4, val 4, test 4)"
    assert "<td" in cohort._repr_html_()
    task = create_task("regression", columns=["age"])
    assert "task regression of age" in repr(read_cohort(table.assign(age=range(12)), task=task))


def test_features(write_feature_files, tmp_path):
    write_feature_files(tmp_path, n_slides=3, dim=8)
    (tmp_path / "broken.h5").write_text("no features")
    shown = repr(open_features(tmp_path))
    assert shown == f"FeatureStore(path {tmp_path}, slides 3, dim 8, format asmil, set aside 1)"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.123456, "0.1235"), (12345.6, "1.235e+04"), (1, "1"), (None, "undefined"), (math.nan, "undefined")],
)
def test_a_number_in_plain_text(value, text):
    assert number(value) == text


def test_no_number_is_shown_as_all_or_nothing_that_is_not():
    assert [fixed(x) for x in (0.25, 0.9994, 0.9996, 0.99999, 1 - 1e-9, 1, -0.9999)] == [
        "0.250", "0.999", "0.9996", "0.99999", "0.999999", "1.000", "-0.9999",
    ]  # fmt: skip
    assert [number(x) for x in (0.99996, 1.0, 0.12345)] == ["0.99996", "1", "0.1235"]
    assert [percent(x, "%") for x in (0, 0.002, 0.00003, 0.0149, 0.5, 0.994, 0.998, 0.9999, 1 - 1e-9, 1)] == [
        "0%", "0.2%", "< 0.01%", "1%", "50%", "99%", "99.8%", "99.99%", "> 99.99%", "100%",
    ]  # fmt: skip
