"""The fuzz harness reaches every feature format, and tells the outcome of each of its cases."""

import random
import sys
from pathlib import Path

import pytest

from asmil.bags import FEATURE_FORMATS

ROOT = Path(__file__).parents[2]


@pytest.fixture
def subjects(monkeypatch):
    pytest.importorskip("zarr")
    monkeypatch.syspath_prepend(str(ROOT))
    from fuzz.subjects import SUBJECTS

    yield SUBJECTS
    for name in [name for name in sys.modules if name.partition(".")[0] == "fuzz"]:
        del sys.modules[name]


def test_every_feature_format_is_fuzzed(subjects):
    fuzzed = {name.removeprefix("features ") for name in subjects if name.startswith("features ")}
    assert {name.replace(" ", "_") for name in fuzzed} == set(FEATURE_FORMATS.names())


@pytest.mark.parametrize("name", ["labels csv", "features asmil", "features pt", "annotations asap", "slide tiff"])
def test_valid_files_are_read_and_the_same_number_makes_the_same_damage(name, subjects, tmp_path):
    from fuzz.workers import case_of, run_case

    (seed := tmp_path / "seed").mkdir()
    subjects[name].write(seed)
    whole = {path.name: path.read_bytes() for path in seed.iterdir()}
    assert run_case(name, 0, place=seed).outcome == "read"
    made = []
    for place in (tmp_path / "a", tmp_path / "b"):
        case_of(name, 4, seed=seed, place=place)
        random.seed(len(made))
        made.append({path.name: path.read_bytes() for path in place.iterdir()})
    assert made[0] == made[1] != whole
    assert run_case(name, 4, place=tmp_path / "a").outcome in ("read", "refused")


def test_a_valid_run_folder_is_written_and_read(subjects, tmp_path):
    from fuzz.workers import run_case

    subjects["run folder"].write(tmp_path)
    assert run_case("run folder", 0, place=tmp_path).outcome == "read"
