"""New slides of a run that was given features: prepared as these were, or refused before one is opened."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from asmil.errors import ConfigError, RunError
from asmil.runs import evaluate, extract, predict, run, train
from asmil.slides.synthetic import make_slides

from .small import SMALL, Deaf, blank_figures, draw


@pytest.fixture(autouse=True)
def _blank():
    with blank_figures():
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, dict]:
    """A folder with drawn slides, the features `embedded/` of them, two `new/` slides, and a run of the features."""
    folder = tmp_path_factory.mktemp("made")
    with blank_figures() as patched:
        patched.chdir(folder)
        make_slides(Path(), patients=8, slides_per_patient=(1, 1), size_px=(620, 600), awkward=False)
        tiles = {"tile_px": 32, "mpp": 1.0, "min_tissue": 0.05}
        features = extract(slides="slides", out="embedded", **tiles).features
        settings = SMALL | {"features": str(features), "labels": "labels.csv", "out": "run"}
        train(**settings, listener=Deaf())
        evaluate("run", listener=Deaf())
        Path("new").mkdir()
        for number, file in enumerate(sorted(Path("slides").glob("*.tif"))[:2]):
            shutil.copyfile(file, f"new/n{number}.tif")
    return folder, settings


def test_slides_are_prepared_as_the_features_say(again):
    found = predict("run", "new", out="by_slides", listener=Deaf()).table
    assert list(found["in_cohort_as"]) == sorted(file.stem for file in Path("slides").glob("*.tif"))[:2]
    new = extract(slides="new", out="new_features", tile_px=32, mpp=1.0, min_tissue=0.05).features
    by_features = predict("run", features=new, out="by_features", listener=Deaf()).table
    assert list(found["tiles"]) == list(by_features["tiles"])
    np.testing.assert_array_equal(found.filter(like="prob_"), by_features.filter(like="prob_"))


@pytest.mark.parametrize(("name", "value"), [("mpp", 2.0), ("tile_px", 48), ("overlap_px", 8)])
def test_tiles_cannot_be_chosen_which_is_said_before_a_slide_is_opened(again, name, value):
    with pytest.raises(ConfigError, match="cannot be chosen") as caught:
        predict("run", "new", out="other", listener=Deaf(), **{name: value})
    assert str(caught.value.found).startswith(f"{name} {value}, the run's is ")
    assert not Path("other/features").exists()


def test_features_that_do_not_say_how_they_were_made_need_features(tmp_path, monkeypatch, made):
    monkeypatch.chdir(tmp_path)
    run(**draw(tmp_path), listener=Deaf())
    with pytest.raises(ConfigError, match="do not say how slides are prepared") as caught:
        predict("run", made[0] / "new", out="other", listener=Deaf())
    assert "encoder, mpp" in caught.value.found
    assert "--features" in caught.value.fix


def test_a_folder_without_slides_predicts_nothing(again):
    Path("nothing").mkdir()
    with pytest.raises(RunError, match="no slide could be predicted") as none:
        predict("run", "nothing", out="other", listener=Deaf())
    assert "feature files by --features" in none.value.fix


def test_what_is_no_list_of_names_is_told(again):
    with pytest.raises(ConfigError, match="accept cannot be"):
        predict("run", "new", accept="mpp", listener=Deaf())
