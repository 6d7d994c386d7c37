"""Every command once, by itself, on the shared cohort or run."""

import csv
import json

import h5py
import numpy as np
import pytest

from asmil.bags import open_features

from .conftest import feature_files, flags, store_of


def test_tissue_then_embed(inside, cohort, unbroken, tmp_path):
    inside("tissue", "--slides", cohort / "slides", "--out", tmp_path, code=1)
    outlines = {path.stem for path in (tmp_path / "tissue").glob("*.geojson")}
    assert {path.stem for path in feature_files(unbroken)} <= outlines
    inside("embed", "--slides", cohort / "slides", "--out", tmp_path, "--tile-px", 64, code=1)
    for path in feature_files(unbroken):
        with h5py.File(path) as ours, h5py.File(store_of(tmp_path) / path.name) as theirs:
            assert np.array_equal(ours["features"][:], theirs["features"][:])


def test_step_by_step_is_the_run(inside, quick, unbroken, tmp_path):
    """crossval, evaluate, heatmap and report on extracted features give the numbers of `asmil run`."""
    out = tmp_path / "run"
    training = {name: quick[name] for name in ("labels", "folds", "seeds", "epochs", "patience", "workers")}
    inside("crossval", "--features", store_of(unbroken), *flags(training), "--out", out)
    truth = {name: quick[name] for name in ("annotations", "positive", "bootstrap")}
    shown = inside("evaluate", out, *flags(truth)).stdout
    assert "auroc" in shown
    assert (out / "predictions.csv").read_bytes() == (unbroken / "predictions.csv").read_bytes()
    ours, theirs = (json.loads((run / "metrics.json").read_text()) for run in (out, unbroken))
    assert {k: v for k, v in ours.items() if k != "seconds"} == {k: v for k, v in theirs.items() if k != "seconds"}
    slide = first_slide(out)
    drawn = inside("heatmap", out, "--slide", slide).stdout
    assert slide in drawn
    assert (out / "figures" / f"{slide}.geojson").exists()
    page = inside("report", out, "--heatmaps", 1).stdout
    assert str(out / "report.html") in page
    assert (out / "report.html").exists()


def first_slide(run) -> str:
    """The first slide of the predictions."""
    with (run / "predictions.csv").open() as file:
        return next(csv.DictReader(file))["slide"]


def test_check_names_what_the_run_will_meet(inside, cohort):
    done = inside("check", "--slides", cohort / "slides", "--labels", cohort / "labels.csv", "--folds", 2, code=1)
    for name in ("awkward_truncated", "awkward_no_mpp"):
        assert name in done.stderr


def test_list_and_doctor(inside):
    assert "colour-texture" in inside("list").stdout
    assert "openslide" in inside("doctor").stdout


def test_what_embed_wrote_is_what_every_reader_sees(unbroken):
    """Ours, and the lines CLAM and TRIDENT read their files with."""
    store = open_features(store_of(unbroken))
    assert store.problems == []
    assert len(store.slides) == 10
    for slide in store.slides:
        bag = store.load(slide)
        with h5py.File(store_of(unbroken) / f"{slide}.h5", "r") as file:
            features, coords = file["features"][:], file["coords"][:]  # CLAM
            side = file["coords"].attrs["patch_size_level0"]  # TRIDENT
        assert np.array_equal(bag.features.numpy().astype(np.float16), features)
        assert np.array_equal(bag.level0_xy.numpy(), coords)
        assert bag.tile_level0_px == pytest.approx(side)
        assert side == 64
        assert features.shape == (len(coords), store.dim)
