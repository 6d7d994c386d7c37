"""Texts in HDF5 files: what is not as its library writes it is tried in another process, which has an end."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from asmil.bags import open_features
from asmil.bags.reading import heaps
from asmil.bags.reading.heaps import require_readable_texts
from asmil.errors import FeatureError


@pytest.fixture
def feature_file(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["features"] = np.ones((20, 8), np.float32)
        file.attrs.update(encoder="uni", note="x" * 3000, empty="")
        file["names"] = ["a", "bc", "d" * 5000]
        for step in range(300):
            file.attrs["changed"] = "y" * step
        del file.attrs["note"]
    return path


def _forbidden(*args, **kwargs):
    raise AssertionError("it is tried")


def test_what_the_library_wrote_is_not_tried(feature_file, monkeypatch):
    monkeypatch.setattr(heaps.subprocess, "run", _forbidden)
    assert len(list(heaps._heaps(feature_file))) > 1
    require_readable_texts(feature_file)
    assert open_features(feature_file.parent).slides == ["a"]


def test_what_looks_like_a_damaged_text_but_is_none_is_read(feature_file):
    with feature_file.open("ab") as file:
        file.write(b"GCOL" + bytes(500))
    require_readable_texts(feature_file)
    assert open_features(feature_file.parent).slides == ["a"]


def test_texts_that_take_too_long_are_refused(feature_file, monkeypatch):
    with feature_file.open("ab") as file:
        file.write(b"GCOL" + bytes(500))
    monkeypatch.setattr(heaps, "_TRY", heaps._TRY.replace("with h5py.File", "while True:\n    pass\nwith h5py.File"))
    with pytest.raises(FeatureError, match="texts that HDF5 reads without end"):
        require_readable_texts(feature_file)


def test_a_file_that_may_not_be_read_is_one_row(feature_file, monkeypatch):
    shutil.copy(feature_file, feature_file.with_name("b.h5"))
    as_root = Path.open

    def opened(self, *args, **kwargs):
        if self.name == "b.h5":
            raise PermissionError(13, "Permission denied", str(self))
        return as_root(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", opened)
    store = open_features(feature_file.parent)
    assert store.slides == ["a"]
    assert ["Permission denied" in problem.what for problem in store.problems] == [True]
