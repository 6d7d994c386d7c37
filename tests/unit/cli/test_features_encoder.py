"""`--features-encoder`: every command that opens features reads those of the encoder that is named, and no other."""

import json

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml

from asmil import Settings
from asmil.bags import open_features
from asmil.errors import ConfigError
from asmil.runs import PredictedFolder, Run
from asmil.settings import load_settings

SLIDES = [f"s{number:02d}" for number in range(12)]
SMALL = ("--model", "abmil", "--folds", 2, "--seeds", 1, "--epochs", 2)


def write_atlas_patch(folder, slides):
    """Files as AtlasPatch writes them, of two encoders of one width: nothing but the name tells them apart."""
    (folder / "patches").mkdir(parents=True)
    for number, slide in enumerate(slides):
        rng = np.random.default_rng(number)
        with h5py.File(folder / "patches" / f"{slide}.h5", "w") as file:
            for shift, encoder in enumerate(("enc_a", "enc_b")):
                file[f"features/{encoder}"] = rng.standard_normal((20, 8), dtype=np.float32) + 10 * shift
            file["coords"] = np.array([(x * 256, y * 256, 256, 256, 0) for x in range(4) for y in range(5)], np.int32)
            file.attrs.update(patch_size_level0=256, patch_size=256)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("several")
    write_atlas_patch(folder / "features", SLIDES)
    write_atlas_patch(folder / "new", ["n1", "n2"])
    rows = {"slide_id": SLIDES, "case_id": SLIDES, "label": ["no", "yes"] * 6}
    pd.DataFrame(rows).to_csv(folder / "labels.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def of_data(data):
    return ("--features", data / "features", "--labels", data / "labels.csv")


@pytest.fixture(scope="module")
def trained(asmil, of_data, tmp_path_factory):
    """A run of enc_b, by two processes, which open the features themselves."""
    out = tmp_path_factory.mktemp("trained") / "run"
    asmil("crossval", *of_data, "--features-encoder", "enc_b", *SMALL, "--workers", 2, "--out", out)
    return out


def test_without_a_name_there_is_a_question_and_nothing_is_written(asmil, of_data, tmp_path):
    for command in ("crossval", "run"):
        said = asmil(command, *of_data, *SMALL, "--out", tmp_path / "run", code=2)
        assert "enc_a, enc_b of s00, s01, s02" in said
        assert "--features-encoder enc_a" in said
    assert not (tmp_path / "run").exists()
    assert "--features-encoder enc_a" in asmil("check", *of_data, code=1)


def test_a_name_that_is_not_there_is_answered_with_a_near_one(asmil, of_data, tmp_path):
    wrong = ("--features-encoder", "enc-b")
    assert "did you mean 'enc_b'?" in asmil("crossval", *of_data, *wrong, "--out", tmp_path / "run", code=2)
    assert "did you mean 'enc_b'?" in asmil("check", *of_data, *wrong, code=1)


def test_check_reads_the_named_one(asmil, of_data):
    said = asmil("check", *of_data, "--features-encoder", "enc_b")
    assert "encoder enc_b" in said
    assert "enc_a" not in said


def test_what_is_made_of_a_run_has_its_encoder(asmil, trained):
    asmil("evaluate", trained, "--bootstrap", 5)
    run = Run.open(trained)
    assert run.settings.features_encoder == "enc_b"
    assert float(run.store.array("s00").mean()) == pytest.approx(10, abs=1)
    assert "deletion" in run.metrics["attention"]
    asmil("report", trained)


def test_a_run_goes_on_with_the_same_features_and_not_with_others(asmil, of_data, trained):
    command = ("crossval", *of_data, *SMALL, "--out", trained)
    told = asmil(*command, "--features-encoder", "enc_a", code=2)
    assert "was trained on other features" in told
    asmil(*command, "--features-encoder", "enc_b")
    identity = json.loads((trained / "identity.json").read_text())
    rows = identity["data"]["features"]
    assert "features_encoder" not in identity  # as with the path: what was read is compared, not how it was named
    store = open_features(of_data[1], encoder="enc_b")
    assert {slide: row[3] for slide, row in rows.items()} == {slide: store.content(slide).digest for slide in SLIDES}


def test_other_numbers_of_tiles_are_seen_in_the_named_features(asmil, data, trained):
    path = data / "features" / "patches" / "s00.h5"
    kept = path.read_bytes()
    for encoder, code in (("enc_a", 0), ("enc_b", 2)):
        with h5py.File(path, "r+") as file:
            values = file[f"features/{encoder}"][:19]
            del file[f"features/{encoder}"]
            file[f"features/{encoder}"] = values
        said = asmil("report", trained, code=code)
        assert ("was trained on other features" in said) == (code == 2)
    path.write_bytes(kept)


def test_new_slides_are_predicted_by_the_named_one(asmil, data, trained, tmp_path):
    new = ("predict", trained, "--features", data / "new", "--out", tmp_path / "predicted")
    assert "--features-encoder enc_a" in asmil(*new, code=2)
    asmil(*new, "--features-encoder", "enc_b")
    predicted = PredictedFolder(tmp_path / "predicted")
    assert float(predicted.store.array("n1").mean()) == pytest.approx(10, abs=1)
    assert not predicted.table["warnings"].fillna("").str.contains("encoder").any()
    other = ("predict", trained, "--features", data / "new", "--out", tmp_path / "other")
    assert "enc_a" in asmil(*other, "--features-encoder", "enc_a", code=2)  # not prepared as the run's own were


def test_features_that_were_moved_are_read_by_the_runs_own_name(asmil, data, trained, tmp_path):
    (data / "features").rename(data / "moved")
    (trained / "profile.json").unlink(missing_ok=True)  # else its own features are not asked for
    try:
        new = ("--features", data / "new", "--features-encoder", "enc_b", "--out", tmp_path / "predicted")
        asmil("predict", trained, *new, "--run-features", data / "moved")
        assert (trained / "profile.json").is_file()
    finally:
        (data / "moved").rename(data / "features")


def test_convert_takes_the_named_one(asmil, data, tmp_path):
    command = ("convert", data / "features", "--to", "asmil", "--out", tmp_path / "out")
    assert "--features-encoder enc_a" in asmil(*command, code=2)
    asmil(*command, "--features-encoder", "enc_b")
    assert open_features(tmp_path / "out").info("s00").encoder == "enc_b"


def test_it_is_a_key_and_a_keyword(data, tmp_path):
    (tmp_path / "run.yaml").write_text(f"features: {data / 'features'}\nfeatures_encoder: enc_a\n")
    assert load_settings(tmp_path / "run.yaml").features_encoder == "enc_a"
    assert Settings(features=data, features_encoder="enc_b").features_encoder == "enc_b"
    with pytest.raises(ConfigError, match="features_encoder chooses among features, which are not given"):
        load_settings(None, {"slides": data, "features_encoder": "uni"})


def test_a_study_names_it_with_its_data(asmil, tmp_path):
    slides = [f"TCGA-AA-{number:04d}-01Z-00-DX1" for number in range(8)]
    write_atlas_patch(tmp_path / "features", slides)
    pd.DataFrame({"slide_id": slides, "label": ["no", "yes"] * 4}).to_csv(tmp_path / "labels.csv", index=False)
    part = {"name": "tcga", "root": str(tmp_path / "labels.csv"), "features": str(tmp_path / "features")}
    study = {"models": ["mean"], "stabilizers": {"none": None}, "folds": 2, "seeds": 1, "settings": {"epochs": 1}}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({"datasets": [part], **study, "out": str(tmp_path / "out")}))
    assert "features_encoder" in asmil("study", tmp_path / "study.yaml", code=2)
    named = {"datasets": [part | {"features_encoder": "enc_b"}], **study, "out": str(tmp_path / "out")}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(named))
    asmil("study", tmp_path / "study.yaml")
