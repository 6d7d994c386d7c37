"""Features that cannot be learned from are rows, and what can be mended does not bind --out."""

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


@pytest.mark.parametrize(("workers", "value"), [(1, np.nan), (2, np.inf)])
def test_features_that_are_no_numbers_are_rows_and_the_others_are_learned_from(small, workers, value):
    spoil("s3", value)
    spoil("s8", value)
    for _ in range(2):  # the same command goes on, and says the same
        made = train(**small | {"workers": workers}, listener=Deaf())
        rows = {row.name: row for row in made.outcome.rows}
        assert set(rows) == {"s3", "s8"}
        assert {row.result for row in rows.values()} == {"failed"}
        assert "s3.h5 holds NaN or infinite values" in rows["s3"].reason
        assert "row 7" in rows["s3"].reason
        assert not made.outcome.whole
        assert "s8.h5 holds NaN" in made.failures_file.read_text()
        assert len(made.cohort) == 8
        assert not {"s3", "s8"} & set(made.identity["data"]["features"])


def test_a_chunk_that_is_damaged_is_a_row_too(small):
    with h5py.File("features/s3.h5", "r+") as file:
        shape = file["features"].shape
        del file["features"]
        values = np.random.default_rng(3).normal(size=shape).astype(np.float32)
        data = file.create_dataset("features", data=values, chunks=(8, shape[1]), compression="gzip")
        place = data.id.get_chunk_info(data.id.get_num_chunks() // 2).byte_offset
    with open("features/s3.h5", "r+b") as file:
        file.seek(place)
        file.write(b"\xff" * 40)
    made = train(**small, listener=Deaf())
    (row,) = made.outcome.rows
    assert (row.name, row.result) == ("s3", "failed")
    assert "s3.h5 cannot be read" in row.reason


def test_where_no_slide_can_be_learned_from_nothing_is_written_and_mended_it_goes_on(small):
    names = [path.stem for path in Path("features").glob("*.h5")]
    for name in names:
        spoil(name)
    with pytest.raises(FeatureError, match="10 of 10 slides have features that cannot be learned from"):
        train(**small, listener=Deaf())
    assert not Path("run").exists()
    for name in names:
        write_bag(Path(f"features/{name}.h5"), seed=int(name[1:]))
    assert len(train(**small, listener=Deaf()).cells()) == 2


def test_a_file_of_a_begun_run_that_was_spoiled_stops_it_and_mended_it_goes_on(small):
    train(**small, listener=Deaf())
    whole = Path("features/s3.h5").read_bytes()
    with h5py.File("features/s3.h5", "r+") as file:
        file["features"][0, 3] = np.nan
    with pytest.raises(FeatureError, match="1 of 10 slides have features that cannot be learned from") as error:
        train(**small, listener=Deaf())
    assert "s3.h5" in error.value.found
    Path("features/s3.h5").write_bytes(whole)
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
