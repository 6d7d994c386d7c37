"""`asmil predict --published`: a file of the authors' weights in the place of a run, and what is refused there."""

import h5py
import numpy as np
import pandas as pd
import pytest

from asmil.bags import open_features
from asmil.deploy import predict_published
from asmil.errors import ConfigError, FeatureError
from asmil.models import load_published
from asmil.training import predict


@pytest.fixture
def weights(write_published, tmp_path):
    """A model of 12 features."""
    return write_published(tmp_path / "w.pt", in_dim=12)


@pytest.fixture
def features(write_feature_files, tmp_path):
    """Three slides of 12 features in half precision."""
    write_feature_files(tmp_path / "features", n_slides=3, dim=12)
    return tmp_path / "features"


def test_the_command_writes_the_same_kind_of_folder_as_by_a_run(asmil, run, weights, features, tmp_path):
    done = asmil("predict", "--published", weights, "--features", features, "--out", tmp_path / "a", "--heatmaps")
    asmil("predict", run, "--features", features, "--out", tmp_path / "b", "--heatmaps")
    ours, theirs = (pd.read_csv(tmp_path / name / "predictions.csv") for name in "ba")
    names = {"prob_class_0": "prob_benign", "prob_class_1": "prob_tumour"}
    assert list(theirs.rename(columns=names)) == list(ours)
    files = [{p.relative_to(tmp_path / n) for p in (tmp_path / n).rglob("*") if p.suffix != ".jpg"} for n in "ab"]
    assert files[0] == files[1]
    assert "of 3 slides" in done.stdout


def test_rows_are_what_the_model_says_and_each_says_what_it_is_not(asmil, weights, features, tmp_path):
    call = ("predict", "--published", weights, "--features", features, "--heads", 4, "--classes", "well, ill")
    done = asmil(*call, "--out", tmp_path / "out")
    table, store = pd.read_csv(tmp_path / "out" / "predictions.csv"), open_features(features)
    for row in table.itertuples():
        found = predict(load_published(weights, heads=4), [store.load(row.slide)])[0]
        assert [row.prob_well, row.prob_ill] == pytest.approx(list(found.probabilities), abs=1e-6)
        assert row.prediction == ("well", "ill")[int(found.probabilities.argmax())]
        with h5py.File(tmp_path / "out" / "attention.h5") as file:
            assert np.allclose(file[row.slide][()], found.attention, atol=1e-7)
    assert (table.members == 1).all()
    assert table[["std", "shift", "clamped", "in_cohort_as"]].isna().all(axis=None)
    for text in ("one model", "nothing calibrated", "not standardised", "no drift"):
        assert table.warnings.str.contains(text).all()
        assert text in done.stderr


def test_another_number_of_heads_or_other_names_are_predicted_anew(weights, features, tmp_path):
    tables = [
        predict_published(weights, features, tmp_path / "out", **options).table
        for options in ({"heads": 8}, {"heads": 2}, {"heads": 2, "classes": ("b", "a")})
    ]
    assert not np.allclose(tables[0].prob_class_0, tables[1].prob_class_0)
    assert np.allclose(tables[1].prob_class_0, tables[2].prob_b)


@pytest.mark.parametrize("classes", [("a",), ("a", "b", "c"), ("a", "a")], ids=str)
def test_names_that_do_not_fit_the_weights_are_refused(weights, features, tmp_path, classes):
    with pytest.raises(ConfigError, match="tells 2 classes apart"):
        predict_published(weights, features, tmp_path / "out", classes=classes)
    assert not (tmp_path / "out").exists()


def test_features_of_another_dimension_are_refused_before_anything_is_written(weights, write_feature_files, tmp_path):
    write_feature_files(tmp_path / "wide", n_slides=2, dim=13)
    with pytest.raises(FeatureError, match="dimension 13, the weights take 12"):
        predict_published(weights, tmp_path / "wide", tmp_path / "out")
    assert not (tmp_path / "out").exists()


REFUSED = {
    "with a run": (("RUN", "--published", "W", "--features", "F", "--out", "O"), "has no use for the run"),
    "slides": (("--published", "W", "--slides", "F", "--out", "O"), "has no use for --slides"),
    "encoder weights": (("--published", "W", "--features", "F", "--weights", "W", "--out", "O"), "for --weights"),
    "accept": (("--published", "W", "--features", "F", "--accept", "mpp", "--out", "O"), "for --accept"),
    "no out": (("--published", "W", "--features", "F"), "no --out FOLDER"),
    "no features": (("--published", "W", "--out", "O"), "no --features FOLDER"),
    "no model": (("--features", "F", "--out", "O"), "predict needs a run"),
    "classes of a run": (("RUN", "--features", "F", "--classes", "a,b"), "--classes is for --published"),
    "as a run": (("W", "--features", "F"), "asmil predict --published FILE"),
    "a run as weights": (("--published", "RUN", "--features", "F", "--out", "O"), "there is no file"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_go_together_is_refused(asmil, run, weights, features, tmp_path, case):
    words, message = REFUSED[case]
    names = {"RUN": run, "W": weights, "F": features, "O": tmp_path / "out"}
    done = asmil("predict", *(names.get(word, word) for word in words), code=2)
    assert message in done.stderr
    assert not (tmp_path / "out").exists()
