"""Names of slides as names of files, and folders that are links."""

import errno
import os
import subprocess
import sys
import tracemalloc
import unicodedata
from pathlib import Path

import pytest

from asmil.annotations import AnnotationError, find_annotation
from asmil.bags.reading.source import opened
from asmil.errors import AsmilError, FeatureError
from asmil.files import BoundedFile, composed, original_name, safe_name, walk, written_beside
from asmil.slides import scan_slides

NAMES = (
    *("A:1", "A_1", "A%3A1", "A%253A1", "a/b", "a\\b", "50%", "5%0", "100%25", "x y", " x", "x ", ".x", "..", "..."),
    *('b"1?', "<a|b>*", "line\nbreak", "café", "cafe", "Ω:Ω", "%", "%%3", "TCGA-AA-1234-01Z-00-DX1.8923A151"),
)


def test_every_name_has_a_file_name_of_its_own_that_gives_it_back():
    safe = {name: safe_name(name) for name in NAMES}
    assert len({name.casefold() for name in safe.values()}) == len(NAMES)
    assert {name: original_name(one) for name, one in safe.items()} == {name: composed(name) for name in NAMES}
    for one in safe.values():
        assert not set('/\\:*?"<>|\n') & set(one)
        assert not one.startswith((".", " "))


def test_a_plain_name_and_the_name_of_a_file_from_elsewhere_stay_as_they_are():
    for name in ("A_1", "50%", "TCGA-AA-1234-01Z-00-DX1.8923A151-FBD5", "x y"):
        assert safe_name(name) == name
    assert original_name("x%20y") == "x%20y", "we would not have written it so"
    with pytest.raises(AsmilError, match="cannot be used"):
        safe_name("")


def test_names_are_composed_and_bytes_that_are_no_text_can_be_shown():
    assert composed(unicodedata.normalize("NFD", "Ärztin_é")) == "Ärztin_é"
    assert safe_name(unicodedata.normalize("NFD", "é")) == "é"
    assert composed(os.fsdecode(b"bad\xff")).encode()  # a lone surrogate could not be written


def test_linked_folders_are_entered_once(tmp_path):
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    (root / "own").mkdir(parents=True)
    (elsewhere / "below").mkdir(parents=True)
    for number, folder in enumerate((root, root / "own", elsewhere, elsewhere / "below")):
        (folder / f"{number}.txt").touch()
    (root / "a_link").symlink_to(elsewhere)
    (root / "another").symlink_to(elsewhere / "below")
    (root / "a_first").symlink_to(root / "own")
    (elsewhere / "below" / "loop").symlink_to(root)
    (root / "own" / "loop").symlink_to("..")
    files = [here / name for here, _, names in walk(root, closed=[]) for name in names]
    assert sorted(file.name for file in files) == [f"{number}.txt" for number in range(4)]
    assert root / "own" / "1.txt" in files, "not by the link that leads there"


@pytest.mark.parametrize("raised", [RuntimeError("unexpected pos 908032 vs 907920"), OSError("can't write data")])
def test_a_full_disk_is_said_whatever_the_writer_says(tmp_path, monkeypatch, raised):
    def write():
        with written_beside(tmp_path / "a.pt") as partial:
            partial.write_bytes(b"half")
            raise raised

    def fails(*, full):
        monkeypatch.setattr("os.fsync", refuse if full else lambda handle: None)
        with pytest.raises((OSError, RuntimeError)) as said:
            write()
        assert list(tmp_path.iterdir()) == []
        return said.value

    def refuse(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    full = fails(full=True)
    assert (full.errno, full.filename) == (errno.ENOSPC, str(tmp_path / "a.pt"))
    assert full.__cause__ is raised
    assert fails(full=False) is raised


def test_hdf5_on_a_full_disk_is_an_error_of_the_file_and_not_the_end_of_the_process(tmp_path):
    """A limit on the size of files stands for the disk: h5py.File on a path ends such a process by a signal."""
    script = """
import resource, signal, sys
import numpy as np
from asmil.files import new_hdf5
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
for form in ({}, {"chunks": (1, 100)}, {"chunks": (10, 100), "compression": "gzip"}):
    try:
        with new_hdf5(sys.argv[1] + "/a.h5") as file:
            file.create_dataset("features", data=np.random.default_rng(0).random((1000, 100)), **form)
            file["features"].attrs["note"] = "x" * 300
    except OSError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("File too large") == done.stdout.count(str(tmp_path / "a.h5")) == 3
    assert not list(tmp_path.iterdir())


def test_a_file_is_asked_for_no_more_than_it_has(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    tracemalloc.start()
    with BoundedFile(tmp_path / "a") as file:
        assert (file.read(2), file.read(1 << 31), file.read(1 << 31), file.read()) == (b"12", b"345", b"", b"")
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_a_folder_that_may_not_be_read_is_told_and_those_of_systems_are_not(tmp_path, monkeypatch):
    for name in ("a", "b", ".hidden", "lost+found"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    listed = os.scandir

    def refused(path):
        if Path(path).name != "a" and Path(path) != tmp_path:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr("os.scandir", refused)
    closed = []
    assert [files for _, _, files in walk(tmp_path, closed=closed)] == [[], ["file"]]
    assert closed == [tmp_path / "b"]
    with pytest.raises(FeatureError, match=r"the folder .*b may not be read"), opened(tmp_path / "b"):
        pass
    assert scan_slides(tmp_path) == [tmp_path / "b"]
    monkeypatch.setattr(Path, "iterdir", refused)
    with pytest.raises(AnnotationError, match=r"the folder .*b may not be read"):
        find_annotation(tmp_path / "b", "s")
