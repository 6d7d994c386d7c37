"""Annotation files as QuPath, ASAP and CAMELYON write them, and the ways in which they go wrong."""

import json

import numpy as np
import pytest

from asmil.annotations import AnnotationError, find_annotation, read_annotations, require_classes

SQUARE = [[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]
HOLE = [[2, 2], [4, 2], [4, 4], [2, 4], [2, 2]]


def feature(kind, coordinates, **properties):
    return {
        "type": "Feature",
        "properties": properties,
        "geometry": {"type": kind, "coordinates": coordinates},
    }


def written(folder, content, name="slide.geojson"):
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


ONE = feature("Polygon", [SQUARE, HOLE], classification={"name": "Tumor"})


@pytest.mark.parametrize("content", [ONE, [ONE], {"type": "FeatureCollection", "features": [ONE]}])
def test_the_three_ways_qupath_wraps_features(tmp_path, content):
    drawn = read_annotations(written(tmp_path, content))
    assert drawn.classes == ("Tumor",)
    assert drawn.area_of(["TUMOR"]).area == 96


@pytest.mark.parametrize(
    ("properties", "name"),
    [
        ({"classification": {"name": "A"}}, "A"),
        ({"classification": {"names": ["A", "B"]}}, "A: B"),
        ({"classification": "A"}, "A"),
        ({"class": "A"}, "A"),
        ({}, "unclassified"),
    ],
)
def test_where_the_class_name_stands(tmp_path, properties, name):
    assert read_annotations(written(tmp_path, feature("Point", [1, 2], **properties))).classes == (name,)


def test_collections_points_and_lines(tmp_path):
    parts = [
        {"type": "Point", "coordinates": [1, 2, 0]},
        {"type": "MultiPoint", "coordinates": [[3, 4]]},
        {"type": "MultiPolygon", "coordinates": [[SQUARE]]},
        {"type": "LineString", "coordinates": [[0, 0], [1, 1]]},
    ]
    content = {
        "type": "Feature",
        "properties": {},
        "geometry": {"type": "GeometryCollection", "geometries": parts},
    }
    drawn = read_annotations(written(tmp_path, content))
    assert drawn.points_of(["unclassified"]).tolist() == [[1, 2], [3, 4]]
    assert drawn.area_of(["unclassified"]).area == 100
    assert drawn.notes == ("unclassified: ignored LineString",)


def test_a_bow_tie_is_repaired_and_said(tmp_path):
    bow = [[0, 0], [10, 10], [10, 0], [0, 10], [0, 0]]
    drawn = read_annotations(written(tmp_path, feature("Polygon", [bow])))
    assert drawn.area_of(["unclassified"]).area == 50
    assert "repaired" in drawn.notes[0]


def asap(kind="Polygon", corners=((0, 0), (4, 0), (4, 4), (0, 4)), group="Tumor"):
    points = "".join(f'<Coordinate Order="{i}" X="{x}" Y="{y}"/>' for i, (x, y) in reversed([*enumerate(corners)]))
    return (
        f'<ASAP_Annotations><Annotations><Annotation Name="a" Type="{kind}" PartOfGroup="{group}">'
        f"<Coordinates>{points}</Coordinates></Annotation></Annotations>"
        "<AnnotationGroups><Group Name='Empty'/></AnnotationGroups>"
        "</ASAP_Annotations>"
    )


def test_asap_orders_corners_and_knows_empty_groups(tmp_path):
    drawn = read_annotations(written(tmp_path, asap(), "s.xml"))
    assert drawn.classes == ("Empty", "Tumor")
    assert drawn.area_of(["Tumor"]).area == 16
    assert read_annotations(written(tmp_path, asap("PointSet"), "s.xml")).points_of(["tumor"]).shape == (4, 2)
    assert read_annotations(written(tmp_path, asap(corners=[(0, 0)]), "s.xml")).notes


def test_asap_with_a_document_type_is_refused_before_entities_grow(tmp_path):
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>' + asap()
    with pytest.raises(AnnotationError, match="document type"):
        read_annotations(written(tmp_path, bomb, "s.xml"))


@pytest.mark.parametrize(
    ("content", "name", "says"),
    [
        ("{", "s.json", "not valid JSON"),
        ("<a>", "s.xml", "not valid XML"),
        ("<Annotations/>", "s.xml", "not written by ASAP"),
        (asap("Blob"), "s.xml", "unknown type"),
        ({"shapes": []}, "s.json", "not an annotation file"),
        (feature("Polygon", [[[0, 0], [1]]]), "s.geojson", "feature 0"),
        (feature("Point", [float("nan"), 0]), "s.geojson", "not finite"),
        (feature("Circle", [0, 0]), "s.geojson", "feature 0"),
    ],
)
def test_broken_files_are_named(tmp_path, content, name, says):
    with pytest.raises(AnnotationError, match=says):
        read_annotations(written(tmp_path, content, name))


def test_a_drawing_of_another_slide_is_noticed(tmp_path):
    path = written(tmp_path, feature("Polygon", [SQUARE]))
    assert read_annotations(path, slide_size=(10, 10))
    with pytest.raises(AnnotationError, match="outside its slide"):
        read_annotations(path, slide_size=(9, 9))


def test_the_file_of_a_slide(tmp_path):
    assert find_annotation(tmp_path, "s") is None
    path = written(tmp_path, ONE, "s.geojson")
    assert find_annotation(tmp_path, "s") == path
    written(tmp_path, asap(), "s.xml")
    with pytest.raises(AnnotationError, match="more than one"):
        find_annotation(tmp_path, "s")


def test_a_class_that_no_slide_has_is_an_error_listing_those_found(tmp_path):
    drawn = [read_annotations(written(tmp_path, ONE))]
    require_classes(drawn, ["tumor"])
    with pytest.raises(AnnotationError, match="classes Tumor"):
        require_classes(drawn, ["tumour"])


def test_real_files(data_dir):
    drawn = read_annotations(data_dir / "tables" / "camelyon17" / "patient_004_node_4.xml")
    assert drawn.classes == ("Tumor",)
    assert len(drawn.areas["Tumor"].geoms) == 3
    camelyon = read_annotations(data_dir / "tables" / "camelyon16" / "tumor_polygons" / "Tumor_016.json")
    assert any("2 negative" in note for note in camelyon.notes)
    assert camelyon.areas["positive"].intersection(camelyon.areas["negative"]).area == pytest.approx(0, abs=1)
    nuclei = [read_annotations(path) for path in sorted((data_dir / "colon" / "annotations").glob("*.geojson"))]
    assert sum(len(a.points_of(["Epithelial"])) for a in nuclei) == 7722
    assert sum(len(np.concatenate(list(a.points.values()))) for a in nuclei) == 22444
