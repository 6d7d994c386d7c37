"""Flags of extraction: shards, workers, encoders, and settings slide by slide."""

from pathlib import Path

import pandas as pd
import pytest

from asmil.bags import read_cohort
from asmil.errors import ConfigError
from asmil.extraction import EncoderChoice
from asmil.progress import Outcome, Screen
from asmil.runs import extract
from asmil.settings import extract_folder, load_settings, slide_files_of
from asmil.settings.extraction import shard_of
from asmil.slides import SlideFile

SLIDES = [Path(f"{i:02}.svs") for i in range(10)]


@pytest.fixture
def array(monkeypatch):
    """A function that makes this process task `number` of a SLURM array."""

    def be(number, *, first=1, count=4, step=1):
        for name, value in (("ID", number), ("MIN", first), ("COUNT", count), ("STEP", step)):
            monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", str(value))

    for name in ("ID", "MIN", "COUNT", "STEP"):
        monkeypatch.delenv(f"SLURM_ARRAY_TASK_{name}", raising=False)
    return be


def test_a_folder_without_slides_is_an_error_that_says_what_is_there(tmp_path):
    for name in ("a.vsi", "b.vsi", "README"):
        (tmp_path / name).touch()
    with pytest.raises(ConfigError, match=r"no slides.*\(2 \.vsi, 1 without suffix\)"):
        slide_files_of(load_settings(None, {"slides": tmp_path, "out": tmp_path / "out"}, flags=False))


def test_shards_are_all_slides_each_once():
    assert shard_of(SLIDES, None) == SLIDES
    shards = [shard_of(SLIDES, f"{i}/3") for i in (1, 2, 3)]
    assert sorted(path for shard in shards for path in shard) == SLIDES
    assert [len(shard) for shard in shards] == [4, 3, 3]


def test_a_shard_without_slides_says_so(tmp_path):
    (tmp_path / "slides").mkdir()
    for name in "abc":
        (tmp_path / "slides" / f"{name}.tif").write_bytes(b"II*\0")
    with pytest.raises(ConfigError, match="no slide is in this shard") as caught:
        extract(slides=tmp_path / "slides", out=tmp_path / "out", shard="4/5", device="cpu")
    assert caught.value.found == "4/5 of 3 files"


@pytest.mark.parametrize(("first", "step"), [(1, 1), (0, 1), (5, 3)])
def test_the_tasks_of_an_array_are_its_shards(array, first, step):
    found = []
    for task in range(4):
        array(first + task * step, first=first, step=step)
        found.append(shard_of(SLIDES, "slurm"))
    assert found == [shard_of(SLIDES, f"{i}/4") for i in (1, 2, 3, 4)]


def test_an_array_with_gaps_and_no_array_are_refused(array):
    with pytest.raises(ConfigError, match="job array"):
        shard_of(SLIDES, "slurm")
    array(9, count=3)  # --array=1,5,9
    with pytest.raises(ConfigError, match="gaps"):
        shard_of(SLIDES, "slurm")


@pytest.mark.parametrize("shard", ["0/4", "5/4", "1/0", "1", "a/b", "-1/4"])
def test_a_shard_that_is_none_is_refused(shard):
    with pytest.raises(ConfigError, match="shard"):
        load_settings(None, {"shard": shard})


@pytest.fixture
def job(monkeypatch, tmp_path):
    """A function that returns the work (and the keywords beside it) that settings lead to."""

    def of(slide_mpp=None, **settings):
        cohort = None
        if slide_mpp is not None:
            rows = [(path.stem, "ab"[i % 2], slide_mpp.get(path.stem, "")) for i, path in enumerate(SLIDES)]
            cohort = read_cohort(pd.DataFrame(rows, columns=["slide", "label", "mpp"]))
        seen = {}
        monkeypatch.setattr(
            "asmil.extraction.extract_folder", lambda job, **options: seen.update(options, job=job) or iter([])
        )
        config = load_settings(None, {"slides": tmp_path, "device": "cpu", **settings})
        slides = [tmp_path / path for path in SLIDES]
        told = {"settings": config, "outcome": Outcome(), "hear": Screen()}
        stores = extract_folder(slides, tmp_path / "out", **told, cohort=cohort)
        assert stores == []
        return seen

    for path in SLIDES:
        (tmp_path / path).write_bytes(path.name.encode())
    return of


def test_settings_reach_the_workers(job):
    seen = job(
        encoder="uni",
        also_encoder=["virchow2", "uni"],
        encoder_precision="fp32",
        stain="reinhard",
        exclude_tiles=["blur", "pen"],
        reader="openslide",
        tile_batch=7,
        slide_workers=3,
        engine="ray",
        shard="2/5",
    )
    work = seen["job"]
    assert (seen["workers"], seen["engine"]) == (3, "ray")
    assert [slide.path.name for slide in work.slides] == ["01.svs", "06.svs"]
    assert work.encoders == tuple(EncoderChoice(n, precision="fp32", stain="reinhard") for n in ("uni", "virchow2"))
    assert (work.settings.exclude, work.settings.reader, work.batch_size) == (("blur", "pen"), "openslide", 7)


def test_the_table_of_settings_wins_over_the_labels_and_those_over_flags(job, tmp_path):
    table = tmp_path / "slides.csv"
    table.write_text("slide,objective,exclude\n01,40,blur\n02,,pen\n")
    work = job({"01": 0.3, "02": 0.4}, objective=20, slide_settings=table, exclude_tiles=["fold"])["job"]
    found = [work.settings_of(SlideFile(path)) for path in SLIDES[:4]]
    assert [(one.slide_mpp, one.objective) for one in found] == [(None, 20), (None, 40), (0.4, None), (None, 20)]
    assert [one.exclude for one in found] == [("fold",), ("blur",), ("pen",), ("fold",)]


def test_equal_slides_are_told(job, tmp_path, capsys):
    (tmp_path / "04.svs").write_bytes((tmp_path / "02.svs").read_bytes())
    job()
    told = capsys.readouterr().err
    assert "the same slide under several names" in told
    assert "02.svs" in told
    assert "04.svs" in told
