"""Tissue is found where it is, on real slides, and survives QuPath."""

import json

import numpy as np
import pytest
import shapely
from PIL import Image

from asmil.errors import ConfigError, TissueError
from asmil.slides import open_slide
from asmil.tiles import Tissue, find_tissue, tile

GLASS, PINK = (244, 243, 245), (220, 150, 190)


def picture(path, pixels):
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def drawn(tmp_path):
    """A slide of 4 um/px: a pink square with a small and a large hole, a speck, black and green pen."""
    pixels = np.full((600, 800, 3), GLASS, np.uint8)
    pixels[100:300, 100:300] = PINK
    pixels[140:160, 140:160] = GLASS  # 80 um: filled
    pixels[200:260, 200:260] = GLASS  # 240 um: stays
    pixels[500:506, 100:106] = PINK  # 24 um: dust
    pixels[400:420, 300:700] = (20, 20, 22)
    pixels[450:470, 300:700] = (40, 160, 90)
    return picture(tmp_path / "drawn.png", pixels)


def test_a_drawn_slide(drawn):
    with open_slide(drawn, mpp=4.0) as slide:
        tissue = find_tissue(slide)
    expected = shapely.box(100, 100, 300, 300) - shapely.box(200, 200, 260, 260)
    assert shapely.intersection(tissue.polygons, expected).area > 0.97 * expected.area
    assert tissue.polygons.area < 1.06 * expected.area
    assert tissue.area_um2 == pytest.approx(tissue.polygons.area * 16)
    assert tissue.polygons.is_valid


def test_bounds_of_the_scan_are_respected(drawn):
    with open_slide(drawn, mpp=4.0) as slide:
        slide.bounds = (0, 0, 200, 600)
        assert find_tissue(slide).polygons.bounds[2] <= 201
        assert find_tissue(slide, method="whole").polygons.area == pytest.approx(200 * 600, rel=0.01)


@pytest.mark.parametrize("colour", [GLASS, (255, 255, 255), (250, 244, 232), (235, 235, 235)])
def test_blank_glass_has_no_tissue(tmp_path, colour):
    noise = np.random.default_rng(0).integers(-3, 4, (400, 400, 3))
    pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
    with open_slide(picture(tmp_path / "blank.png", pixels), mpp=2.0) as slide:
        tissue = find_tissue(slide)
        assert tissue.polygons.is_empty
        with pytest.raises(TissueError, match="0 um2"):
            tile(slide, tissue, mpp=2.0, tile_px=50)


@pytest.mark.parametrize("side", [40, 90, 200])
def test_a_field_smaller_than_a_hole_is_tissue_where_there_is_some(tmp_path, side):
    """100 um of blank glass were a hole in tissue that was not there, and so tissue themselves."""
    glass = np.full((side, side, 3), 240, np.uint8)
    half = glass.copy()
    half[:, : side // 2] = (190, 90, 150)
    for method in ("otsu", "saturation", "entropy"):
        with open_slide(picture(tmp_path / "glass.png", glass), mpp=0.5) as slide:
            assert find_tissue(slide, method=method).polygons.is_empty
    with open_slide(picture(tmp_path / "half.png", half), mpp=0.5) as slide:
        share = find_tissue(slide, max_hole_um2=0).area_um2 / (side**2 / 4)
        assert 0.45 < share < 0.8  # the half, and what smoothing adds to it on so few pixels
    with open_slide(picture(tmp_path / "glass.png", glass), mpp=0.5) as slide:
        assert find_tissue(slide, method="whole").area_um2 == side**2 / 4


def test_a_slide_that_is_all_tissue_is_kept_whole(tmp_path):
    noise = np.random.default_rng(0).integers(-40, 30, (500, 500, 3))
    pixels = np.clip(np.array(PINK) + noise, 0, 255).astype(np.uint8)
    with open_slide(picture(tmp_path / "pink.png", pixels), mpp=0.55) as slide:
        assert find_tissue(slide).polygons.area == 500 * 500


def test_real_slides(cmu_slide, data_dir):
    with open_slide(cmu_slide) as slide:
        share = find_tissue(slide).polygons.area / (slide.size[0] * slide.size[1])
    assert 0.33 < share < 0.5
    with open_slide(data_dir / "colon/slides/colon_085.tif") as slide:
        assert len(tile(slide, find_tissue(slide), mpp=0.55, tile_px=32)) == 225
    with open_slide(data_dir / "slides/test3-DAPI-2-387.ndpi") as slide:  # fluorescence on black
        assert 0.4 < find_tissue(slide).polygons.area / (slide.size[0] * slide.size[1]) < 0.95


def test_true_tiles_of_idc_are_found(data_dir):
    """The drawn-in tiles are the only content of these slides; some are almost all fat."""
    rows = [line.split(",") for line in (data_dir / "idc/labels.csv").read_text().splitlines()[1::35]]
    found = true = 0
    for row in rows:
        with open_slide(data_dir / f"idc/slides/{row[0]}.tif") as slide:
            found += len(tile(slide, find_tissue(slide), mpp=4.0, tile_px=50, min_tissue=0.25))
        true += int(row[4])
    assert 0.85 * true <= found <= true


def test_save_and_load(drawn, tmp_path):
    with open_slide(drawn, mpp=4.0) as slide:
        tissue = find_tissue(slide)
    tissue.save(tmp_path / "t.geojson")
    data = json.loads((tmp_path / "t.geojson").read_text())
    assert data["type"] == "FeatureCollection"
    assert data["features"][0]["properties"]["objectType"] == "annotation"
    assert data["features"][0]["properties"]["classification"]["name"] == "Tissue"
    back = Tissue.load(tmp_path / "t.geojson", slide_size=(800, 600), slide_mpp=4.0)
    assert back.polygons.equals_exact(tissue.polygons)
    assert back.settings == tissue.settings
    with pytest.raises(TissueError, match="another slide"):
        Tissue.load(tmp_path / "t.geojson", slide_size=(900, 700), slide_mpp=4.0)


def test_no_tissue_survives_saving(tmp_path):
    Tissue(shapely.MultiPolygon(), (100, 100), 1.0).save(tmp_path / "t.geojson")
    assert Tissue.load(tmp_path / "t.geojson", slide_size=(100, 100), slide_mpp=1.0).polygons.is_empty


def load(tmp_path, data):
    path = tmp_path / "edited.geojson"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return Tissue.load(path, slide_size=(100, 100), slide_mpp=1.0)


def feature(geometry, name=None):
    properties = {"objectType": "annotation"} | ({"classification": {"name": name}} if name else {})
    return {"type": "Feature", "geometry": shapely.geometry.mapping(geometry), "properties": properties}


def test_edited_in_qupath(tmp_path):
    left, right, other = shapely.box(0, 0, 40, 40), shapely.box(20, 0, 60, 40), shapely.box(70, 70, 90, 90)
    both = load(tmp_path, [feature(left, "Tissue"), feature(right, "Tissue"), feature(other, "Tumor")])
    assert both.polygons.area == 60 * 40  # overlap counted once, other classes passed over
    assert load(tmp_path, feature(shapely.MultiPolygon([left, other]))).polygons.area == 2000
    collection = shapely.GeometryCollection([left, shapely.LineString([(0, 0), (9, 9)])])
    assert load(tmp_path, {"type": "FeatureCollection", "features": [feature(collection)]}).area_um2 == 1600
    bow = shapely.Polygon([(0, 0), (40, 40), (40, 0), (0, 40)])
    assert load(tmp_path, [feature(bow)]).polygons.is_valid
    ring = left - shapely.box(10, 10, 20, 20)
    assert load(tmp_path, [feature(ring), feature(shapely.box(12, 12, 15, 15))]).polygons.area == 1500 + 9


@pytest.mark.parametrize(
    ("data", "pattern"),
    [
        ("{", "readable"),
        ('"text"', "not GeoJSON"),
        ([feature(shapely.box(0, 0, 200, 50))], "outside the slide"),
        ([feature(shapely.box(-20, 0, 50, 50))], "outside the slide"),
        ([feature(shapely.Point(5, 5))], "no area"),
        ([feature(shapely.box(0, 0, 9, 9), "Tumor")], "no annotation of class Tissue"),
        ([{"type": "Feature", "geometry": None}], "usable geometry"),
        ([{"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [[1, 2]]}}], "usable geometry"),
    ],
)
def test_bad_tissue_files(tmp_path, data, pattern):
    with pytest.raises(TissueError, match=pattern):
        load(tmp_path, data)


def test_a_path_is_no_slide(tmp_path):
    with pytest.raises(ConfigError, match=r"a slide cannot be of the type str.*open_slide"):
        find_tissue("a.svs")
    with open_slide(picture(tmp_path / "a.png", np.full((300, 300, 3), PINK, np.uint8)), mpp=1) as slide:
        tissue = find_tissue(slide)
        with pytest.raises(ConfigError, match="tissue cannot be of the type Slide"):
            tile(slide, slide, mpp=1, tile_px=64)
    with pytest.raises(ConfigError, match="a slide cannot be None"):
        tile(None, tissue, mpp=1, tile_px=64)
