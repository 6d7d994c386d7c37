"""Heatmaps: where tiles land, what overlap and scales do, and that nothing is too small to see."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import box

from asmil.errors import AsmilError
from asmil.figures import draw_outlines, enlarge, percentiles, raw_limits, times_uniform
from asmil.figures.heatmap import heatmap

WHITE = np.full((600, 800, 3), 255, dtype=np.uint8)
SLIDE = (8000, 6000)  # ten level-0 pixels per thumbnail pixel


def _drawn(level0_xy, values, **options):
    options = {"tile_level0_px": 1000, "slide_size": SLIDE, "cmap": "gray", "alpha": 1.0} | options
    return heatmap(WHITE, np.array(level0_xy), np.array(values, dtype=float), **options)


def test_a_tile_covers_its_place_and_nothing_else():
    picture = _drawn([(2000, 1000)], [0.0], scale="raw", limits=(0, 1))
    assert (picture[100:200, 200:300] == 0).all()
    picture[100:200, 200:300] = 255
    assert (picture == 255).all()


def test_half_covered_pixels_are_half_coloured():
    picture = _drawn([(2005, 1000)], [0.0], scale="raw", limits=(0, 1))
    assert picture[150, 200, 0] == pytest.approx(128, abs=1)
    assert picture[150, 300, 0] == pytest.approx(128, abs=1)
    assert picture[150, 201, 0] == 0


def test_overlapping_tiles_are_averaged():
    picture = _drawn([(0, 0), (500, 0)], [0.0, 0.5], scale="raw", limits=(0, 1))  # 0 and 1 times uniform
    assert picture[50, 25, 0] == 0
    assert picture[50, 75, 0] == pytest.approx(128, abs=2)
    assert picture[50, 125, 0] == 255


@settings(max_examples=12, deadline=None)
@given(st.floats(0, 7000), st.floats(0, 5000), st.floats(20, 900))
def test_the_coloured_area_is_the_tile_area(x, y, side):
    picture = _drawn([(x, y)], [0.0], scale="raw", limits=(0, 1), tile_level0_px=side)
    covered = ((255 - picture[..., 0].astype(float)) / 255).sum()
    assert covered == pytest.approx((side / 10) ** 2, rel=0.03, abs=1)


def test_tiles_beyond_the_edge_are_cut():
    picture = _drawn([(7500, 5500), (9000, 0)], [0.0, 0.0], scale="raw", limits=(0, 1))
    assert (picture[550:, 750:] == 0).all()
    assert (picture == 0).all(axis=-1).sum() == 50 * 50


def test_percentile_ignores_the_size_of_the_values_and_raw_does_not():
    places = [(0, 0), (1000, 0), (2000, 0)]
    flat, peaked = [0.32, 0.33, 0.35], [0.0001, 0.0002, 0.9997]
    assert (_drawn(places, flat) == _drawn(places, peaked)).all()
    assert (_drawn(places, flat, scale="raw") != _drawn(places, peaked, scale="raw")).any()


def test_percentiles_and_times_uniform():
    assert percentiles(np.array([5.0, 1.0, 5.0, 9.0])).tolist() == [0.625, 0.25, 0.625, 1.0]
    assert times_uniform(np.full(7, 1 / 7)) == pytest.approx(np.ones(7))


def test_a_thumbnail_of_a_few_pixels_is_enlarged():
    tiny = np.zeros((2, 6, 3), dtype=np.uint8)
    assert enlarge(tiny).shape == (200, 600, 3)
    picture = heatmap(tiny, np.array([[0, 0]]), np.array([1.0]), tile_level0_px=256, slide_size=(1536, 512))
    assert picture.shape == (200, 600, 3)
    assert enlarge(WHITE) is WHITE or enlarge(WHITE).shape == WHITE.shape


@pytest.mark.parametrize(
    ("places", "values", "scale"),
    [([(0, 0)], [0.5, 0.5], "raw"), ([(0, 0)], [np.nan], "raw"), ([(0, 0)], [1.0], "log")],
)
def test_wrong_input_is_an_error_that_says_so(places, values, scale):
    with pytest.raises(AsmilError, match="Found"):
        _drawn(places, values, scale=scale)


def test_outlines_and_points_are_drawn_where_they_are():
    picture = draw_outlines(
        WHITE, slide_size=SLIDE, outlines=[box(1000, 1000, 3000, 3000)], points=np.array([[6000, 3000]])
    )
    assert (picture[200, 95:106] != 255).any()
    assert (picture[290:311, 590:611] != 255).any()
    assert (picture[200, 150:250] == 255).all()
    assert (draw_outlines(WHITE, slide_size=SLIDE) == WHITE).all()


def test_nearly_even_attention_still_gets_all_colours():
    values = np.full(100, 0.01) * (1 + 1e-3 * np.linspace(-1, 1, 100))
    low, high = raw_limits(values)
    assert (low, high) == pytest.approx((1 - 0.98e-3, 1 + 0.98e-3), rel=1e-6)
    places = [(x, y) for y in range(0, 6000, 600) for x in range(0, 8000, 800)]
    picture = _drawn(places, values, scale="raw", tile_level0_px=600)
    assert picture[..., 0].min() == 0
    assert len(np.unique(picture[..., 0])) > 90


def test_attention_that_does_not_vary_gets_the_middle_colour():
    assert raw_limits(np.full(7, 1 / 7)) == pytest.approx((0, 2))
    picture = _drawn([(0, 0), (1000, 0)], [0.5, 0.5], scale="raw")
    assert picture[50, 50, 0] == pytest.approx(128, abs=1)
