"""The index beside a large store: it saves opening files, and never says what a file was before."""

import json
import os
import shutil
import time

import h5py
import numpy as np
import pytest

from asmil.bags import open_features
from asmil.bags.reading import places


def _write(path, tiles=4, width=3):
    with h5py.File(path, "w") as file:
        file["features"] = np.full((tiles, width), 0.5, np.float16)
        file["coords"] = np.zeros((tiles, 2), np.int64)
        file.attrs["format"] = "asmil"
    path.write_bytes(path.read_bytes().ljust(8000, b"\0"))  # all of one size


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Three files old enough for an index, which is worth it from two files on."""
    monkeypatch.setattr(places, "WORTH_AN_INDEX", 2)
    monkeypatch.setattr("asmil.files.RACE_S", 0.0)
    folder = tmp_path / "features"
    folder.mkdir()
    for name in "abc":
        _write(folder / f"{name}.h5")
    time.sleep(0.05)
    return folder


@pytest.fixture
def opened(monkeypatch):
    """The names of the files that are opened from here on."""
    names, original = [], places.opened

    def note(path):
        names.append(path.name)
        return original(path)

    monkeypatch.setattr(places, "opened", note)
    return names


def _shapes(folder):
    store = open_features(folder)
    return {slide: store.shape(slide) for slide in store.slides}


def test_a_second_opening_opens_no_file_and_says_the_same(folder, opened):
    first = _shapes(folder)
    assert opened == ["a.h5", "b.h5", "c.h5"]
    assert _shapes(folder) == first == dict.fromkeys("abc", (4, 3))
    assert len(opened) == 3
    assert open_features(folder).load("b").features.shape == (4, 3)


@pytest.mark.parametrize("how", ["written", "same size and time", "replaced", "damaged", "removed"])
def test_what_has_changed_is_read_anew(folder, opened, how):
    _shapes(folder)
    path, stat = folder / "b.h5", (folder / "b.h5").stat()
    if how == "removed":
        path.unlink()
    elif how == "damaged":
        path.write_bytes(path.read_bytes()[:2000])
    elif how == "replaced":
        _write(folder / "new", tiles=7)
        (folder / "new").replace(path)
    else:
        _write(path, tiles=5)
    if how == "same size and time":  # as `cp -p` and `rsync -t` leave it
        assert path.stat().st_size == stat.st_size
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    del opened[:]
    store = open_features(folder)
    assert opened == ([] if how == "removed" else ["b.h5"])
    assert store.slides == (["a", "c"] if how in ("removed", "damaged") else ["a", "b", "c"])
    assert [problem.slide for problem in store.problems] == (["b"] if how == "damaged" else [])
    if how not in ("removed", "damaged"):
        assert store.shape("b") == ((7 if how == "replaced" else 5), 3)


def test_a_file_that_was_just_written_is_not_trusted(folder, opened, monkeypatch):
    monkeypatch.setattr("asmil.files.RACE_S", 60.0)
    _shapes(folder)
    _shapes(folder)
    assert len(opened) == 6


def test_a_file_with_a_fault_or_a_link_elsewhere_is_opened_each_time(folder, opened, tmp_path):
    with h5py.File(folder / "d.h5", "w") as file:
        file["features"] = np.zeros((0, 3), np.float16)
        file.attrs["format"] = "asmil"
    _write(tmp_path / "far.h5")
    with h5py.File(folder / "e.h5", "w") as file:
        file["features"] = h5py.ExternalLink(str(tmp_path / "far.h5"), "features")
        file.attrs["format"] = "asmil"
    time.sleep(0.05)
    first = open_features(folder)
    del opened[:]
    second = open_features(folder)
    assert opened == ["d.h5", "e.h5"]
    assert [p.slide for p in second.problems] == [p.slide for p in first.problems] == ["d"]


@pytest.mark.parametrize("said", ["", "[]", '{"version": 1}', '{"version": "x", "files": {"a.h5": [1]}}'])
def test_an_index_that_is_none_is_no_error(folder, opened, said):
    _shapes(folder)
    (folder / places.INDEX).write_text(said)
    assert _shapes(folder) == dict.fromkeys("abc", (4, 3))
    assert len(opened) == 6


def test_an_index_goes_where_its_folder_goes_and_is_made_anew_there(folder, opened, tmp_path):
    _shapes(folder)
    copy = shutil.copytree(folder, tmp_path / "copy")
    time.sleep(0.05)
    assert _shapes(copy) == dict.fromkeys("abc", (4, 3))
    assert len(opened) == 6
    index = json.loads((copy / places.INDEX).read_text())
    index["files"]["a.h5"][1] = "nonsense"
    (copy / places.INDEX).write_text(json.dumps(index))
    assert _shapes(copy) == dict.fromkeys("abc", (4, 3))


def test_a_small_folder_gets_none(tmp_path):
    _write(tmp_path / "a.h5")
    _shapes(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]
