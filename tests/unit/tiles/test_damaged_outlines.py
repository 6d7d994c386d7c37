"""Outlines from elsewhere: whatever is wrong with a file is its error, and none takes longer than a second."""

import json
import time

import numpy as np
import pytest

from asmil.annotations import read_annotations
from asmil.errors import AnnotationError, TissueError
from asmil.tiles import Tissue

SIZE = (4000, 3000)


def _feature(geometry, *, name="Tissue") -> dict:
    return {"type": "Feature", "geometry": geometry, "properties": {"classification": {"name": name}}}


def _polygon(corners) -> dict:
    return {"type": "Polygon", "coordinates": [[*np.asarray(corners).tolist(), np.asarray(corners)[0].tolist()]]}


def _collection(*features) -> str:
    return json.dumps({"type": "FeatureCollection", "features": list(features)})


def _zigzag(crossings: int) -> np.ndarray:
    """Two borders of a strip that cross each other so often."""
    x = np.arange(crossings + 1.0)
    up = np.where(x % 2, 10.0, -10.0)
    return np.concatenate([np.stack([x, 20 + up], 1), np.stack([x, 20 - up], 1)[::-1]])


READERS = {
    "tissue": (lambda path: Tissue.load(path, slide_size=SIZE, slide_mpp=0.5), TissueError),
    "annotations": (lambda path: read_annotations(path, slide_size=SIZE), AnnotationError),
}


@pytest.mark.parametrize("reader", READERS)
def test_an_outline_that_crosses_itself_without_end_is_refused_at_once(reader, tmp_path):
    read, kind = READERS[reader]
    corners = np.random.default_rng(0).uniform(0, 3000, (10_000, 2))
    (tmp_path / "a.geojson").write_text(_collection(_feature(_polygon(corners))))
    start = time.monotonic()
    with pytest.raises(kind, match=r"crosses itself too often.*some \d+,\d{3},\d{3} crossings of 10,001 corners"):
        read(tmp_path / "a.geojson")
    assert time.monotonic() - start < 60


@pytest.mark.parametrize("reader", READERS)
def test_one_that_crosses_itself_as_drawings_do_is_repaired(reader, tmp_path):
    read, _ = READERS[reader]
    (tmp_path / "a.geojson").write_text(_collection(_feature(_polygon(_zigzag(100)))))
    found = read(tmp_path / "a.geojson")
    area = found.polygons.area if reader == "tissue" else found.areas["Tissue"].area
    assert area == pytest.approx(100 * 10)  # a bow tie of two triangles per crossing


def test_the_crossings_are_counted(tmp_path):
    (tmp_path / "a.geojson").write_text(_collection(_feature(_polygon(_zigzag(700)))))
    with pytest.raises(TissueError, match=r"some (69|70)\d crossings of 1,403 corners"):
        Tissue.load(tmp_path / "a.geojson", slide_size=SIZE, slide_mpp=0.5)


SQUARE = _polygon([[0, 0], [9, 0], [9, 9], [0, 9]])
WRONG = {
    "properties of text": _collection(_feature(SQUARE) | {"properties": "x"}),
    "a class of numbers": _collection(_feature(SQUARE) | {"properties": {"classification": {"names": [5]}}}),
    "facts of text": json.dumps({"type": "FeatureCollection", "features": [_feature(SQUARE)], "asmil": "x"}),
    "a size of text": json.dumps(
        {"type": "FeatureCollection", "features": [_feature(SQUARE)], "asmil": {"slide_size": 5.0}}
    ),
    "deep": "[" * 10_000,
    "digits": '{"type": ' + "9" * 5000 + "}",
    "geometry of text": _collection(_feature("x")),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_tissue_is_refused_in_words(case, tmp_path):
    (tmp_path / "a.geojson").write_text(WRONG[case])
    with pytest.raises(TissueError):
        Tissue.load(tmp_path / "a.geojson", slide_size=SIZE, slide_mpp=0.5)


@pytest.mark.parametrize("case", ["deep", "digits", "geometry of text", "properties of text"])
def test_what_is_no_annotation_is_refused_in_words(case, tmp_path):
    (tmp_path / "a.geojson").write_text(WRONG[case])
    with pytest.raises(AnnotationError):
        read_annotations(tmp_path / "a.geojson", slide_size=SIZE)
