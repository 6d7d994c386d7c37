"""The ensemble of a run: equal to its evaluation, honest about its own slides, and about disagreement."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from asmil.bags import Bag, Splits, open_features
from asmil.deploy import load_ensemble
from asmil.deploy.use import row_of
from asmil.errors import FeatureError
from asmil.runs import Run
from asmil.settings import tables_identity


@pytest.fixture(scope="module")
def ensemble(trained):
    loaded = load_ensemble(trained / "run")
    loaded.prepare()
    return loaded


@pytest.fixture(scope="module")
def store(trained):
    return open_features(trained / "features")


def new_bag(tiles=20, dim=12, seed=0, shift=0.0):
    return Bag(torch.randn(tiles, dim, generator=torch.Generator().manual_seed(seed)) + shift, slide="new")


def test_a_slide_of_the_cohort_is_predicted_as_at_its_evaluation(ensemble, store, trained):
    run = Run(trained / "run")
    table = pd.read_csv(run.folder / "predictions.csv").set_index("slide")
    attention = run.test_attention()
    for slide in ensemble.slides:
        found = ensemble.predict(store.load(slide))
        assert {fold for fold, _ in found.members} == {table.fold[slide]}
        assert found.probabilities == pytest.approx([table.prob_benign[slide], table.prob_tumour[slide]], abs=1e-6)
        assert found.attention == pytest.approx(attention[slide], abs=1e-6)
        evidence = ensemble.evidence(store.load(slide))
        for name, own in zip(run.classes, run.slide(slide).evidence.T, strict=True):
            assert evidence[name] == pytest.approx(own, abs=1e-6)


def test_one_member_is_its_cell(ensemble, store, trained):
    """Without the other seed, the prediction is that in the cell's own table."""
    cell = Run(trained / "run").cell(1, 0)
    only = [member for member in ensemble.members if (member.fold, member.seed) == (1, 0)]
    alone = type(ensemble)(ensemble.run, only)
    for row in cell.predictions().query("part == 'test'").itertuples():
        found = alone.predict(store.load(row.slide))
        assert found.probabilities[1] == pytest.approx(row.prob_tumour, abs=1e-6)
        assert np.isnan(found.std).all()
        assert found.mutual_information == 0


def test_no_member_that_saw_a_slide_predicts_it(ensemble, trained):
    splits = Splits.load(trained / "run" / "splits.csv")
    for slide in ensemble.slides:
        for member in ensemble.members:
            fold = splits.fold(member.fold)
            assert (member in ensemble.unseen(slide)) == (slide in fold.test)


def test_a_new_slide_is_predicted_by_all(ensemble):
    found = ensemble.predict(new_bag())
    assert len(found.members) == len(ensemble.members) == 4
    assert found.seen_as is None
    assert found.probabilities == pytest.approx(found.by_member.mean(0))
    assert found.probabilities.sum() == pytest.approx(1)
    assert found.attention.sum() == pytest.approx(1)


def test_uncertainty_by_its_formulas(ensemble):
    p = (found := ensemble.predict(new_bag())).by_member
    mean = p.mean(0)
    entropy = -(mean * np.log(mean)).sum()
    assert found.entropy == pytest.approx(entropy)
    assert found.mutual_information == pytest.approx(entropy + (p * np.log(p)).sum(1).mean())
    assert found.std == pytest.approx(np.sqrt(((p - mean) ** 2).sum(0) / 3))


def test_a_slide_under_another_name_is_known_by_its_features(ensemble, store):
    slide = ensemble.slides[3]
    found = ensemble.predict(replace(store.load(slide), slide="renamed"))
    assert found.seen_as == slide
    assert f"as {slide}" in found.warnings[0]
    assert found.probabilities == pytest.approx(ensemble.predict(store.load(slide)).probabilities)


def test_another_slide_of_the_same_name_is_not_said_to_be_of_the_cohort(ensemble, store):
    slide = ensemble.slides[3]
    found = ensemble.predict(replace(new_bag(), slide=slide))
    assert found.members == ensemble.predict(store.load(slide)).members
    assert "has the name of one in the run's cohort, and other features" in found.warnings[0]
    assert "is in the run's cohort" in ensemble.predict(store.load(slide)).warnings[0]


def test_a_slide_of_the_cohort_under_the_name_of_another_is_known_by_its_features(ensemble, store):
    """It was predicted by those that never saw the one of its name, which had learned from it."""
    folds = pd.read_csv(ensemble.run.folder / "splits.csv")
    tested = folds[folds.part == "test"].set_index("slide")["fold"]
    slide = ensemble.slides[3]
    other = next(name for name in ensemble.slides if tested[name] != tested[slide])
    found = ensemble.predict(replace(store.load(other), slide=slide))
    assert found.seen_as == other
    assert found.members == ensemble.predict(store.load(other)).members
    assert f"is in the run's cohort as {other}" in found.warnings[0]


def test_a_slide_that_every_member_trained_on_is_marked(run):
    table = pd.read_csv(run / "splits.csv")
    slide = table.slide[0]
    table.loc[(table.slide == slide) & (table.part == "test"), "part"] = "train"
    table.to_csv(run / "splits.csv", index=False)
    identity = json.loads((run / "identity.json").read_text())  # as if it had been trained so, by splits of a user's
    identity["data"] |= tables_identity(Run(run).cohort, table)
    (run / "identity.json").write_text(json.dumps(identity))
    for seal in run.glob("folds/*/*/sealed.json"):
        seal.write_text(json.dumps({"files": json.loads(seal.read_text())["files"]}))
    found = load_ensemble(run).predict(replace(new_bag(), slide=slide))
    assert len(found.members) == 4
    assert "proves nothing" in found.warnings[0]


def test_slides_that_differ_from_training_raise_warnings(ensemble):
    said = {
        "drift": ensemble.predict(new_bag(shift=9.0)).warnings,
        "little tissue": ensemble.predict(new_bag(tiles=1)).warnings,
        "much tissue": ensemble.predict(new_bag(tiles=900)).warnings,
        "extreme": ensemble.predict(replace(bag := new_bag(), features=bag.features * 1e4)).warnings,
    }
    for word, warnings in said.items():
        assert any(word in text for text in warnings), (word, warnings)


def test_the_profile_is_measured_once(unsealed):
    run = unsealed
    first = load_ensemble(run)
    assert first.profile is None
    measured = first.prepare()
    assert load_ensemble(run).profile == measured
    weights = run / "folds" / "0" / "seed_0" / "model.safetensors"
    weights.write_bytes((run / "folds" / "1" / "seed_0" / "model.safetensors").read_bytes())
    assert load_ensemble(run).profile is None, "of other models"


def test_features_of_another_dimension_are_refused(ensemble):
    with pytest.raises((FeatureError, RuntimeError)):
        ensemble.predict(new_bag(dim=7))


def test_the_features_of_another_run_are_refused(run, write_feature_files, tmp_path):
    for folder, dim in (("other_slides", 12), ("other_encoder", 9)):
        write_feature_files(tmp_path / folder, n_slides=2, dim=dim, seed=1)
        if dim == 12:
            for path in sorted((tmp_path / folder).glob("*.h5")):
                path.rename(path.with_name(f"new_{path.name}"))
        with pytest.raises(FeatureError, match="does not hold the features of this run"):
            load_ensemble(run).prepare(tmp_path / folder)


def test_an_evaluated_run_says_how_its_logits_fall_when_tiles_are_taken_away(trained):
    found = Run(trained / "run").metrics["attention"]["deletion"]
    assert found["slides"] == 16
    assert all(len(found[name]) == len(found["share"]) for name in ("evidence", "attention", "random"))
    assert found["evidence"][-1] > found["random"][-1]


def test_a_slide_is_called_at_the_operating_point_of_the_members_that_predict_it(run, trained, store):
    """As the report decides it; a new slide at the mean of the folds."""
    before = load_ensemble(run).thresholds
    metrics = json.loads((run / "metrics.json").read_text())
    at = {one["fold"]: one["threshold"] for one in metrics["operating_point"]["thresholds"]}
    assert before == at
    for one, threshold in zip(metrics["operating_point"]["thresholds"], (0.1, 0.7), strict=True):
        one["threshold"] = threshold
    (run / "metrics.json").write_text(json.dumps(metrics))
    ensemble = load_ensemble(run)
    assert ensemble.predict(new_bag()).threshold == pytest.approx(0.4)
    for slide in ensemble.slides[:4]:
        found = ensemble.predict(store.load(slide))
        (fold,) = {fold for fold, _ in found.members}
        assert found.threshold == pytest.approx((0.1, 0.7)[fold])
        row = row_of(ensemble, found)
        assert row["called"] == ensemble.classes[int(row["prob_tumour"] >= row["threshold"])]
    metrics["partial"] = "A partial look: 1 of 4 models."  # evaluated before the others were trained
    (run / "metrics.json").write_text(json.dumps(metrics))
    assert load_ensemble(run).predict(new_bag()).threshold is None
    (run / "metrics.json").unlink()
    assert load_ensemble(run).predict(new_bag()).threshold is None
    row = row_of(ensemble, replace(found, threshold=None))
    assert row["called"] == row["prediction"]
