"""The ledger: what is settled and what is not, the table, and equal slides under several names."""

import csv
import json
import os
import time

import pytest

from asmil.extraction import ExtractSettings, SlideResult, content_hash, find_duplicates, note_duplicates, start_time
from asmil.extraction.ledger import CHUNK, Ledger, read_records, write_table
from asmil.slides import SlideFile

SETTINGS = ExtractSettings(mpp=0.5, tile_px=64)


@pytest.fixture
def slide(tmp_path):
    path = tmp_path / "slides" / "one.svs"
    path.parent.mkdir()
    path.write_bytes(b"pixels")
    return SlideFile(path)


@pytest.fixture
def ledger(tmp_path):
    """A function that opens the ledger as a call that begins now would."""

    def start(*stores):
        return Ledger(tmp_path / "out", stores or ("store",), since=start_time(tmp_path / "out"))

    return start


def result(slide, kind, **facts) -> SlideResult:
    return SlideResult(name=slide.name, path=slide.path, result=kind, **facts)


@pytest.mark.parametrize(("kind", "later"), [("ok", False), ("kept", False), ("failed", False), ("skipped", True)])
def test_what_this_call_settled_is_settled_and_of_earlier_calls_only_skips(slide, ledger, kind, later):
    now = ledger()
    assert now.settled(slide, SETTINGS) == ()
    noted = now.note(slide, result(slide, kind, reason="why", tiles=3), settings=SETTINGS)
    assert now.settled(slide, SETTINGS) == noted
    record = now._place(slide, "store")
    os.utime(record, (1, 1))
    assert bool(now.settled(slide, SETTINGS)) == later


@pytest.mark.parametrize(("kind", "later"), [("ok", False), ("failed", False), ("skipped", True)])
def test_what_was_noted_in_the_future_is_not_of_this_call(slide, ledger, kind, later):
    """A clock that was set back makes nothing settled: features that were deleted since are made again."""
    now = ledger()
    now.note(slide, result(slide, kind), settings=SETTINGS)
    tomorrow = time.time() + 86_400
    os.utime(now._place(slide, "store"), (tomorrow, tomorrow))
    assert bool(now.settled(slide, SETTINGS)) == later
    now.note(slide, result(slide, kind), settings=SETTINGS)
    assert now.settled(slide, SETTINGS)


def _other_settings(slide, out):
    return ExtractSettings(mpp=0.5, tile_px=64, slide_mpp=0.25)


def _other_file(slide, out):
    slide.path.write_bytes(b"other pixels")
    return SETTINGS


def _edited_tissue(slide, out):
    (out / "tissue").mkdir()
    (out / "tissue" / "one.geojson").write_text("{}")
    return SETTINGS


@pytest.mark.parametrize("change", [_other_settings, _other_file, _edited_tissue])
def test_a_skip_is_tried_again_when_what_decided_it_changes(slide, ledger, tmp_path, change):
    ledger().note(slide, result(slide, "skipped"), settings=SETTINGS)
    assert ledger().settled(slide, SETTINGS)
    settings = change(slide, tmp_path / "out")
    assert ledger().settled(slide, settings) == ()


def test_a_slide_is_settled_when_it_is_in_every_store(slide, ledger):
    ledger("one").note(slide, result(slide, "skipped"), settings=SETTINGS)
    both = ledger("one", "two")
    assert both.settled(slide, SETTINGS) == ()
    noted = both.note(slide, result(slide, "ok"), settings=SETTINGS)
    assert [record.store for record in noted] == ["one", "two"]
    assert both.settled(slide, SETTINGS) == noted


def test_a_kept_slide_keeps_what_is_known_of_its_extraction(slide, ledger, tmp_path):
    ledger().note(slide, result(slide, "ok", tiles=7, reader="tiff"), settings=SETTINGS)
    now = ledger()
    assert [record.result for record in now.note(slide, result(slide, "kept"), settings=SETTINGS)] == ["kept"]
    assert now.settled(slide, SETTINGS)
    (row,) = csv.DictReader(write_table(tmp_path / "out").open())
    assert (row["result"], row["tiles"], row["reader"]) == ("ok", "7", "tiff")


def test_features_of_another_file_are_not_kept_until_they_are_made_again(slide, ledger):
    both = ("one", "two")
    ledger(*both).note(slide, result(slide, "ok"), settings=SETTINGS)
    os.utime(slide.path, (1, 1))  # copied: another time, the same slide
    assert {one.result for one in ledger(*both).note(slide, result(slide, "kept"), settings=SETTINGS)} == {"kept"}
    slide.path.write_bytes(b"other pixels")
    for _ in range(2):  # and it is told every time
        noted = ledger(*both).note(slide, result(slide, "kept"), settings=SETTINGS)
        assert {one.result for one in noted} == {"failed"}
        assert all("is another slide than the one" in one.reason for one in noted)
    ledger(*both).note(slide, result(slide, "ok"), settings=SETTINGS)
    assert {one.result for one in ledger(*both).note(slide, result(slide, "kept"), settings=SETTINGS)} == {"kept"}


def test_the_table_names_everything_and_which_slides_are_equal(slide, ledger, tmp_path):
    twin = SlideFile(slide.path.with_name("two.svs"))
    twin.path.write_bytes(slide.path.read_bytes())
    groups = note_duplicates(tmp_path / "out", [slide.path, twin.path])
    assert groups == [(slide.path, twin.path)]
    own = ledger()
    own.note(slide, result(slide, "ok", tiles=7, seconds=1.23456), settings=SETTINGS)
    own.note(twin, result(twin, "failed", reason='a, "b"\nc'), settings=SETTINGS, stage="process")
    (tmp_path / "out" / ".state" / "store" / "broken.json").write_text("{")
    first, second = csv.DictReader(write_table(tmp_path / "out").open(newline=""))
    assert (first["slide"], first["result"], first["seconds"], first["same_as"]) == ("one", "ok", "1.235", "")
    assert (second["slide"], second["stage"], second["same_as"]) == ("two", "process", "one")
    assert second["reason"] == 'a, "b"\nc'
    assert first["content"] == second["content"] == content_hash(slide.path)
    assert [record.slide for record in read_records(tmp_path / "out")] == ["one", "two"]


def test_equal_slides_are_found_and_near_ones_told_apart(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    large = bytearray(os.urandom(8 * CHUNK))
    one, two = write("one", large), write("two", large)
    large[2 * CHUNK] ^= 1  # outside the samples
    near = write("near", large)
    large[0] ^= 1
    far = write("far", large)
    empty = [write("e1", b""), write("e2", b"")]
    small = [write("s1", b"abc"), write("s2", b"abc"), write("s3", b"abd")]
    assert content_hash(one) == content_hash(near) != content_hash(far)
    assert content_hash(one, whole=True) != content_hash(near, whole=True)
    absent = tmp_path / "absent"
    assert find_duplicates([one, near, far, two, *empty, *small, absent, one]) == [(one, two), tuple(small[:2])]


def test_a_slide_that_is_a_folder_has_content_too(tmp_path):
    paths = [tmp_path / f"{name}.zarr" for name in "abc"]
    for path in paths:
        (path / "0").mkdir(parents=True)
        (path / "zarr.json").write_text(json.dumps({}))
        (path / "0" / "chunk").write_bytes(b"x" if path is not paths[1] else b"y")
    assert find_duplicates(paths) == [(paths[0], paths[2])]
