"""Annotation files that are damaged, hostile, nested, or drawn for another scale than their slide's."""

import json

import numpy as np
import pytest
from shapely.geometry import MultiPolygon, box

from asmil.annotations import AnnotationError, Annotations, read_annotations, require_classes
from asmil.evaluation import MetricError
from asmil.evaluation.place import Truth, Wanted, other_scale, read_truth, upper_left
from asmil.runs import TilePlaces


def feature(coordinates, kind="Polygon", **properties):
    return {"type": "Feature", "properties": properties, "geometry": {"type": kind, "coordinates": coordinates}}


def square(x, y, side):
    return [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]


def asap(body, groups=""):
    return (
        f"<ASAP_Annotations><Annotations>{body}</Annotations>"
        f"<AnnotationGroups>{groups}</AnnotationGroups></ASAP_Annotations>"
    )


def asap_square(x, y, side, group):
    corners = "".join(f'<Coordinate Order="{i}" X="{a}" Y="{b}"/>' for i, (a, b) in enumerate(square(x, y, side)[:4]))
    return (
        f'<Annotation Name="a" Type="Polygon" PartOfGroup="{group}"><Coordinates>{corners}</Coordinates></Annotation>'
    )


def written(folder, content, name="s.geojson"):
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("content", "name", "says"),
    [
        ("", "s.geojson", "is empty"),
        ("  \n", "s.xml", "is empty"),
        ("[" * 100_000, "s.json", "not valid JSON"),
        ("<ASAP_Annotations><Annotations>", "s.xml", "not valid XML"),
        (feature([[[0, 0], [float("inf"), 0], [1, 1]]]), "s.geojson", "not finite"),
        (feature([[["a", 0], [1, 0], [1, 1]]]), "s.geojson", "feature 0"),
        ({"type": "FeatureCollection", "features": [None]}, "s.geojson", "not an annotation file"),
        (feature([], properties=1) | {"properties": [1]}, "s.geojson", "feature 0"),
        (asap('<Annotation Type="Polygon"><Coordinates><Coordinate X="1,5" Y="2"/></Coordinates></Annotation>'),
         "s.xml", "unreadable coordinates"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_said(tmp_path, content, name, says):
    with pytest.raises(AnnotationError, match=says):
        read_annotations(written(tmp_path, content, name))


def test_entities_that_grow_are_refused_before_they_do(tmp_path):
    lines = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 30))
    bomb = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a0 "aaaaaaaaaa">{lines}]>' + asap("&a29;")
    with pytest.raises(AnnotationError, match="document type"):
        read_annotations(written(tmp_path, bomb, "s.xml"))


def test_holes_measurements_and_a_line_that_closes_on_itself(tmp_path):
    content = [
        feature([square(0, 0, 10), square(2, 2, 2)], measurements={"Area": 96.0}, classification={"name": "T"}),
        feature(
            [[square(20, 0, 10), square(22, 2, 2)], [square(40, 0, 1)]], "MultiPolygon", classification={"name": "T"}
        ),
        feature([[[0, 0], [1, 1]]], classification={"name": "T"}),
    ]
    drawn = read_annotations(written(tmp_path, content))
    assert drawn.area_of(["t"]).area == 96 + 96 + 1
    assert drawn.notes == ("T: an outline of 2 points was left out",)


def test_a_class_stands_for_those_derived_from_it(tmp_path):
    content = [
        feature([square(0, 0, 1)], classification={"names": ["Tumor", "Positive"]}),
        feature([square(5, 0, 2)], classification={"name": "Tumor"}),
        feature([square(9, 0, 3)], classification={"name": "Tumorous"}),
    ]
    drawn = read_annotations(written(tmp_path, content))
    assert drawn.area_of(["tumor"]).area == 5
    assert drawn.area_of(["tumor: positive"]).area == 1
    assert drawn.area_of(["Tumor"], exclude=["Tumor: Positive"]).area == 4
    require_classes([drawn], ["tumor"])


def test_groups_of_asap_within_groups_and_in_a_circle(tmp_path):
    pairs = (("Tumor", "None"), ("Dead", "Tumor"), ("x", "x"))
    groups = "".join(f'<Group Name="{name}" PartOfGroup="{parent}"/>' for name, parent in pairs)
    body = asap_square(0, 0, 4, "Tumor") + asap_square(1, 1, 2, "Dead") + asap_square(9, 9, 1, "x")
    drawn = read_annotations(written(tmp_path, asap(body, groups), "s.xml"))
    assert drawn.classes == ("Tumor", "Tumor: Dead", "x")
    assert drawn.area_of(["tumor"], exclude=["tumor: dead"]).area == 12


def annotations(*areas, points=()):
    xy = np.array(points, dtype=float).reshape(-1, 2)
    return Annotations("s", {"Tumor": MultiPolygon(areas)}, {"Tumor": xy})


def grid(columns, rows, side, x=0, y=0):
    return np.array([(x + i * side, y + j * side) for j in range(rows) for i in range(columns)])


@pytest.mark.parametrize(
    ("factor", "says"), [(0.25, "as micrometres they would"), (1 / 16, "pixels of a level 16 times smaller")]
)
def test_outlines_in_another_unit_are_told_by_the_tiles(factor, says):
    places = TilePlaces(grid(10, 10, 100, x=20_000, y=30_000), 100, slide_mpp=0.25)
    shapes = [box(*(np.array([20_100, 30_100, 20_300, 30_300]) + d) * factor) for d in (0, 300)]
    what, fix = other_scale(annotations(*shapes), places)
    assert says in what
    assert f"by {1 / factor:g}" in fix


def test_a_unit_that_keeps_all_outlines_on_tiles_is_told_by_many_slides():
    """At 0.5 um per pixel, micrometres are half of the pixels: on tiles, and of no tumour."""
    places = TilePlaces(grid(10, 10, 100), 100, (1000, 1000), 0.5)
    spots = [(900, 100), (300, 950), (50, 400), (990, 990), (600, 20), (10, 10), (700, 700)] * 2

    def said(factor, slides):
        drawn = {f"s{i}": annotations(points=[np.array(xy) * factor]) for i, xy in enumerate(spots[:slides])}
        return upper_left(Truth(drawn | {"none": annotations()}, dict.fromkeys([*drawn, "none"], places), {}, ()))

    assert said(0.5, 14).startswith("on 14 of 14 slides nothing is drawn beyond the upper left 50% of the tiles'")
    assert said(1.0, 14) == ""
    assert said(0.5, 3) == "", "three slides may be so by chance"
    assert said(0.01, 3).startswith("on 3 of 3 slides nothing is drawn beyond the upper left 10%")


def test_tumour_without_a_tile_is_no_reason_to_leave_a_slide_out():
    places = TilePlaces(grid(10, 10, 100, x=20_000, y=30_000), 100, slide_mpp=0.25)
    assert other_scale(annotations(box(50_000, 30_000, 50_100, 30_100)), places) is None
    assert other_scale(annotations(box(20_950, 30_100, 21_500, 30_200)), places) is None, "touches a tile"
    assert other_scale(annotations(points=[(20_001, 30_001)]), places) is None
    assert other_scale(annotations(), places) is None
    assert other_scale(Annotations("s"), places) is None, "a file without features"


def test_what_does_not_fit_one_slide_is_a_problem_of_that_slide(tmp_path):
    right = feature([square(100, 100, 200)], classification="Tumor")
    written(tmp_path, right, "good.geojson")
    written(tmp_path, feature([square(90_000, 0, 50)], classification="Tumor"), "outside.geojson")
    written(tmp_path, feature([square(3010, 3010, 50)], classification="Tumor"), "micrometres.geojson")
    written(tmp_path, "{", "broken.geojson")
    places = {
        "good": TilePlaces(grid(5, 5, 100), 100, (20_000, 20_000), 0.25),
        "outside": TilePlaces(grid(5, 5, 100), 100, (20_000, 20_000), 0.25),
        "micrometres": TilePlaces(grid(5, 5, 100, x=12_000, y=12_000), 100, (20_000, 20_000), 0.25),
        "broken": TilePlaces(grid(5, 5, 100), 100),
    }
    truth = read_truth(tmp_path, [*places, "none"], wanted=Wanted(["tumor"]), places_of=places.__getitem__)
    assert list(truth.tiles) == ["good"]
    assert truth.tiles["good"].sum() == 4
    said = {problem.slide: str(problem) for problem in truth.problems}
    assert set(said) == {"outside", "micrometres", "broken"}
    assert "x 90000 to 90050" in said["outside"]
    assert "as micrometres they would (multiply the coordinates by 4" in said["micrometres"].replace(") (", " (")
    assert "not valid JSON" in said["broken"]
    with pytest.raises(MetricError, match="no annotation of the run can be used"):
        read_truth(tmp_path, ["broken"], wanted=Wanted(["tumor"]), places_of=places.__getitem__)
    with pytest.raises(MetricError, match="no slide of the run has an annotation"):
        read_truth(tmp_path, ["none"], wanted=Wanted(["tumor"]), places_of=places.__getitem__)
