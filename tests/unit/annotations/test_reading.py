"""Annotation files as QuPath, ASAP and CAMELYON write them, and the ways in which they go wrong."""

import gzip
import json
import tracemalloc
import unicodedata

import numpy as np
import pytest

from asmil.annotations import (
    AnnotationError,
    find_annotation,
    read_annotations,
    require_classes,
    unused_annotations,
)

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
        ({"classification": {"name": " A\u00a0"}}, "A"),
        ({"classification": {"name": "Tu\u0308"}}, "T\u00fc"),
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


def imagescope(regions, name="", **attributes):
    said = "".join(f'<Attribute Name="{key}" Id="0" Value="{value}"/>' for key, value in attributes.items())
    return (
        f'<Annotations MicronsPerPixel="0.499"><Annotation Id="1" Name="{name}" Type="4">'
        f"<Attributes>{said}</Attributes><Regions><RegionAttributeHeaders/>{regions}</Regions><Plots/></Annotation></Annotations>"
    )


def region(corners, kind=0, negative=0, text=""):
    vertices = "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in corners)
    return (
        f'<Region Id="1" Type="{kind}" Text="{text}" NegativeROA="{negative}"><Attributes/>'
        f"<Vertices>{vertices}</Vertices></Region>"
    )


def test_imagescope_layers_regions_holes_and_two_cornered_shapes(tmp_path):
    body = region(SQUARE[:4]) + region(HOLE[:4], negative=1) + region([(0, 0), (100, 0)], kind=3)
    drawn = read_annotations(written(tmp_path, imagescope(body, name="Tumor"), "s.xml"))
    assert drawn.classes == ("Tumor",)
    assert drawn.area_of(["tumor"]).area == 96
    assert drawn.notes == ("Tumor: ignored a line", "Tumor: 1 negative regions were cut out")
    box = read_annotations(written(tmp_path, imagescope(region([(0, 0), (4, 2)], kind=1), name="A"), "s.xml"))
    assert box.area_of(["A"]).bounds == (0, 0, 4, 2)
    assert box.area_of(["A"]).area == 8
    oval = read_annotations(written(tmp_path, imagescope(region([(4, 2), (0, 0)], kind=2), name="A"), "s.xml"))
    assert oval.area_of(["A"]).area == pytest.approx(np.pi * 2, rel=1e-3)
    assert oval.area_of(["A"]).bounds == pytest.approx((0, 0, 4, 2))


def test_a_negative_region_of_imagescope_is_cut_out_of_its_layer_whatever_its_text(tmp_path):
    hole, tumour = region(HOLE[:4], negative=1), region(SQUARE[:4], text="Tumor")
    body = imagescope(tumour + hole, name="").replace("</Annotations>", "")
    body += imagescope(tumour, name="").partition(">")[2]  # another layer, without a hole
    apart = read_annotations(written(tmp_path, imagescope(tumour + hole, name=""), "s.xml"))
    assert apart.area_of(["Tumor"]).area == 96
    assert apart.notes == ("Tumor: 1 negative regions were cut out",)
    assert read_annotations(written(tmp_path, body, "s.xml")).area_of(["Tumor"]).area == 100


def test_a_measurement_of_asap_is_no_outline(tmp_path):
    ruler = asap().replace('Type="Polygon"', 'Type="Measurement"')
    assert 'Type="Measurement"' in ruler
    drawn = read_annotations(written(tmp_path, ruler, "s.xml"))
    assert drawn.area_of(drawn.classes).is_empty
    assert [note.partition(": ")[2] for note in drawn.notes] == ["ignored a measurement"]


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (imagescope(region(SQUARE), name="Layer 1", Description="Necrosis"), "Necrosis"),
        (imagescope(region(SQUARE, text="Fat"), name=""), "Fat"),
        (imagescope(region(SQUARE), name=""), "unclassified"),
        (asap(group="None").replace('Name="a"', 'Name="Stroma"'), "Stroma"),
        (asap(group="None").replace('Name="a"', 'Name="Annotation 12"'), "unclassified"),
        (feature("Polygon", [SQUARE], name="Stroma"), "Stroma"),
        (feature("Polygon", [SQUARE], name="Stroma", classification={"name": "Tumor"}), "Tumor"),
    ],
)
def test_the_class_is_the_name_where_nobody_gave_a_class(tmp_path, content, name):
    suffix = "geojson" if isinstance(content, dict) else "xml"
    drawn = read_annotations(written(tmp_path, content, f"s.{suffix}"))
    assert [one for one in drawn.classes if len(drawn.areas[one].geoms)] == [name]


def test_a_negative_slide_of_imagescope_and_broken_vertices(tmp_path):
    empty = written(tmp_path, '<Annotations MicronsPerPixel="0.5"></Annotations>', "s.xml")
    assert read_annotations(empty).classes == ()
    broken = imagescope(region(SQUARE).replace('X="0"', 'X="?"'), name="A")
    with pytest.raises(AnnotationError, match=r"region 1 .* unreadable vertices"):
        read_annotations(written(tmp_path, broken, "s.xml"))


def test_packed_outlines_are_read_and_bounded(tmp_path, monkeypatch):
    path = tmp_path / "s.geojson.gz"
    path.write_bytes(gzip.compress(json.dumps(ONE).encode()))
    assert find_annotation(tmp_path, "s") == path
    tracemalloc.start()
    assert read_annotations(path).area_of(["tumor"]).area == 96
    assert tracemalloc.get_traced_memory()[1] < 1 << 26  # and not as much as the largest file may hold
    tracemalloc.stop()
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(AnnotationError, match="cannot read"):
        read_annotations(path)
    monkeypatch.setattr("asmil.annotations.reading.MOST_BYTES", 1000)
    path.write_bytes(gzip.compress(b" " * 1_000_000))
    with pytest.raises(AnnotationError, match="too large"):
        read_annotations(path)


def test_files_are_found_under_the_names_that_programs_give_them(tmp_path):
    names = {
        "a": "a.svs.geojson",
        "b": "b.ome.tiff.json",
        "b.ome": "b.ome.tiff.json",
        "café": unicodedata.normalize("NFD", "café.xml"),
        "A:1": "A%3A1.geojson",
        "c": "c.svs_mask.png",
        "D": "D.GEOJSON",
    }
    for name in {*names.values(), "other.geojson", "notes.txt", ".hidden.geojson"}:
        (tmp_path / name).touch()
    names.pop("b")  # a suffix of a slide is cut once: b.ome is what `b.ome.tiff` is called
    assert {slide: find_annotation(tmp_path, slide).name for slide in names} == names
    assert find_annotation(tmp_path, "other.x") is None
    assert [path.name for path in unused_annotations(tmp_path, names)] == ["other.geojson"]
    (tmp_path / "a.geojson").touch()
    with pytest.raises(AnnotationError, match="more than one"):
        find_annotation(tmp_path, "a")
