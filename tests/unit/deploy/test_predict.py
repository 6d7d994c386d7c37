"""`asmil predict` on features: its tables, what it refuses, and what an interrupt leaves."""

import json
import re
import shutil

import h5py
import numpy as np
import pandas as pd
import pytest

from asmil.bags import open_features
from asmil.deploy import load_ensemble, predict_slides
from asmil.progress import Listener
from asmil.runs import PredictedFolder


@pytest.fixture
def features(write_feature_files, tmp_path):
    """Three new slides."""
    write_feature_files(tmp_path / "new", n_slides=3, dim=12, seed=5)
    for number, path in enumerate(sorted((tmp_path / "new").glob("*.h5"))):
        path.rename(path.with_name(f"new_{number}.h5"))
    return tmp_path / "new"


def change(path, **attributes):
    with h5py.File(path, "r+") as file:
        for part in (file, file["features"], file["coords"]):
            part.attrs.update(attributes)


def test_tables_and_pictures(asmil, run, features, tmp_path):
    out = tmp_path / "out"
    done = asmil("predict", run, "--features", features, "--out", out, "--heatmaps")
    table = pd.read_csv(out / "predictions.csv")
    assert list(table.slide) == ["new_0", "new_1", "new_2"]
    assert np.allclose(table.prob_benign + table.prob_tumour, 1)
    assert set(table.prediction) <= {"benign", "tumour"}
    assert (table.members == 4).all()
    assert "of 3 slides" in done.stdout
    assert "own held-out slides" in done.stderr
    with h5py.File(out / "attention.h5") as file:
        for slide, tiles in zip(table.slide, table.tiles, strict=True):
            assert file[slide].shape == (tiles,)
            squares = json.loads((out / "figures" / f"{slide}.geojson").read_text())["features"]
            weights = [square["properties"]["measurements"]["attention"] for square in squares]
            assert weights == pytest.approx(file[slide][:], rel=1e-5)
            assert (out / "figures" / f"{slide}.png").stat().st_size > 1000
            said = load_ensemble(run).evidence(open_features(features).load(slide))["tumour"]
            written = [square["properties"]["measurements"]["evidence_tumour"] for square in squares]
            assert written == pytest.approx(said, rel=1e-4, abs=1e-7)


def test_figures_are_of_the_rows_that_there_are(asmil, run, features, tmp_path):
    """A slide that lost its row kept its picture, and one that was predicted anew the picture of before."""
    out = tmp_path / "out"
    call = ("predict", run, "--features", features, "--out", out)
    asmil(*call, "--heatmaps")
    (out / "figures" / "notes.txt").write_text("mine", encoding="utf-8")
    (features / "new_0.h5").unlink()
    with h5py.File(features / "new_1.h5", "r+") as file:
        file["features"][:] = file["features"][:][::-1]
    done = asmil(*call)
    assert "figures of earlier predictions were removed, --heatmaps draws new ones: new_0, new_1" in done.stderr
    assert {path.name for path in (out / "figures").iterdir()} == {"new_2.png", "new_2.geojson", "notes.txt"}
    assert "figures of earlier" not in asmil(*call).stderr
    assert "figures of earlier" not in asmil(*call, "--heatmaps").stderr
    assert len(list((out / "figures").glob("*.png"))) == 2


def test_other_preprocessing_is_refused_by_name_unless_accepted(asmil, run, features, tmp_path):
    change(features / "new_1.h5", mpp=1.0)
    call = ("predict", run, "--features", features, "--out", tmp_path / "out")
    asmil(*call, code=1)
    assert list(pd.read_csv(tmp_path / "out" / "predictions.csv").slide) == ["new_0", "new_2"]
    failures = pd.read_csv(tmp_path / "out" / "failures.csv")
    assert list(failures.name) == ["new_1"]
    assert "mpp is 1.0, the run was trained with 0.5" in failures.reason[0]
    asmil(*call, "--accept", "mpp")
    assert "mpp is 1.0" in pd.read_csv(tmp_path / "out" / "predictions.csv").warnings.astype(str)[1]


@pytest.mark.parametrize(("name", "fix"), [("mmp", "did you mean 'mpp'"), ("nosuch", "one of these"), ("dim", "mpp")])
def test_an_answer_that_fits_no_question_is_refused(asmil, run, features, tmp_path, name, fix):
    done = asmil("predict", run, "--features", features, "--out", tmp_path / "out", "--accept", name, code=2)
    assert f"--accept {name}: features are not compared by that" in done.stderr
    assert fix in done.stderr
    assert "encoder" in done.stderr
    assert not (tmp_path / "out").exists()


def test_tiles_without_content_are_told(asmil, run, features, tmp_path):
    with h5py.File(features / "new_1.h5", "r+") as file:
        file["features"][:2] = 0
    asmil("predict", run, "--features", features, "--out", tmp_path / "out")
    warnings = pd.read_csv(tmp_path / "out" / "predictions.csv").set_index("slide").warnings.fillna("")
    assert [name for name, text in warnings.items() if "one number throughout" in text] == ["new_1"]
    assert "2 of " in warnings["new_1"]


@pytest.mark.parametrize("other", [{"encoder": "uni"}, {"weight_hash": "other"}])
def test_another_encoder_is_refused(asmil, run, trained, features, tmp_path, other):
    own = shutil.copytree(trained / "features", tmp_path / "own")
    for path in own.glob("*.h5"):
        change(path, weight_hash="same")
    for path in features.glob("*.h5"):
        change(path, **{"weight_hash": "same"} | other)
    asmil("predict", run, "--features", features, "--run-features", own, "--out", tmp_path / "out", code=2)
    reasons = pd.read_csv(tmp_path / "out" / "failures.csv").reason
    assert len(reasons) == 3
    assert all(f"{next(iter(other))} is" in reason for reason in reasons)


def test_features_that_are_nowhere_and_those_without_any_difference_are_no_prediction(asmil, run, features, tmp_path):
    out = tmp_path / "out"
    done = asmil("predict", run, "--features", tmp_path / "nowhere", "--out", out, code=2)
    assert "there are no features at this path" in done.stderr
    with h5py.File(features / "new_1.h5", "r+") as file:
        file["features"][:] = 0
    asmil("predict", run, "--features", features, "--out", out, code=1)
    assert list(pd.read_csv(out / "predictions.csv").slide) == ["new_0", "new_2"]
    assert "the same features for all of its" in pd.read_csv(out / "failures.csv").reason[0]
    for name in ("new_0", "new_2"):
        (features / f"{name}.h5").unlink()
    done = asmil("predict", run, "--features", features, "--out", out, code=2)
    assert "no slide could be predicted" in done.stderr


def test_a_slide_that_was_taken_away_loses_its_row_and_that_is_said(asmil, run, features, tmp_path):
    """Every night into one folder: what was archived since has no row any more, which nobody would have seen."""
    call = ("predict", run, "--features", features, "--out", tmp_path / "out")
    asmil(*call)
    (features / "new_1.h5").rename(tmp_path / "new_1.h5")
    done = asmil(*call)
    assert list(pd.read_csv(tmp_path / "out" / "predictions.csv").slide) == ["new_0", "new_2"]
    (row,) = pd.read_csv(tmp_path / "out" / "failures.csv").to_dict("records")
    assert (row["name"], row["result"], row["stage"]) == ("new_1", "noted", "predict")
    assert "is not in" in row["reason"]
    assert "new_1" in done.stderr + done.stdout
    assert "any more" not in asmil(*call).stderr


def test_another_version_of_asmil_is_told_and_not_refused(run, trained, features, tmp_path):
    own = shutil.copytree(trained / "features", tmp_path / "own")
    for folder, version in ((own, "0.1"), (features, "0.2")):
        for path in folder.glob("*.h5"):
            change(path, asmil_version=version)
    ensemble = load_ensemble(run)
    ensemble.prepare(own)
    rows = [slide.row for slide in predict_slides(ensemble, open_features(features), tmp_path / "out")]
    assert all("asmil_version is 0.2" in row["warnings"] for row in rows)


def test_an_interrupt_leaves_what_is_finished_and_the_next_call_goes_on(run, features, tmp_path):
    ensemble, store, out = load_ensemble(run), open_features(features), tmp_path / "out"
    ensemble.prepare()
    told = []

    def interrupt(predicted):
        told.append(predicted.slide)
        if len(told) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_slides(ensemble, store, out, progress=interrupt)
    assert list(pd.read_csv(out / "predictions.csv").slide) == ["new_0", "new_1"]
    done = predict_slides(ensemble, store, out)
    assert [slide.kept for slide in done] == [True, True, False]
    whole = predict_slides(ensemble, store, tmp_path / "other")
    assert [slide.row for slide in done] == [slide.row for slide in whole]
    assert (out / "predictions.csv").read_bytes() == (tmp_path / "other" / "predictions.csv").read_bytes()


def test_new_features_or_models_are_predicted_anew(run, features, tmp_path):
    ensemble, out = load_ensemble(run), tmp_path / "out"
    predict_slides(ensemble, open_features(features), out)
    with h5py.File(features / "new_2.h5", "r+") as file:
        file["features"][:] = file["features"][:] + 1
    again = predict_slides(ensemble, open_features(features), out)
    assert [slide.kept for slide in again] == [True, True, False]
    ensemble.digest = "of other weights"
    assert not any(slide.kept for slide in predict_slides(ensemble, open_features(features), out))


def test_without_the_runs_features_it_is_said_what_cannot_be_seen(asmil, run, trained, features, tmp_path):
    config = run / "config.yaml"
    config.write_text(re.sub(r"(?m)^features: .*", f"features: {tmp_path / 'gone'}", config.read_text()))
    done = asmil("predict", run, "--features", features, "--out", tmp_path / "out")
    assert "not at hand" in done.stderr
    table = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert len(table) == 3
    assert table.warnings.str.contains("drift was not looked for").all()  # who gets the table alone has to know it
    asmil("predict", run, "--features", features, "--out", tmp_path / "out", "--run-features", trained / "features")
    warnings = pd.read_csv(tmp_path / "out" / "predictions.csv", na_filter=False).warnings
    assert not warnings.str.contains("not looked for").any()


def test_a_run_that_keeps_no_profile_says_that_it_is_measured_each_time(asmil, run, features, tmp_path, monkeypatch):
    call, said = ("predict", run, "--features", features, "--out"), "profile.json cannot be written"
    with monkeypatch.context() as readonly:  # root, who runs this test at times, may write anywhere
        readonly.setattr(
            "asmil.runs.records.write_json", lambda *_: (_ for _ in ()).throw(PermissionError("read-only"))
        )
        assert said in " ".join(asmil(*call, tmp_path / "a").stderr.split())
    assert said not in " ".join(asmil(*call, tmp_path / "b").stderr.split())


def test_what_was_predicted_before_the_runs_own_slides_were_known_is_predicted_anew(asmil, run, trained, tmp_path):
    """A slide of the cohort under another name is known by its features alone, and those were not at hand."""
    (tmp_path / "new").mkdir()
    shutil.copy(next((trained / "features").glob("*.h5")), tmp_path / "new" / "renamed.h5")
    config = run / "config.yaml"
    config.write_text(re.sub(r"(?m)^features: .*", f"features: {tmp_path / 'gone'}", config.read_text()))
    call = ("predict", run, "--features", tmp_path / "new", "--out", tmp_path / "out")
    asmil(*call)
    before = pd.read_csv(tmp_path / "out" / "predictions.csv").iloc[0]
    assert before.members == 4
    asmil(*call, "--run-features", trained / "features")
    row = pd.read_csv(tmp_path / "out" / "predictions.csv").iloc[0]
    assert row.in_cohort_as == next((trained / "features").glob("*.h5")).stem
    assert row.members < 4
    assert "never saw it" in row.warnings


def test_names_cannot_leave_the_folder(run, features, tmp_path, monkeypatch):
    store, ensemble, out = open_features(features), load_ensemble(run), tmp_path / "deep" / "out"
    evil = "../../evil"
    info, bag = store.info("new_0"), store.load("new_0")
    monkeypatch.setattr(store, "info", lambda slide: info)
    monkeypatch.setattr(store, "load", lambda slide: bag)
    (done,) = predict_slides(ensemble, store, out, slides=[evil])
    assert done.error is None
    assert done.file.resolve().is_relative_to(out.resolve())
    assert not list(tmp_path.glob("evil*"))
    with h5py.File(out / "attention.h5") as file:
        assert len(file) == 1


@pytest.mark.parametrize("given", [(), ("--slides", "a", "--features", "b")])
def test_slides_or_features_and_not_both(asmil, run, given):
    assert "slides or features" in asmil("predict", run, *given, code=2).stderr


def test_slides_of_the_run_without_features_are_named_and_measured_when_they_are_back(asmil, trained, run, tmp_path):
    """Nothing is known of theirs: it was said that a slide of such a name has other features."""
    shutil.copytree(trained / "features", tmp_path / "part")
    lost = sorted((tmp_path / "part").glob("*.h5"))[0]
    lost.unlink()
    new = ("--features", trained / "features", "--out", tmp_path / "out")
    done = asmil("predict", run, *new, "--run-features", tmp_path / "part")
    assert f"nothing is compared with them: {lost.stem}" in done.output
    assert "other features" not in done.output
    assert not (run / "profile.json").exists()
    assert "nothing is compared with them" not in asmil("predict", run, *new).output
    assert lost.stem in json.loads((run / "profile.json").read_text())["slides"]


def test_two_do_not_predict_into_one_folder(asmil, run, features, tmp_path):
    """Each wrote the tables, and removed the figures, as if the other's slides were gone."""
    out = tmp_path / "out"
    asmil("predict", run, "--features", features, "--out", out)
    before = (out / "predictions.csv").read_bytes()
    (features / "new_0.h5").unlink()
    with PredictedFolder(out).held(Listener()):
        said = asmil("predict", run, "--features", features, "--out", out, code=2).output
    assert "another process is predicting in" in said
    assert (out / "predictions.csv").read_bytes() == before
    asmil("predict", run, "--features", features, "--out", out)
    assert not (out / ".making").exists()
