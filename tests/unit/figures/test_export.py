"""Export: SVG that a page can theme, data URIs, and tiles that QuPath reads."""

import base64
import io
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from PIL import Image
from shapely.geometry import shape

from asmil.annotations import read_annotations
from asmil.errors import AsmilError
from asmil.figures import (
    Curve,
    confusion_figure,
    figure_svg,
    image_data_uri,
    roc_figure,
    tile_scores_geojson,
    write_png,
)


def _roc(end=1.0):
    return roc_figure([Curve(np.array([0, 0.5, 1]), np.array([0, 0.8, end]), "area 0.8")])


def test_the_same_figure_gives_the_same_text_without_date():
    assert figure_svg(_roc(), title="ROC") == figure_svg(_roc(), title="ROC")
    assert "metadata" not in figure_svg(_roc())
    assert "<dc:" not in figure_svg(_roc())


def test_svg_is_well_formed_scales_and_keeps_its_text():
    svg = figure_svg(_roc(), title='a "title" & more \\1')
    root = ElementTree.fromstring(svg)
    assert root.get("aria-label") == 'a "title" & more \\1'
    assert root.get("width") is None
    assert "true positive rate" in "".join(root.itertext())
    assert len(svg) < 30_000


def test_colours_follow_the_page_and_nothing_is_fetched():
    svg = figure_svg(_roc())
    assert "var(--series-1, #0067a5)" in svg
    assert "var(--muted" in svg
    assert "DejaVu" not in svg
    assert "url(http" not in svg
    assert 'href="http' not in svg


def test_ids_of_two_figures_do_not_meet():
    def ids(svg):
        return {element.get("id") for element in ElementTree.fromstring(svg).iter() if element.get("id")}

    first, second = ids(figure_svg(_roc())), ids(figure_svg(_roc(0.9)))
    assert first
    assert not first & second


def test_references_resolve():
    svg = figure_svg(_roc())
    root = ElementTree.fromstring(svg)
    known = {element.get("id") for element in root.iter()}
    used = {v.split("#")[1].rstrip(")") for e in root.iter() for k, v in e.items() if "#f" in v and "clip" in k}
    assert used
    assert used <= known


def test_class_names_cannot_become_markup():
    svg = figure_svg(confusion_figure(np.eye(2, dtype=int), ["<script>alert(1)</script>", "b"]))
    assert "<script>" not in svg
    ElementTree.fromstring(svg)


@pytest.mark.parametrize(("channels", "kind"), [(3, "jpeg"), (4, "webp")])
def test_pictures_become_data_uris(channels, kind):
    uri = image_data_uri(np.full((50, 200, channels), 120, dtype=np.uint8), max_px=100)
    head, body = uri.split(",")
    assert head == f"data:image/{kind};base64"
    with Image.open(io.BytesIO(base64.b64decode(body))) as image:
        assert image.size == (100, 25)


def test_qupath_tiles_have_place_and_measurements(tmp_path):
    level0_xy, attention = np.array([[0, 0], [448, 896], [0, 448]]), np.array([0.2, 0.5, 0.3])
    path = tile_scores_geojson(tmp_path / "new" / "a.geojson", level0_xy, attention, tile_level0_px=448.5)
    features = json.loads(path.read_text())["features"]
    assert shape(features[1]["geometry"]).bounds == (448, 896, 896.5, 1344.5)
    assert features[1]["properties"]["objectType"] == "tile"
    assert features[1]["properties"]["measurements"] == {
        "attention": 0.5,
        "attention_percentile": 100.0,
        "attention_times_uniform": 1.5,
    }
    assert [p.name for p in path.parent.iterdir()] == ["a.geojson"]


def test_qupath_tiles_have_the_evidence_for_every_class(tmp_path):
    evidence = {"benign": np.array([-0.25, 1.0]), "tumour": np.array([0.25, -1.0])}
    path = tile_scores_geojson(
        tmp_path / "a.geojson", np.zeros((2, 2)), np.array([0.2, 0.8]), tile_level0_px=1, evidence=evidence
    )
    measured = json.loads(path.read_text())["features"][0]["properties"]["measurements"]
    assert (measured["evidence_benign"], measured["evidence_tumour"]) == (-0.25, 0.25)


def test_scores_of_other_tiles_are_refused(tmp_path):
    with pytest.raises(AsmilError, match="3 tiles, 2 values"):
        tile_scores_geojson(tmp_path / "a.geojson", np.zeros((3, 2)), np.ones(2), tile_level0_px=1)
    assert not (tmp_path / "a.geojson").exists()


def test_png_holds_the_picture_and_is_the_same_twice(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    first, second = (write_png(picture, tmp_path / f"{i}.png") for i in range(2))
    assert first.read_bytes() == second.read_bytes()
    with Image.open(first) as image:
        assert (np.asarray(image) == picture).all()


def test_the_room_imports_no_matplotlib_and_drawing_neither_pyplot_nor_torch():
    code = (
        "import sys, asmil.figures; early = 'matplotlib' in sys.modules; "
        "import asmil.figures.export, asmil.figures.curves, asmil.figures.panels; "
        "sys.exit(early or 'matplotlib.pyplot' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_tiles_of_a_slide_that_qupath_crops_are_counted_from_the_scanned_part(tmp_path):
    where, bounds = np.array([[300, 400], [364, 400]]), (200, 300, 1500, 1800)
    path = tile_scores_geojson(tmp_path / "a.geojson", where, np.ones(2) / 2, tile_level0_px=64, bounds=bounds)
    content = json.loads(path.read_text())
    assert content["features"][0]["geometry"]["coordinates"][0][0] == [100, 100]
    assert read_annotations(path, bounds=bounds).area_of(["unclassified"]).bounds == (300, 400, 428, 464)


def test_a_figure_is_drawn_once_and_left_as_it_was(monkeypatch):
    """`savefig` draws all of it before it draws it, for the layout; the text is the same."""
    figure, again = _roc(), _roc()
    buffer, nothing = io.StringIO(), dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "asmil"}):
        again.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    before = figure.dpi, figure.canvas, figure.get_facecolor(), figure.axes[0].get_facecolor()
    drawn, draw = [], Axes.draw
    monkeypatch.setattr(Axes, "draw", lambda self, renderer: drawn.append(self) or draw(self, renderer))
    svg = figure_svg(figure)
    assert len(drawn) == len(figure.axes)
    assert (figure.dpi, figure.canvas, figure.get_facecolor(), figure.axes[0].get_facecolor()) == before
    places = [re.findall(r" d=\"(M[^\"]+)\"", re.sub(r"\s+", " ", text)) for text in (svg, buffer.getvalue())]
    assert places[0] == places[1]
