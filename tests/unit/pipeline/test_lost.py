"""A slide that extraction loses is in no result, also where features of before lie there."""

import json
import shutil
from pathlib import Path

import h5py
import pandas as pd
import pytest

from asmil.runs import extract, run
from asmil.slides.synthetic import make_slides

from .small import SMALL, Deaf, blank_figures

EMPTY = '{"type": "FeatureCollection", "features": []}'


@pytest.fixture(autouse=True)
def _blank():
    with blank_figures():
        yield


@pytest.fixture
def own(tmp_path, monkeypatch) -> dict:
    """Settings of a run of ten drawn slides, which are in the current folder."""
    monkeypatch.chdir(tmp_path)
    make_slides(Path(), patients=10, slides_per_patient=(1, 1), size_px=(620, 600), awkward=False)
    own = {"slides": "slides", "labels": "labels.csv", "tile_px": 32, "mpp": 1.0, "min_tissue": 0.05, "out": "run"}
    return SMALL | own


def test_a_slide_that_was_exchanged_or_has_no_tissue_now_is_not_learned_from(own):
    extracted = extract(**{name: own[name] for name in ("slides", "out", "tile_px", "mpp", "min_tissue")})
    other, emptied, *_, last = sorted(Path("slides").glob("*.tif"))
    shutil.copyfile(last, other)
    Path(f"run/tissue/{emptied.stem}.geojson").write_text(EMPTY)
    made = run(**own, listener=Deaf())
    assert made.outcome.counts == {"ok": 8, "skipped": 1, "failed": 1}
    assert {row.name: row.result for row in made.outcome.set_aside} == {other.stem: "failed", emptied.stem: "skipped"}
    assert len(list(extracted.features.glob("*.h5"))) == 10, "features are never taken away"
    assert not {other.stem, emptied.stem} & set(made.cohort["slide"])
    assert len(made.cohort) == 8


def test_a_run_that_learned_from_it_keeps_what_it_has_and_names_the_slide(own):
    before = run(**own, listener=Deaf()).predictions
    other, *_, last = sorted(Path("slides").glob("*.tif"))
    shutil.copyfile(last, other)
    again = run(**own, listener=Deaf())
    assert [row.name for row in again.outcome.set_aside] == [other.stem]
    assert f"{other.name} is another slide than" in again.outcome.set_aside[0].reason
    pd.testing.assert_frame_equal(again.predictions, before)


def test_it_has_no_row_among_predictions(own):
    made = run(**own, listener=Deaf())
    Path("new").mkdir()
    for number, file in enumerate(sorted(Path("slides").glob("*.tif"))[:3]):
        shutil.copyfile(file, f"new/n{number}.tif")
    first = made.predict("new", out="predicted", listener=Deaf())
    assert list(first.table["slide"]) == ["n0", "n1", "n2"]
    Path("predicted/tissue/n0.geojson").write_text(EMPTY)
    outside = json.loads(Path("predicted/tissue/n1.geojson").read_text())
    ring = [[-300, -300], [-100, -300], [-100, -100], [-300, -100], [-300, -300]]
    outside["features"] = [outside["features"][0] | {"geometry": {"type": "Polygon", "coordinates": [ring]}}]
    Path("predicted/tissue/n1.geojson").write_text(json.dumps(outside))
    again = made.predict("new", out="predicted", listener=Deaf())
    assert {row.name: row.result for row in again.outcome.set_aside} == {"n0": "skipped", "n1": "failed"}
    assert list(again.table["slide"]) == list(pd.read_csv("predicted/predictions.csv")["slide"]) == ["n2"]
    with h5py.File("predicted/attention.h5") as file:
        assert list(file) == ["n2"]


def test_a_slide_without_a_file_now_is_named_where_its_features_of_before_are_learned_from(own):
    """What the tables say first, that it is left out, is true of files alone."""
    extract(**{name: own[name] for name in ("slides", "out", "tile_px", "mpp", "min_tissue")})
    gone = sorted(Path("slides").glob("*.tif"))[0]
    gone.unlink()
    for _ in range(2):
        made = run(**own, listener=Deaf())
        assert gone.stem in set(made.cohort["slide"])
        (row,) = [row for row in made.outcome.rows if row.name == gone.stem]
        assert "its features of an earlier call are learned from" in row.reason
        assert made.outcome.counts == {"ok": 10, "skipped": 0, "failed": 0}
