"""Tables of a study: known effects are found, everything is counted, nothing is claimed that was not measured."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from asmil.errors import RunError
from asmil.study import analysis as study_analysis
from asmil.study.analysis import read_results
from asmil.study.tables import write_tables

_SPEC = importlib.util.spec_from_file_location("fake_results", Path(__file__).with_name("fake_results.py"))
fake_results = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(fake_results)


def analyse(table):
    return study_analysis.analyse(table, bootstrap=20)


@pytest.fixture(scope="module")
def table():
    return fake_results.results(datasets=3, models=("mean", "abmil", "asmil"), folds=5, seeds=2)


@pytest.fixture(scope="module")
def analysis(table):
    return analyse(table)


def _one(table, **where):
    rows = table[np.all([table[k] == v for k, v in where.items()], axis=0)]
    assert len(rows) == 1
    return rows.iloc[0]


def test_means_and_intervals_of_an_arm(table, analysis):
    row = _one(analysis.tables["arms"], dataset="data1", model="asmil", stabilizer="anchor", metric="test_auroc")
    own = table.query("dataset == 'data1' and model == 'asmil' and stabilizer == 'anchor'")["test_auroc"]
    assert row["mean"] == pytest.approx(own.mean())
    half = stats.t.ppf(0.975, 9) * np.sqrt((1 / 10 + 40 / 128) * own.var())
    assert row["high"] - row["mean"] == pytest.approx(half)


def test_a_difference_pairs_equal_cells_whatever_the_order(table, analysis):
    row = _one(analysis.tables["differences"], dataset="data0", model="abmil", stabilizer="anchor", metric="test_auroc")
    own, none = (
        table[(table["dataset"] == "data0") & (table["model"] == "abmil") & (table["stabilizer"] == name)]
        .set_index(["fold", "seed"])["test_auroc"]
        .sort_index()
        for name in ("anchor", "none")
    )
    assert row["mean"] == pytest.approx((own - none).mean())
    assert (row["n"], row["dropped"]) == (10, 0)
    shuffled = analyse(table[table["dataset"] == "data0"].sample(frac=1, random_state=4)).tables["differences"]
    again = _one(shuffled, dataset="data0", model="abmil", stabilizer="anchor", metric="test_auroc")
    assert again["p"] == pytest.approx(row["p"])


def test_known_effects_are_found_and_absent_ones_are_not(analysis):
    differences = analysis.tables["differences"].query("metric == 'test_auroc'").set_index("stabilizer")
    assert (differences.loc["anchor", "holm_p"] < 0.05).all()
    assert (differences.loc["weak", "holm_p"] > 0.05).all()
    jsd = analysis.tables["differences"].query("metric == 'log10_jsd' and stabilizer == 'anchor'")
    assert jsd["mean"].tolist() == pytest.approx([-1] * len(jsd), abs=0.15)


def test_the_family_of_holm_is_every_comparison_of_a_metric(analysis):
    own = analysis.tables["differences"].query("metric == 'test_auroc'").sort_values("p")
    assert len(own) == 3 * 2 * 2
    assert own["holm_p"].iloc[0] == pytest.approx(min(1, 12 * own["p"].iloc[0]))


def test_datasets_not_cells_are_the_unit_over_datasets(analysis):
    row = _one(analysis.tables["overall"], stabilizer="anchor", model="all models", metric="test_auroc")
    assert row["datasets"] == 3
    assert row["wilcoxon_p"] == pytest.approx(2 / 2**3)
    assert (row["interval_higher"], row["interval_lower"], row["comparisons"]) == (6, 0, 6)


def test_seeds_on_the_same_test_slides_are_averaged_before_the_interval(table, tmp_path):
    own = table.query("dataset == 'data0' and model == 'abmil' and stabilizer == 'none'")
    folder = fake_results.write(tmp_path, own)
    slides = [(f, s, f"slide{f}_{i}") for f in range(5) for s in range(2) for i in range(3)]
    predictions = pd.DataFrame(slides, columns=["fold", "seed", "slide"])
    (folder / "arms" / "data0--abmil--none").mkdir(parents=True)
    predictions.to_csv(folder / "arms" / "data0--abmil--none" / "predictions.csv", index=False)
    row = _one(analyse(read_results(folder)).tables["arms"], metric="test_auroc")
    means = own.groupby("fold")["test_auroc"].mean()
    half = stats.t.ppf(0.975, 4) * np.sqrt((1 / 5 + 40 / 128) * means.var())
    assert (row["n"], row["splits"]) == (10, 5)
    assert row["high"] - row["mean"] == pytest.approx(half)
    predictions.assign(slide="the same").to_csv(folder / "arms" / "data0--abmil--none" / "predictions.csv", index=False)
    row = _one(analyse(read_results(folder)).tables["arms"], metric="test_auroc")
    plain = stats.ttest_1samp(own["test_auroc"], 0).confidence_interval()
    assert (row["low"], row["high"]) == pytest.approx(tuple(plain))


def test_missing_cells_are_dropped_pairwise_and_counted(table):
    broken = table[table["dataset"] == "data0"]
    broken.loc[broken.query("model == 'abmil' and stabilizer == 'anchor' and fold == 0").index, "test_auroc"] = np.nan
    broken = broken.drop(broken.query("model == 'abmil' and stabilizer == 'none' and fold == 1 and seed == 0").index)
    differences = analyse(broken).tables["differences"]
    row = _one(differences, dataset="data0", model="abmil", stabilizer="anchor", metric="test_auroc")
    assert (row["n"], row["dropped"]) == (7, 3)


def test_models_are_ranked_by_auroc_for_each_stabiliser(analysis):
    assert analysis.rankings["none"].names == ("asmil", "abmil", "mean")
    assert analysis.rankings["none"].n_datasets == 3
    assert "fewer than 3 methods" in analysis.rankings["anchor"].reason


def test_choosing_on_the_test_part_is_shown_as_what_it_adds(analysis):
    row = _one(analysis.tables["protocols"], dataset="data0", model="abmil", stabilizer="weak",
               protocol="optimistic_accuracy")  # fmt: skip
    assert row["mean"] == pytest.approx(0.05)


def test_the_choice_is_made_by_validation_loss_alone(table, analysis):
    own = table.query("dataset == 'data2' and model == 'asmil'")
    tests = [cell.loc[cell["val_loss"].idxmin(), "test_auroc"] for _, cell in own.groupby(["fold", "seed"])]
    row = _one(analysis.tables["choices"], dataset="data2", model="asmil", metric="test_auroc")
    assert row["chosen_mean"] == pytest.approx(np.mean(tests))
    assert row["mean"] == pytest.approx(np.mean(tests) - own.query("stabilizer == 'none'")["test_auroc"].mean())
    assert "mean" not in set(analysis.tables["choices"]["model"])


def test_correlation_falls_away_where_the_stabiliser_is_held_fixed(analysis):
    rho = analysis.tables["correlations"].query("metric == 'test_auroc'").set_index("level")["rho"]
    assert rho["within cell"] < -0.5
    assert abs(rho["within arm"]) < 0.35


def test_the_baseline_is_the_stabiliser_without_options(table):
    renamed = table[table["fold"] == 0].replace({"stabilizer": {"none": "off"}})
    assert analyse(renamed).baseline == "off"
    assert analyse(renamed.drop(columns="stabilizer.beta")).tables["differences"].empty


@pytest.mark.parametrize(
    "options",
    [
        {"datasets": 1, "models": ("mean",), "stabilizers": ("none",), "tiles": False},
        {"datasets": 1, "models": ("abmil",), "tiles": False},
        {"datasets": 1, "models": ("abmil",), "folds": 1, "seeds": 1},
        {"datasets": 2, "models": ("abmil", "asmil"), "stabilizers": ("anchor",)},
    ],
)
def test_small_studies_give_tables_without_claims(options, tmp_path):
    folder = fake_results.write(tmp_path, fake_results.results(**{"folds": 2, "seeds": 2} | options))
    analysis = write_tables(folder, bootstrap=20)
    assert len(pd.read_csv(folder / "tables" / "arms.csv")) == len(analysis.tables["arms"]) > 0
    if "seeds" in options:
        assert analysis.tables["differences"]["p"].isna().all()
    assert "nan" not in (folder / "tables.md").read_text(encoding="utf-8")


def test_columns_that_the_study_lacks_are_left_out(table, tmp_path):
    slim = table[["dataset", "model", "stabilizer", "fold", "seed", "test_auroc"]]
    analysis = write_tables(fake_results.write(tmp_path, slim.assign(jsd=np.nan)), bootstrap=20)
    assert set(analysis.tables["arms"]["metric"]) == {"test_auroc"}
    assert analysis.tables["choices"].empty
    assert not (tmp_path / "tables" / "choices.csv").exists()


def test_markdown_holds_the_numbers_of_the_tables(table, analysis, tmp_path):
    write_tables(fake_results.write(tmp_path, table[table["dataset"] == "data0"]), bootstrap=20)
    text = (tmp_path / "tables.md").read_text(encoding="utf-8")
    row = _one(analysis.tables["arms"], dataset="data0", model="asmil", stabilizer="anchor", metric="test_auroc")
    line = next(line for line in text.splitlines() if line.startswith("| asmil | anchor"))
    assert f"{row['mean']:.3f} ({row['low']:.3f}–{row['high']:.3f})" in line
    widths = {line.count("|") for line in text.split("## ")[1].splitlines() if line.startswith("|")}
    assert len(widths) == 1


def test_what_rounds_to_nothing_is_not_bold(table, tmp_path):
    keys = ["dataset", "model", "fold", "seed"]
    alone = table[table["stabilizer"] == "none"].set_index(keys)["test_accuracy"]
    table = table.assign(test_accuracy=alone.reindex(table.set_index(keys).index).to_numpy())
    table.loc[table["stabilizer"] == "anchor", "test_accuracy"] += 0.0002 + 1e-6 * table["seed"]
    found = write_tables(fake_results.write(tmp_path, table), bootstrap=20).tables["differences"]
    sure = found[(found["metric"] == "test_accuracy") & (found["stabilizer"] == "anchor")]
    assert (sure["holm_p"] < 0.05).all()
    assert len(sure)
    text = (tmp_path / "tables.md").read_text()
    assert "**0.000**" not in text
    assert "**+" in text


def test_results_keep_names_that_look_like_nothing_and_refuse_what_is_no_study(table, tmp_path):
    fake_results.write(tmp_path, table.head(3))
    assert read_results(tmp_path)["stabilizer"].tolist() == ["none"] * 3
    with pytest.raises(RunError, match=r"results\.csv"):
        read_results(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="no column seed"):
        analyse(table.drop(columns="seed"))
    with pytest.raises(RunError, match="more than once"):
        analyse(pd.concat([table, table.head(1)]))
