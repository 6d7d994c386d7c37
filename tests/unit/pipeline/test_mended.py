"""What can be mended does not bind --out: features that cannot be learned from, and a training that diverged."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from asmil.errors import AsmilError, FeatureError, RunError
from asmil.runs import train

from .small import Deaf, draw, write_bag

DIVERGES = {"learning_rate": 1e30, "clip_norm": 1e30, "model": "mean", "model_options": {}}


@pytest.fixture
def small(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return draw(tmp_path)


def spoil(slide, value=np.nan):
    with h5py.File(f"features/{slide}.h5", "r+") as file:
        file["features"][7, 3] = value


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("workers", [1, 2])
def test_features_that_are_no_numbers_are_all_named_before_anything_is_written(small, workers, value):
    spoil("s3", value)
    spoil("s8", value)
    with pytest.raises(FeatureError, match="2 of 10 slides have features that cannot be learned from") as error:
        train(**small | {"workers": workers}, listener=Deaf())
    assert all(name in error.value.found for name in ("s3.h5", "s8.h5", "row 7"))
    assert not Path("run").exists()


def test_the_same_command_goes_on_after_the_files_were_mended(small):
    spoil("s3")
    with pytest.raises(FeatureError):
        train(**small, listener=Deaf())
    write_bag(Path("features/s3.h5"), seed=33)
    assert len(train(**small, listener=Deaf()).cells()) == 2


def test_what_was_learned_from_is_not_read_again(small):
    stages = []

    class Hears(Deaf):
        def stage(self, what, **options):
            stages.append(what)
            return super().stage(what, **options)

    for _ in range(2):
        train(**small, listener=Hears())
    assert stages.count("read the features") == 1


def test_a_run_of_which_every_training_diverged_goes_on_with_other_settings(small):
    with pytest.raises(AsmilError, match="2 of 2 trainings failed") as error:
        train(**small | DIVERGES, listener=Deaf())
    assert "another" in error.value.fix
    assert "--partial" in error.value.fix
    made = train(**small | DIVERGES | {"learning_rate": 1e-3}, listener=Deaf())
    assert len(made.cells()) == 2
    assert made.settings.learning_rate == 1e-3


def test_one_with_finished_models_keeps_them_and_needs_another_folder(small, tmp_path):
    made = train(**small, listener=Deaf())
    for file in (tmp_path / "run/folds/1").rglob("*"):
        if file.is_file():
            file.unlink()
    before = {path: path.stat().st_mtime_ns for path in made.cell(0, 0).folder.iterdir()}
    with pytest.raises(RunError, match="learning_rate was") as error:
        train(**small | {"learning_rate": 3e-3}, listener=Deaf())
    assert "another --out" in error.value.fix
    assert {path: path.stat().st_mtime_ns for path in made.cell(0, 0).folder.iterdir()} == before
    assert made.evaluate(partial=True)["test"]


def test_a_file_that_cannot_be_read_is_told_as_that(small):
    path = Path("features/s3.h5")
    path.write_bytes(path.read_bytes()[:1000])
    made = train(**small, listener=Deaf())
    (row,) = [row for row in made.outcome.rows if row.name == "s3"]
    assert row.result == "failed"
    assert "s3.h5 cannot be read" in row.reason
    assert not [row for row in made.outcome.rows if "no file" in row.reason]
