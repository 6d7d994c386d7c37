"""`asmil tissue`: pictures to look at, a table to edit, and an edit that arrives in the features."""

import csv

import h5py
import pytest
from PIL import Image


@pytest.fixture
def slides(cmu_slide, tmp_path):
    """A real slide, glass, and a file that is no slide."""
    folder = tmp_path / "slides"
    folder.mkdir()
    (folder / "real.svs").symlink_to(cmu_slide)
    (folder / "broken.svs").write_bytes(b"no slide")
    return folder


def flat(text):
    return " ".join(text.split())


def rows_of(path):
    with path.open(newline="") as file:
        return {row["slide"]: row for row in csv.DictReader(file)}


def test_look_edit_and_embed(slides, tmp_path, inside):
    out, edited = tmp_path / "out", tmp_path / "edited.csv"
    inside("tissue", "--slides", slides, "--out", out, "--mpp", 2, "--tile-px", 64, code=1)
    rows = rows_of(out / "slides.csv")
    assert (rows["real"]["result"], rows["broken"]["result"]) == ("ok", "failed")
    assert (rows["real"]["tissue_method"], rows["real"]["found_polygons"]) == ("otsu", "1")
    assert float(rows["real"]["found_tissue_mm2"]) == pytest.approx(0.665, abs=0.05)
    assert "no reader" in rows["broken"]["reason"]
    with Image.open(out / "tissue" / "real.jpg") as picture:
        assert max(picture.size) == 1600
    assert "perhaps edited" in flat(inside("tissue", "--slides", slides, "--out", out, code=2).output)

    edited.write_text("slide;tissue_threshold;min_area_um2\nreal;60,0;\n")  # as a German spreadsheet saves it
    embed = ("embed", "--slides", slides, "--out", out, "--mpp", 2, "--tile-px", 64)
    inside(*embed, code=1)
    inside(*embed, "--slide-settings", edited, code=1)
    (file,) = (out / "features").rglob("real.h5")
    with h5py.File(file) as features:
        assert '"tissue_threshold": 60.0' in str(features.attrs["settings"])
        strict = len(features["coords"])
    assert strict < 49

    again = ("tissue", "--slides", slides, "--out", out, "--slide-settings", edited)
    inside(*again, code=1)
    assert rows_of(out / "slides.csv")["real"]["tissue_threshold"] == "60"
    edited.write_text("slide,tissue_threshold\nreel,60\n")
    assert "there is no slide 'reel'; did you mean 'real'?" in flat(inside(*again, code=2).output)


def test_a_method_or_flag_that_is_not_there_is_known_before_the_first_slide(slides, tmp_path, inside):
    out = tmp_path / "out"
    assert "otsu" in inside("tissue", "--slides", slides, "--out", out, "--tissue-method", "otzu", code=2).stderr
    inside("tissue", "--slides", slides, "--out", out, "--exclude-tiles", "blurred", code=2)
    assert not out.exists()


def test_what_there_is_to_know_of_a_slide_and_its_outlines_is_said(slides, tmp_path, inside):
    """A scale given over the file's own was said by `embed` alone; outlines that are damaged counted as no tissue."""
    tissue = ("tissue", "--slides", slides, "--out", tmp_path / "out")
    assert "--min-tissue" in inside(*tissue, "--min-tissue", 0, code=2).stderr
    said = inside(*tissue, "--slide-mpp", 1, "--mpp", 1, "--tile-px", 64, "--exclude-tiles", "pen", code=1)
    assert "the file says 0.499 um/px, and it is read at 1, as was given" in flat(said.output)
    assert "tiles that --exclude-tiles leaves out, too" in flat(said.output)
    row = rows_of(tmp_path / "out" / "slides.csv")["real"]
    assert (row["result"], row["found_mpp"]) == ("ok", "1")
    assert "the file says" in row["reason"]

    outlines = tmp_path / "out" / "tissue" / "real.geojson"
    for text, result, expected in (
        ("{", "failed", "not a readable GeoJSON file"),
        ('{"type": "FeatureCollection", "features": []}', "skipped", "draw some in"),
    ):
        outlines.write_text(text, encoding="utf-8")
        (tmp_path / "out" / "slides.csv").unlink()
        inside(*tissue, code=1)
        row = rows_of(tmp_path / "out" / "slides.csv")["real"]
        assert row["result"] == result
        assert expected in row["reason"]
