"""The tissue file of a slide is found again where its settings differ, and never where a person edited it."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from asmil.errors import TissueError
from asmil.extraction import ExtractSettings, tissue_of
from asmil.slides import open_slide, write_slide

SETTINGS = ExtractSettings(mpp=1.0, tile_px=224)


@pytest.fixture
def slide(cmu_slide):
    with open_slide(cmu_slide) as slide:
        yield slide


def test_other_settings_find_other_tissue(slide, tmp_path):
    first = tissue_of(slide, tmp_path, settings=SETTINGS)
    path = tmp_path / "tissue" / f"{slide.name}.geojson"
    written = path.stat().st_mtime_ns
    assert tissue_of(slide, tmp_path, settings=replace(SETTINGS, mpp=2.0)).polygons.equals(first.polygons)
    assert path.stat().st_mtime_ns == written
    strict = tissue_of(slide, tmp_path, settings=replace(SETTINGS, tissue_threshold=60.0))
    assert strict.area_um2 < 0.9 * first.area_um2
    for changed in ({"tissue_method": "whole"}, {"min_area_um2": 1e9}, {"max_hole_um2": 0.0}):
        tissue = tissue_of(slide, tmp_path, settings=replace(SETTINGS, **changed))
        assert tissue.settings == replace(SETTINGS, **changed).tissue
        assert not tissue.polygons.equals(first.polygons)


def test_an_edited_file_is_used_as_it_is(slide, tmp_path):
    first = tissue_of(slide, tmp_path, settings=SETTINGS)
    path = tmp_path / "tissue" / f"{slide.name}.geojson"
    data = json.loads(path.read_text())
    data["features"] = data["features"][:1]
    data["features"][0]["geometry"] = {"type": "Polygon", "coordinates": [[[0, 0], [900, 0], [900, 900], [0, 0]]]}
    path.write_text(json.dumps(data))
    edited = tissue_of(slide, tmp_path, settings=replace(SETTINGS, tissue_method="whole"))
    assert edited.polygons.area == 900 * 900 / 2 != first.polygons.area
    assert json.loads(path.read_text()) == data


def test_outlines_of_another_slide_file_are_not_those_of_this_one(tmp_path):
    """A file exchanged under the same name, of the same size: tiles were cut where the other one had its tissue."""
    for name, left in (("a", 100), ("b", 600)):
        pixels = np.full((800, 1200, 3), 242, np.uint8)
        pixels[100:700, left : left + 500] = (200, 110, 170)
        (tmp_path / name).mkdir()
        write_slide(tmp_path / name / "s.tif", pixels, mpp=0.5)
    out = tmp_path / "out"
    with open_slide(tmp_path / "a" / "s.tif") as slide:
        first = tissue_of(slide, out, settings=SETTINGS)
    with open_slide(tmp_path / "b" / "s.tif") as slide:
        with pytest.raises(TissueError, match=r"s\.geojson was found on another slide than s\.tif is now"):
            tissue_of(slide, out, settings=replace(SETTINGS, tile_px=112))
        (out / "tissue" / "s.geojson").unlink()
        assert not tissue_of(slide, out, settings=SETTINGS).polygons.equals(first.polygons)
    (tmp_path / "a" / "s.tif").unlink()
    shutil.copy(tmp_path / "b" / "s.tif", tmp_path / "a" / "s.tif")  # elsewhere, and the same
    with open_slide(tmp_path / "a" / "s.tif") as slide:
        tissue_of(slide, out, settings=SETTINGS)
