"""Tissue as QuPath exports it after editing: ids, classes within classes, Ignore*, holes, parts, detections."""

import json

import numpy as np
import pytest
import shapely
from shapely.geometry import box, mapping, shape

from asmil.annotations import AnnotationError, read_annotations
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


BOUNDS = (130, 70, 600, 500)


def coordinates(path):
    return shapely.union_all([shape(one["geometry"]) for one in json.loads(path.read_text())["features"]]).bounds


def test_a_slide_that_qupath_crops_is_written_and_read_in_its_frame(tmp_path, cmu_slide):
    path = tmp_path / "found.geojson"
    with open_slide(cmu_slide) as slide:
        slide.bounds = (200, 300, 1500, 1800)
        found = find_tissue(slide, method="entropy", threshold=1.2)
        found.save(path)
        back = Tissue.load(path, slide_size=slide.size, slide_mpp=slide.mpp, bounds=slide.bounds)
    left, top, right, bottom = found.polygons.bounds
    assert coordinates(path) == (left - 200, top - 300, right - 200, bottom - 300)
    assert back.settings == found.settings, "it is not an edit"
    assert back.polygons.equals(found.polygons)
    back.save(tmp_path / "again.geojson")
    assert coordinates(tmp_path / "again.geojson") == coordinates(path)


@pytest.mark.parametrize(
    ("drawn", "said", "there"),
    [
        (box(0, 0, 600, 500), None, box(130, 70, 730, 570)),  # as QuPath exports it
        (box(130, 70, 730, 570), None, box(130, 70, 730, 570)),  # of the whole slide: it leaves the scanned part
        (box(0, 0, 10, 10), {"slide_size": SIZE}, box(0, 0, 10, 10)),  # ours, from before there was an origin
        (box(0, 0, 10, 10), {"origin": [5, 6]}, box(5, 6, 15, 16)),
    ],
)
def test_the_frame_of_a_file_is_told_or_seen(tmp_path, drawn, said, there):
    path = tmp_path / "drawn.geojson"
    content = {"type": "FeatureCollection", "features": [annotation(drawn, {"name": "Tissue"})]}
    path.write_text(json.dumps(content | ({"asmil": said} if said else {})))
    load = {"slide_size": SIZE, "slide_mpp": MPP}
    assert Tissue.load(path, **load, bounds=BOUNDS).polygons.equals(there)
    areas = read_annotations(path, slide_size=SIZE, bounds=BOUNDS).area_of(["tissue"])
    assert areas.equals(there)
    if said is None:
        assert Tissue.load(path, **load).polygons.equals(drawn)
        assert read_annotations(path, slide_size=SIZE).area_of(["tissue"]).equals(drawn)


@pytest.mark.parametrize("origin", ["left", [1], [None, 2], [1, float("inf")], 3])
def test_an_origin_that_is_none_is_named(tmp_path, origin):
    path = tmp_path / "drawn.geojson"
    features = [annotation(box(0, 0, 9, 9), {"name": "Tissue"})]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features, "asmil": {"origin": origin}}))
    with pytest.raises(TissueError, match="origin"):
        Tissue.load(path, slide_size=SIZE, slide_mpp=MPP)
    with pytest.raises(AnnotationError, match="origin"):
        read_annotations(path)


def test_points_and_outlines_of_the_scanned_part_move_and_say_so(tmp_path):
    path = tmp_path / "drawn.geojson"
    path.write_text(json.dumps([annotation(shapely.Point(3, 4), {"name": "A"}), annotation(box(0, 0, 2, 2))]))
    drawn = read_annotations(path, bounds=BOUNDS)
    assert drawn.points_of(["a"]).tolist() == [[133, 74]]
    assert drawn.notes == ("moved by x 130, y 70: drawn on the scanned part of the slide",)
