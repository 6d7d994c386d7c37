"""Tissue as QuPath exports it after editing: ids, classes within classes, Ignore*, holes, parts, detections."""

import json

import numpy as np
import pytest
import shapely
from shapely.geometry import box, mapping

from asmil.errors import TissueError
from asmil.slides import open_slide
from asmil.tiles import EDITED, Tissue, find_tissue

SIZE, MPP = (1000, 800), 0.5


def annotation(geometry, classification=None, *, kind="annotation"):
    """A feature as QuPath 0.5 writes it."""
    properties = {"objectType": kind, "name": "Region 1", "isLocked": True}
    if classification is not None:
        properties["classification"] = classification | {"color": [160, 90, 160]}
    return {
        "type": "Feature",
        "id": "2f8ab4c6-5f2e-4d3a-9a44-0b6f5b0c7a11",
        "geometry": mapping(geometry) | {"plane": {"c": -1, "z": 0, "t": 0}},
        "properties": properties,
    }


def load(tmp_path, *features):
    path = tmp_path / "exported.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": list(features)}))
    return Tissue.load(path, slide_size=SIZE, slide_mpp=MPP)


def test_ignored_regions_are_cut_out_wherever_they_are_in_the_file(tmp_path):
    pen = annotation(box(50, 0, 100, 100), {"name": "Ignore*"})
    whole = annotation(box(0, 0, 100, 100), {"name": "Tissue"})
    for features in ((pen, whole), (whole, pen)):
        found = load(tmp_path, *features)
        assert found.polygons.equals(box(0, 0, 50, 100))
        assert found.area_um2 == 50 * 100 * MPP**2
    split = load(tmp_path, whole, annotation(box(40, -1, 60, 101), {"name": "Ignore*"}))
    assert len(split.polygons.geoms) == 2
    assert load(tmp_path, annotation(box(0, 0, 10, 10)), pen).polygons.area == 100  # tissue without a class
    assert load(tmp_path, whole, annotation(box(0, 0, 999, 700), {"name": "Ignore*"})).polygons.is_empty


@pytest.mark.parametrize("classification", [{"name": "Tissue: Fat"}, {"names": ["Tissue", "Fat"]}, {"name": "tissue"}])
def test_subclasses_are_tissue(tmp_path, classification):
    tumour = annotation(box(500, 500, 600, 600), {"names": ["Tumor", "Tissue"]})
    assert load(tmp_path, annotation(box(0, 0, 10, 10), classification), tumour).polygons.area == 100


def test_parts_with_holes(tmp_path):
    ring = box(0, 0, 100, 100) - box(20, 20, 40, 40)
    both = load(tmp_path, annotation(shapely.MultiPolygon([ring, box(200, 200, 220, 220)]), {"name": "Tissue"}))
    assert both.polygons.area == 100 * 100 - 20 * 20 + 20 * 20
    assert len(both.polygons.geoms) == 2
    assert both.polygons.is_valid


def test_cells_are_not_tissue(tmp_path):
    cells = [annotation(box(x, 300, x + 10, 310), kind=kind) for x, kind in ((0, "cell"), (50, "detection"))]
    assert load(tmp_path, annotation(box(0, 0, 10, 10)), *cells).polygons.area == 100
    with pytest.raises(TissueError, match="detections only"):
        load(tmp_path, *cells)


def test_an_edit_is_told_from_what_was_found(tmp_path, cmu_slide):
    path = tmp_path / "found.geojson"
    with open_slide(cmu_slide) as slide:
        found = find_tissue(slide, method="entropy", threshold=1.2)
    found.save(path)
    back = Tissue.load(path, slide_size=found.slide_size, slide_mpp=found.slide_mpp)
    assert back.settings == found.settings
    assert back.settings["method"] == "entropy"
    data = json.loads(path.read_text())
    data["features"][0]["geometry"]["coordinates"][0] = np.array(box(0, 0, 90, 90).exterior.coords).tolist()
    path.write_text(json.dumps(data))
    assert Tissue.load(path, slide_size=found.slide_size, slide_mpp=found.slide_mpp).settings == EDITED
    del data["asmil"]  # QuPath keeps nothing it does not know
    path.write_text(json.dumps(data))
    assert Tissue.load(path, slide_size=found.slide_size, slide_mpp=found.slide_mpp).settings == EDITED
