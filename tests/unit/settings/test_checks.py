"""Inputs looked at before a run: each kind of problem is named, and sound inputs pass."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from asmil.errors import AsmilError, FeatureError
from asmil.progress import Outcome, Screen
from asmil.runs import train
from asmil.settings import Settings, check_inputs
from asmil.slides import open_slide, write_slide
from asmil.slides.synthetic import make_slides


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    return make_slides(folder, patients=8, slides_per_patient=(1, 1), size_px=(700, 600))


@pytest.fixture
def cohort(drawn, tmp_path) -> Path:
    """A cohort without awkward slides that a test may spoil."""
    folder = shutil.copytree(drawn, tmp_path / "cohort")
    for path in (folder / "slides").glob("awkward_*"):
        path.unlink()
    rows = (folder / "labels.csv").read_text().splitlines()
    (folder / "labels.csv").write_text("\n".join(row for row in rows if "awkward" not in row) + "\n")
    return folder


def _check(folder: Path, **settings) -> Outcome:
    given = {
        "slides": folder / "slides",
        "labels": folder / "labels.csv",
        "annotations": folder / "annotations",
        "positive": ["tumour"],
        "folds": 2,
        "val_fraction": 0.3,
    }
    return check_inputs(Settings(**{**given, **settings}), Screen(), print)


def _found(outcome: Outcome) -> dict[str, tuple[str, str]]:
    return {row.name: (row.result, row.stage) for row in outcome.rows}


def test_sound_inputs_have_no_problems(cohort):
    outcome = _check(cohort)
    assert outcome.rows == []
    assert outcome.counts["ok"] == 8
    assert outcome.whole


def test_slides_that_cannot_be_read_or_have_no_scale_are_named(drawn):
    outcome = _check(drawn)
    found = _found(outcome)
    assert found["awkward_truncated"] == ("failed", "open")
    assert found["awkward_no_mpp"] == ("failed", "open")
    assert not outcome.whole


def test_a_scale_that_is_given_mends_a_slide_without_one(drawn):
    assert "awkward_no_mpp" not in _found(_check(drawn, slide_mpp=0.5))


def test_a_slide_without_a_label_and_a_label_without_a_slide(cohort):
    shutil.copy(cohort / "slides" / "P01_1.tif", cohort / "slides" / "stranger.tif")
    with (cohort / "labels.csv").open("a") as file:
        file.write("missing,P99,normal,north\n")
    found = _found(_check(cohort))
    assert found["stranger"][0] == "skipped"
    assert "missing" in found


def test_an_unknown_class_of_the_annotations(cohort):
    outcome = _check(cohort, positive=["tumor"])
    assert _found(outcome) == {"annotations": ("failed", "annotations")}
    assert "tumour" in outcome.rows[0].reason


def test_a_broken_annotation(cohort):
    path = next((cohort / "annotations").glob("*.geojson"))
    path.write_text(json.dumps({"type": "Feature", "geometry": {"type": "Blob"}}))
    assert _found(_check(cohort))[path.stem] == ("failed", "annotations")


def test_too_few_patients_for_the_folds(cohort):
    assert _found(_check(cohort, folds=5)) == {"splits": ("failed", "splits")}


@pytest.mark.parametrize("settings", [{"labels": Path("nowhere.csv")}, {"label": "grade"}, {"labels": None}])
def test_labels_that_cannot_be_read_do_not_hide_the_slides(cohort, settings):
    (cohort / "slides" / "P01_1.tif").write_bytes(b"not a slide")
    found = _found(_check(cohort, **settings))
    assert found == {"labels": ("failed", "labels"), "P01_1": ("failed", "open")}


def test_nothing_to_look_at(cohort):
    assert _found(_check(cohort, slides=None))["slides"] == ("failed", "open")


def test_the_readers_of_the_slides_and_copies_are_said(cohort, capsys):
    first, *_ = sorted((cohort / "slides").glob("*.tif"))
    shutil.copy(first, cohort / "slides" / "copy.tif")
    outcome = _check(cohort)
    (row,) = [row for row in outcome.rows if first.stem in row.reason or row.name == first.stem]
    assert "the same content as" in row.reason
    said = capsys.readouterr().out
    assert sum(line.startswith("reader ") for line in said.splitlines()) >= 1
    assert "[9: " in said


@pytest.mark.parametrize("crop", [0, 61])
def test_the_same_slide_of_another_patient_is_found_by_what_it_shows(cohort, crop, tmp_path, capsys):
    """Saved anew as another file, whole and cropped by an odd number of pixels."""
    first, *_ = sorted((cohort / "slides").glob("*.tif"))
    with open_slide(first) as slide:
        pixels, mpp = slide.read((0, 0), slide.size, mpp=slide.mpp), slide.mpp
    rows = (cohort / "labels.csv").read_text().splitlines()
    turned = pixels[:, ::-1], pixels[::-1], pixels[::-1, ::-1], pixels.transpose(1, 0, 2)  # which is not seen
    for number, other in enumerate(turned):  # more patients, so that in some fold the two are apart
        write_slide(cohort / "slides" / f"more{number}.tif", other.copy(), mpp=mpp)
        rows.append(f"more{number},Q{number},{('normal', 'tumour')[number % 2]}")
    write_slide(cohort / "slides" / "again.tif", pixels[crop:, crop // 2 :].copy(), mpp=mpp)
    own = next(row.split(",") for row in rows if first.stem in row)
    head = rows[0].split(",")
    rows.append(
        ",".join({"slide_id": "again", "case_id": "Q9", "label": own[head.index("label")]}.get(n, "") for n in head)
    )
    (cohort / "labels.csv").write_text("\n".join(rows) + "\n")
    outcome = _check(cohort, annotations=None, folds=3)
    (row,) = [row for row in outcome.rows if row.stage == "splits"]
    assert row.result == "failed"
    assert f"again and {first.stem}" in row.reason or f"{first.stem} and again" in row.reason
    assert row.reason.count("of the landmarks") == 1
    outcome = _check(cohort, annotations=None, folds=3, allow_duplicates=True)
    assert outcome.whole
    assert any("slides of the same content, of which each counts" in row.reason for row in outcome.rows)


def test_what_was_inferred_of_feature_files_is_said_once_for_all(cohort, tmp_path, capsys):
    folder = tmp_path / "features"
    folder.mkdir()
    for seed, path in enumerate(sorted((cohort / "slides").glob("*.tif"))):
        with h5py.File(folder / f"{path.stem}.h5", "w") as file:
            file["features"] = np.random.default_rng(seed).random((4, 6), dtype=np.float32)
            file["coords"] = np.array([(x * 512, y * 512) for x in range(2) for y in range(2)])
    outcome = _check(cohort, slides=None, features=folder, annotations=None)
    assert outcome.rows == []
    said = capsys.readouterr().out.splitlines()
    facts = "clam: encoder not said, 6 x float32, coordinates in level-0 pixels, tiles of 512 level-0 px [8: "
    assert said[0].startswith("tables: slide = slide_id, patient = case_id, label = label")
    assert said[1].startswith("cohort: 8 slides of")
    assert said[2].startswith("tiles: 32 of 8 slides")
    assert said[3].startswith(facts)
    assert said[4].startswith("  tile side 512 px is the usual distance of neighbours")
    assert len(said) == 5


def _write(
    path: Path, *, encoder: str = "", features: np.ndarray | None = None, coords: np.ndarray | None = None
) -> None:
    with h5py.File(path, "w") as file:
        random = np.random.default_rng(int(path.stem[1:])).random((4, 6), dtype=np.float32)
        file["features"] = random if features is None else features
        if coords is not None:
            file["coords"] = coords
        if encoder:
            file["features"].attrs["encoder"] = encoder


def test_what_no_model_can_learn_from_is_found_before_a_run(tmp_path, capsys):
    rows = [f"S{i:02d},P{i},{'ab'[i % 2]},{i % 3}" for i in range(16)]
    (tmp_path / "labels.csv").write_text("\n".join(["slide,patient,label,fold", *rows]))
    for row in rows:
        _write(tmp_path / f"{row[:3]}.h5", encoder="uni")
    given = {"slides": None, "features": tmp_path, "annotations": None}
    assert _check(tmp_path, **given).whole
    assert "remark: the column fold is not used, folds are drawn; --splits" in capsys.readouterr().out
    assert _check(tmp_path, splits=tmp_path / "labels.csv", **given).whole
    assert "is not used" not in capsys.readouterr().out
    _write(tmp_path / "S03.h5", encoder="uni", features=np.zeros((5, 6), np.float32))
    assert _found(_check(tmp_path, **given))["S03"] == ("failed", "features")
    _write(tmp_path / "S03.h5", encoder="uni_v1")
    assert _check(tmp_path, **given).whole
    _write(tmp_path / "S03.h5", encoder="virchow")
    (row,) = _check(tmp_path, **given).set_aside
    assert "of several encoders" in row.reason
    assert "virchow: 1 slides (S03)" in row.reason
    with pytest.raises(FeatureError, match="of several encoders"):
        train(features=tmp_path, labels=tmp_path / "labels.csv", folds=2, out=tmp_path.parent / "run")


def test_a_slide_whose_numbers_are_a_million_times_larger_is_found_before_a_run(tmp_path):
    rows = [f"S{i:02d},P{i},{'ab'[i % 2]}" for i in range(16)]
    (tmp_path / "labels.csv").write_text("\n".join(["slide,patient,label", *rows]))
    for row in rows:
        _write(tmp_path / f"{row[:3]}.h5")
    given = {"slides": None, "features": tmp_path, "annotations": None}
    random = np.random.default_rng(3).random((4, 6), dtype=np.float32)
    _write(tmp_path / "S03.h5", features=30 * random)
    (row,) = (outcome := _check(tmp_path, **given)).rows
    assert "1 slide of" in row.reason
    assert outcome.whole
    _write(tmp_path / "S03.h5", features=1e6 * random)
    (row,) = (outcome := _check(tmp_path, **given)).rows
    assert (row.stage, outcome.whole) == ("features", False)
    assert "15 slides from" in row.reason
    with pytest.raises(FeatureError, match=r"1 slide of .*e\+05 \(S03\)"):
        train(features=tmp_path, labels=tmp_path / "labels.csv", folds=2, out=tmp_path.parent / "run")


WRONG = {
    "an option that the model has not": ({"model": "abmil", "model_options": {"heads": 3}}, "heads"),
    "heads that fit no width": ({"model": "transformer", "model_options": {"heads": 7}}, "multiple of its heads"),
    "an output folder that holds the features": ({"out": "."}, "lies around"),
    "no such tracker": ({"log_to": ["nowhere"]}, "nowhere"),
    "no such model": ({"model": "abmill"}, "abmill"),
    "no such device": ({"device": "cuda:99"}, "there is no device cuda:99"),
    "a model for classes": ({"model": "dtfd", "task": "regression", "target": ["age"]}, "classification alone"),
    "patients of two labels": ({"bag": "patient"}, "slides of different ones"),
}


@pytest.mark.parametrize("case", WRONG)
def test_check_says_of_the_model_what_crossval_would_say(case, tmp_path, monkeypatch):
    settings, says = WRONG[case]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "features").mkdir()
    labels = ["ab"[i // 2 % 2] for i in range(24)]
    labels[1] = "b" if case.startswith("patients") else labels[1]
    rows = [f"S{i:02d},P{i // 2},{label},{i}" for i, label in enumerate(labels)]
    (tmp_path / "labels.csv").write_text("\n".join(["slide,patient,label,age", *rows]))
    for row in rows:
        _write(tmp_path / "features" / f"{row[:3]}.h5")
    given = {"features": tmp_path / "features", "labels": tmp_path / "labels.csv", "folds": 2}
    assert check_inputs(Settings(**given), Screen(), print).whole
    outcome = check_inputs(Settings(**given, **settings), Screen(), print)
    (row,) = outcome.set_aside
    assert says in row.reason
    with pytest.raises(AsmilError, match=says):
        train(**given, **{"out": tmp_path / "run"} | settings)
    assert not (tmp_path / "run").exists()  # it is said before anything is read or written


def test_tiles_that_say_nothing_are_told_by_check_and_when_a_training_starts(tmp_path):
    """Padding of zeros, a slide joined from two extractions, and one without places: nothing of it is refused, but for
    a model that needs places."""
    rows, random = ["slide,patient,label"], np.random.default_rng(0)
    (tmp_path / "features").mkdir()
    for number in range(16):
        features, xy = random.standard_normal((20, 8), np.float32), np.arange(40).reshape(20, 2) * 256
        features[: 3 * (number == 1)], xy[: 2 * (number == 2)], xy[: 20 * (number == 3)] = 0, xy[19], 0
        _write(tmp_path / "features" / f"S{number:02d}.h5", features=features, coords=xy)
        rows.append(f"S{number:02d},P{number},{'ab'[number % 2]}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    given = {"features": tmp_path / "features", "labels": tmp_path / "labels.csv", "folds": 2}
    outcome = check_inputs(Settings(**given), Screen(), print)
    assert outcome.whole
    (row,) = outcome.rows
    for said in ("(3 in 1 slide: S01 3 of 20)", "(2 in 1 slide: S02 2 of 20)", "(19 in 1 slide: S03 19 of 20)"):
        assert said in row.reason
    training = {"model": "abmil", "epochs": 1, "seeds": 1, "device": "cpu", "workers": 1}
    with pytest.warns(UserWarning, match="S01 3 of 20") as told:
        train(**given, **training, out=tmp_path / "run")
    assert sum("tiles" in str(warning.message) for warning in told) == 3
    (row,) = check_inputs(Settings(**given, model="camil"), Screen(), print).set_aside
    assert "1 of 16 slides: S03" in row.reason
    with pytest.raises(FeatureError, match="1 of 16 slides: S03"):
        train(**given, **training | {"model": "camil"}, out=tmp_path / "other")


def test_where_no_feature_file_is_sound_only_that_is_an_error(tmp_path):
    (tmp_path / "features").mkdir()
    (tmp_path / "labels.csv").write_text("slide,label\nS0,a\nS1,b\n")
    for name in ("S0", "S1"):
        (tmp_path / "features" / f"{name}.h5").touch()
    given = {"features": tmp_path / "features", "labels": tmp_path / "labels.csv", "folds": 2}
    (row,) = check_inputs(Settings(**given), Screen(), print).set_aside
    assert row.name == "features"
    assert "0 bytes" in row.reason
