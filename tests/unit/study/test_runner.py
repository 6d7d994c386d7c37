"""The machinery around the training: tables, going on, growing, refusals, failures."""

import json
import os
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from asmil.cli import app
from asmil.errors import ConfigError, RunError
from asmil.evaluation import METRICS
from asmil.extraction import sole
from asmil.progress import Listener
from asmil.study import list_arms, run_study
from asmil.study import runner as runner_module
from asmil.study.cells import auroc_by_epoch
from asmil.study.data import load_data

from .conftest import DIGITS, STUDY

ARMS = ["digits--mean--none", "digits--abmil--none", "digits--abmil--anchor"]


class Heard(Listener):
    """Notes, and of every stage the total and how much was done."""

    def __init__(self):
        self.notes, self.stages, self.models = [], {}, {}

    @contextmanager
    def stage(self, what, *, total, unit="slides", parts=None):
        self.stages[what] = counts = [total, 0]

        def advance(n=1, **_):
            counts[1] += n

        yield advance

    def trained(self, model, rows, *, result=None):
        self.models[model] = [row["epoch"] for row in rows], result

    def note(self, text):
        self.notes.append(text)


def test_every_cell_is_a_row_and_every_arm_a_folder(study, training, tmp_path):
    heard = Heard()
    result = run_study(study(), listener=heard)
    table = pd.read_csv(result.table)
    assert list(zip(table.model, table.stabilizer, table.seed, table.fold, strict=True)) == [
        (model, stabilizer, seed, fold)
        for model, stabilizer in (("mean", "none"), ("abmil", "none"), ("abmil", "anchor"))
        for seed in (0, 1)
        for fold in (0, 1)
    ]
    assert (table.n_train + table.n_val + table.n_test == 24).all()
    assert table.groupby(["model", "stabilizer", "seed"]).n_test.sum().eq(24).all()
    assert set(table["train.epochs"]) == {3}
    assert table["stabilizer.beta"].dropna().tolist() == [0.1] * 4
    assert table["stabilizer.momentum"].dropna().tolist() == [0.999] * 4
    assert table["model.name"].tolist() == table.model.tolist()
    assert [arm.name for arm in list_arms(study())] == list(result.arms) == ARMS
    for arm in ARMS:
        folder = tmp_path / "out" / "arms" / arm
        assert {path.name for path in folder.iterdir()} == {"cells.csv", "history.csv", "predictions.csv"}
        assert len(pd.read_csv(folder / "history.csv")) == 4 * 3
        predictions = pd.read_csv(folder / "predictions.csv")
        assert list(predictions.columns) == ["fold", "seed", "slide", "label", "prob_negative", "prob_positive"]
        assert predictions.groupby("seed").slide.nunique().eq(24).all()
    assert heard.stages == {"open": [None, 0], "study": [12, 12]}
    assert heard.notes == [f"{arm} is done, {n} of 3 arms" for n, arm in enumerate(ARMS, 1)]
    assert pd.read_csv(tmp_path / "out" / "failures.csv").empty
    assert not result.failures


def test_trackers_hear_of_every_cell_and_of_those_that_were_there_before(study, training, tmp_path):
    pytest.importorskip("tensorboard")
    run_study(study(), only="abmil--none")
    heard = Heard()
    run_study(study(log_to="tensorboard"), only="abmil", listener=heard)
    names = [f"{arm} fold {f} seed {s}" for arm in ARMS[1:] for f in (0, 1) for s in (0, 1)]
    assert sorted(heard.models) == sorted(names)
    assert sorted(path.name for path in (tmp_path / "out" / "tracked" / "tensorboard").iterdir()) == sorted(names)
    for epochs, result in heard.models.values():
        assert epochs == [0, 1, 2]
        assert 0 <= result["test_auroc"] <= 1
        assert not any("." in name for name in result)


def test_a_row_holds_what_the_record_says(study, training, tmp_path):
    config = study()
    result = run_study(config, only="abmil--anchor")
    row = pd.read_csv(result.table, float_precision="round_trip").query("seed == 1 and fold == 1").iloc[0]
    data = load_data(config.datasets[0], config)
    train, val, test = data.parts(1, 1)
    assert not set(train) & set(val) | set(val) & set(test) | set(train) & set(test)
    record = training._cell(list_arms(config)[2].recipe(config), data.bags, _Plan(test, 1), 2)
    y = np.array([data.bags[i].label for i in test])
    probabilities = record.probabilities[:, test]
    assert row.test_auroc == METRICS["auroc"](y, probabilities[1])
    assert row.test_log_loss == METRICS["log_loss"](y, probabilities[1])
    accuracies = [(p.argmax(1) == y).mean() for p in probabilities]
    assert row.optimistic_accuracy == max(accuracies)
    assert row.last_accuracy == accuracies[-1]
    assert row.optimistic_auroc == pytest.approx(max(METRICS["auroc"](y, p) for p in probabilities), rel=1e-12)
    assert row.best_epoch == 1
    assert row.val_loss == record.history[1]["val_loss"]
    assert row.kl == record.history[1]["kl"]
    assert row.jsd == pytest.approx(np.mean([record.history[e]["jsd"] for e in (1, 2)]))
    assert np.isnan(row.gradient_ratio)
    precision = []
    for i in test:
        truth = data.dataset.tile_labels[data.bags[i].slide]
        if truth.any():
            order = truth[np.argsort(-record.attention[i])]
            precision.append(np.mean([order[: k + 1].mean() for k in np.flatnonzero(order)]))
    assert row.tile_ap == pytest.approx(np.mean(precision))
    assert row.tile_prevalence == pytest.approx(2 / 6)


class _Plan:
    """What the pretended training reads of a plan."""

    train = (0,)

    def __init__(self, test, seed):
        self.test, self.seed = test, seed


def test_models_without_attention_have_no_tile_numbers(study, training):
    table = pd.read_csv(run_study(study(), only="mean").table)
    assert table[["tile_ap", "tile_auroc", "jsd", "kl"]].isna().all(axis=None)
    assert table.test_auroc.notna().all()


def test_arms_of_a_seed_share_their_folds_and_seeds_draw_new_ones(study):
    config = study()
    data = load_data(config.datasets[0], config)
    assert data.parts(0, 0) != data.parts(0, 1)
    fixed = load_data(config.datasets[0], config.model_copy(update={"resplit": False}))
    assert fixed.parts(0, 0) == fixed.parts(0, 1)


def test_finished_cells_are_not_trained_again_and_a_study_can_grow(study, training):
    run_study(study(), only="abmil--none")
    before = len(training.calls)
    run_study(study(), only="abmil--none")
    assert len(training.calls) == before
    grown = STUDY.replace("seeds: 2", "seeds: 3").replace("[mean, abmil]", "[max, abmil]")
    result = run_study(study(grown))
    assert training.calls[before:].count(("abmil", (2,))) == 4  # of two arms and folds each: the new seed alone
    assert ("mean", (0,)) not in training.calls
    assert len(pd.read_csv(result.table)) == 3 * 6


def test_a_changed_setting_is_refused_and_named(study, training):
    run_study(study())
    for before, after, expected in (
        ("epochs: 3", "epochs: 4", "settings.epochs was 3, is 4"),
        ("folds: 2", "folds: 3", "common.folds was 2, is 3"),
        ("beta: 0.1", "beta: 0.2", "stabilizers.anchor was {'beta': 0.1}, is {'beta': 0.2}"),
        ("bags: 24", "bags: 26", "datasets.digits was"),
        ("[mean, abmil]", "[mean, {name: abmil, hidden: 64}]", "models.abmil was"),
    ):
        with pytest.raises(RunError) as caught:
            run_study(study(STUDY.replace(before, after)))
        assert expected in str(caught.value)
    run_study(study(STUDY.replace("beta: 0.1", "beta: 0.1}, weak: {beta: 0.2")))


def test_what_was_stopped_between_two_tables_is_trained_again(study, training, tmp_path):
    whole = pd.read_csv(run_study(study("resplit: false\n" + STUDY)).table)
    folder = tmp_path / "out" / "arms" / ARMS[1]
    history = (folder / "history.csv").read_text()
    cells = pd.read_csv(folder / "cells.csv", dtype=str, keep_default_na=False)
    cells[cells.seed == "0"].to_csv(folder / "cells.csv", index=False)
    training.calls.clear()
    again = pd.read_csv(run_study(study("resplit: false\n" + STUDY)).table)
    assert training.calls == [("abmil", (1,)), ("abmil", (1,))]
    pd.testing.assert_frame_equal(again, whole)
    assert (folder / "history.csv").read_text() == history


def test_the_seeds_of_a_fold_are_trained_side_by_side_where_they_have_one(study, training, tmp_path):
    """With folds of its own for each seed there is nothing that two of them have in common."""
    run_study(study("resplit: false\n" + STUDY), only="mean")
    assert training.calls == [("mean", (0, 1)), ("mean", (0, 1))]
    training.calls.clear()
    run_study(study(STUDY, out=tmp_path / "other"), only="abmil--none")
    assert training.calls == [("abmil", (0,)), ("abmil", (0,)), ("abmil", (1,)), ("abmil", (1,))]


def test_an_arm_that_fails_is_named_and_the_others_go_on(study, training, tmp_path):
    training.fail = lambda model, seeds: model == "mean"
    result = run_study(study())
    assert [(f.arm, f.seeds, f.error, f.reason) for f in result.failures] == [
        ("digits--mean--none", "0 1", "RuntimeError", "no good")
    ]
    assert set(pd.read_csv(result.table).model) == {"abmil"}
    noted = pd.read_csv(tmp_path / "out" / "failures.csv")
    assert noted.arm.tolist() == ["digits--mean--none"]
    assert "Traceback" in noted.trace[0]
    run_study(study(), only="abmil")
    assert len(pd.read_csv(tmp_path / "out" / "failures.csv")) == 1  # not tried now
    training.fail = lambda model, seeds: False
    assert not run_study(study()).failures
    assert pd.read_csv(tmp_path / "out" / "failures.csv").empty


def test_an_arm_that_another_process_trains_is_refused_and_other_arms_are_not(study, training, tmp_path):
    out = tmp_path / "out"
    with sole(out, within=".making", what="training", parts=["digits--mean--none"], hear=Listener()):
        with pytest.raises(RunError, match="another process is training digits--mean--none") as said:
            run_study(study())
        assert f"process {os.getpid()}" in said.value.found
        assert not training.calls
        assert run_study(study(), only="abmil").cells == 8
    assert run_study(study()).cells == 12
    assert not (out / ".making").exists()


def test_labels_that_look_like_numbers_stay_as_they_are(study, training):
    text = STUDY.replace("[mean, abmil]", "[{name: abmil, label: '007'}]")
    run_study(study(text), only="none")
    table = pd.read_csv(run_study(study(text)).table, dtype=str)
    assert set(table.model) == {"007"}


def test_the_command_says_what_failed_when_all_did(study, training, tmp_path):
    training.fail = lambda model, seeds: True
    study()
    done = CliRunner().invoke(app, ["study", str(tmp_path / "study.yaml"), "--out", str(tmp_path / "out")])
    assert done.exit_code == 1
    assert "RuntimeError: no good" in done.output
    assert "0 ok, 0 skipped, 3 failed" in done.output
    assert not (tmp_path / "out" / "results.csv").exists()


@pytest.mark.parametrize(("n_classes", "labels"), [(2, [0, 1, 1, 0, 1]), (3, [0, 1, 2, 2, 1]), (3, [0, 0, 1, 1, 1])])
def test_auroc_of_all_epochs_is_the_metric(n_classes, labels):
    y, rng = np.array(labels), np.random.default_rng(0)
    probabilities = rng.integers(1, 4, size=(7, 5, n_classes)).astype(float)  # with ties
    probabilities /= probabilities.sum(2, keepdims=True)
    expected = [METRICS["auroc"](y, p) for p in probabilities]
    np.testing.assert_allclose(auroc_by_epoch(y, probabilities), expected)


@pytest.fixture
def changed_bags(monkeypatch):
    """A function that makes every dataset be loaded with its bags changed."""
    load = runner_module.load_data

    def change(function):
        def loaded(part, config):
            data = load(part, config)
            return replace(data, dataset=function(data.dataset))

        monkeypatch.setattr(runner_module, "load_data", loaded)
        monkeypatch.setattr(runner_module, "_loaded", {})

    return change


def _with_copy(dataset):
    """The last bag has the features of the first."""
    copy = replace(dataset.bags[-1], features=dataset.bags[0].features.clone())
    return replace(dataset, bags=[*dataset.bags[:-1], copy])


def test_a_copied_bag_in_two_parts_is_refused(study, training, changed_bags):
    changed_bags(_with_copy)
    text = STUDY.replace("seeds: 2", "seeds: 4")
    with pytest.raises(
        ConfigError,
        match=r"slides of the same content are in different parts.*digits_0.. and digits_0.. \(100% of the tiles\)",
    ):
        run_study(study(text))
    run_study(study("allow_duplicates: true\n" + text))
    assert training.calls


def _leaking(dataset):
    """Official splits in which one patient is trained on and tested."""
    from asmil.bags import make_splits

    splits = make_splits(dataset.cohort, folds=2)
    table = dataset.cohort.table.copy()
    first = splits.fold(0)
    table.loc[table.slide == first.test[0], "case"] = first.train[0]
    return replace(dataset, splits=splits, cohort=replace(dataset.cohort, table=table))


def test_a_patient_in_two_parts_is_refused(study, training, changed_bags):
    changed_bags(_leaking)
    with pytest.raises(ConfigError, match="patients are in two parts of fold 0"):
        run_study(study())
    assert not training.calls


def test_every_dataset_that_cannot_be_used_is_named(study, training):
    wrong = f"{DIGITS}, {{name: digits, label: many, bags: 5000}}, {{name: digits, label: few, bags: 4}}"
    with pytest.raises(ConfigError) as caught:
        run_study(study(STUDY.replace(DIGITS, wrong)))
    assert "many: there are not enough digits" in str(caught.value)
    assert "few: class 'negative' has too few patients" in str(caught.value)
    assert not training.calls


def test_the_record_of_a_study_is_plain(study, training, tmp_path):
    run_study(study())
    record = json.loads((tmp_path / "out" / "study.json").read_text())
    assert set(record) == {"common", "settings", "datasets", "models", "stabilizers"}
    assert record["models"] == {"mean": {"name": "mean", "options": {}}, "abmil": {"name": "abmil", "options": {}}}
    assert (tmp_path / "out" / "environment.json").exists()
