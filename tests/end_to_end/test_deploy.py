"""New slides through a run: embedded as its own were, predicted as it was evaluated, resumable."""

import json
import shutil
from pathlib import Path

import h5py
import pandas as pd
import pytest

from .conftest import feature_files


@pytest.fixture(scope="module")
def run(unbroken, tmp_path_factory):
    """A copy of the run, into which `predict` writes what it measured."""
    return Path(shutil.copytree(unbroken, tmp_path_factory.mktemp("copied") / "run"))


@pytest.fixture(scope="module")
def predicted(inside, run, cohort, tmp_path_factory):
    """Output folder and messages of predicting the slides that the run was made of."""
    out = tmp_path_factory.mktemp("predicted") / "out"
    done = inside("predict", run, "--slides", cohort / "slides", "--out", out, "--heatmaps", code=1)
    return out, done.stderr


def test_slides_of_the_run_are_predicted_as_at_its_evaluation(predicted, run):
    ours = pd.read_csv(predicted[0] / "predictions.csv", dtype={"slide": str}).set_index("slide")
    theirs = pd.read_csv(run / "predictions.csv", dtype={"slide": str}).set_index("slide")
    assert sorted(ours.index) == sorted(theirs.index)
    for column in [name for name in theirs.columns if name.startswith("prob_")]:
        assert (ours[column] - theirs[column]).abs().max() <= 1e-6
    assert (ours.members == 1).all(), "two folds and a seed: one model never saw a slide"
    assert "predicted by the one member that never saw it" in predicted[1]


def test_heatmaps_are_those_of_the_evaluation(predicted, run, inside):
    slide = feature_files(run)[0].stem
    inside("heatmap", run, "--slide", slide)
    ours, theirs = (
        json.loads((out / "figures" / f"{slide}.geojson").read_text())["features"] for out in (predicted[0], run)
    )
    for tile, expected in zip(ours, theirs, strict=True):
        assert tile["geometry"] == expected["geometry"]
        found, wanted = (square["properties"]["measurements"] for square in (tile, expected))
        assert found["attention_times_uniform"] == pytest.approx(wanted["attention_times_uniform"], abs=1e-4)


def test_what_fails_is_named_and_a_second_call_goes_on(predicted, inside, run, cohort):
    out, told = predicted
    failures = (out / "failures.csv").read_text()
    assert "awkward_truncated" in failures
    assert "awkward_truncated" in told
    files = {path: path.stat().st_mtime_ns for path in (out / ".predicted").glob("*.h5")}
    before = (out / "predictions.csv").read_bytes()
    inside("predict", run, "--slides", cohort / "slides", "--out", out, code=1)
    assert {path: path.stat().st_mtime_ns for path in (out / ".predicted").glob("*.h5")} == files
    assert (out / "predictions.csv").read_bytes() == before


def test_a_slide_that_is_no_more_among_the_slides_is_predicted_no_more(predicted, inside, run, cohort, tmp_path):
    out, kept = shutil.copytree(predicted[0], tmp_path / "out"), tmp_path / "slides"
    kept.mkdir()
    names = pd.read_csv(out / "predictions.csv", dtype={"slide": str}).slide
    for path in (cohort / "slides").iterdir():
        if path.stem in set(names[:2]):
            (kept / path.name).symlink_to(path)
    inside("predict", run, "--slides", kept, "--out", out)
    assert list(pd.read_csv(out / "predictions.csv", dtype={"slide": str}).slide) == list(names[:2])


def test_an_encoder_of_other_weights_is_refused_before_anything_is_embedded(inside, run_copy, cohort, tmp_path):
    for path in feature_files(run_copy):
        with h5py.File(path, "r+") as file:
            settings = json.loads(file.attrs["settings"]) | {"weight_hash": "of another version"}
            for part in (file, file["features"], file["coords"]):
                part.attrs["settings"] = json.dumps(settings)
    out = tmp_path / "out"
    said = inside("predict", run_copy, "--slides", cohort / "slides", "--out", out, code=2).stderr
    assert "weight_hash is" in said
    assert not (out / "features").exists()
