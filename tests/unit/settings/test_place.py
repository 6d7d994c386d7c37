"""Where a run is written: apart from what it reads, and where one may write."""

import os
from pathlib import Path

import pytest

from asmil.errors import ConfigError
from asmil.settings import Settings, described, require_place

IN_ONE_ANOTHER = {
    "is the slides": ({"slides": "a", "out": "a"}, "is the folder of --slides"),
    "in the slides": ({"slides": "a", "out": "a/b/run"}, "lies in the folder of --slides"),
    "is the features": ({"features": "a", "out": "../x/a"}, "is the folder of --features"),
    "in the features": ({"features": "a", "out": "a/run"}, "lies in the folder of --features"),
    "around the features": ({"features": "a/b/c", "out": "a"}, "lies around the folder of --features"),
    "a link to them": ({"features": "a", "out": "link"}, "is the folder of --features"),
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    (tmp_path / "x" / "a" / "b" / "c").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "x")
    Path("link").symlink_to("a")


@pytest.mark.parametrize("case", IN_ONE_ANOTHER)
def test_out_and_inputs_do_not_lie_in_one_another(case):
    given, says = IN_ONE_ANOTHER[case]
    with pytest.raises(ConfigError, match=says) as error:
        require_place(Settings(**given))
    assert "choose another --out" in error.value.fix


@pytest.mark.parametrize(
    "given", [{"slides": "a/b", "out": "a"}, {"features": "a/b", "out": "a/c"}, {"slides": "a", "out": "a2"}], ids=str
)
def test_beside_one_another_they_may_lie_and_slides_within_it(given):
    require_place(Settings(**given))


def test_a_folder_that_cannot_be_written_to_is_refused(monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "a")
    with pytest.raises(ConfigError, match="--out a/run cannot be written to"):
        require_place(Settings(out="a/run"))


def test_no_number_of_processes_is_shown_as_auto():
    shown = {one.name: (one.value, one.unit) for one in described(Settings(slide_workers=2))}
    assert shown["workers"] == ("auto", "")
    assert shown["slide_workers"] == (2, "processes")
