"""Panels: equal maps, colour bars that say their range, scale bars that are true, rows of tiles."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import box

from asmil.figures import heatmap_panels, length_text, panels_figure, range_text, scale_bar_um, slide_maps, tile_strip
from asmil.figures.panels import MARGIN_PX, PANEL_PX

WHITE = np.full((150, 200, 3), 255, dtype=np.uint8)
PLACE = {"tile_level0_px": 1000, "slide_size": (8000, 6000)}
PLACES, ATTENTION = np.array([[0, 0], [1000, 0], [2000, 0]]), np.array([0.2, 0.7, 0.1])


def _panels(**options):
    return heatmap_panels(slide_maps(WHITE, PLACES, ATTENTION, **PLACE), ATTENTION, **options)


def test_maps_are_equal_in_size_and_carry_the_marks():
    maps = slide_maps(WHITE, PLACES, ATTENTION, outlines=[box(4000, 3000, 6000, 5000)], **PLACE)
    assert list(maps) == ["slide", "percentile", "raw"]
    assert {picture.shape for picture in maps.values()} == {(384, PANEL_PX, 3)}
    per_px = PANEL_PX / 8000
    y, x = round(4000 * per_px), round(4000 * per_px)
    for picture in maps.values():
        assert (picture[y, x - 2 : x + 3] != 255).any()
    assert (maps["slide"][:100] == 255).all()
    assert (maps["raw"][10, [10, 100, 180]] != maps["percentile"][10, [10, 100, 180]]).any()


def test_even_attention_is_grey_and_one_colour_in_both_maps():
    maps = slide_maps(WHITE, PLACES, ATTENTION, even=True, **PLACE)
    for name in ("percentile", "raw"):
        tiles = maps[name][5:60, 5:185].reshape(-1, 3)
        assert len(np.unique(tiles)) == 1
    coloured = slide_maps(WHITE, PLACES, ATTENTION, **PLACE)["percentile"][5:60, 5:185]
    assert len(np.unique(coloured)) > 3


def test_evidence_is_red_for_and_blue_against_and_pale_where_it_is_none():
    evidence = np.array([1.0, -1.0, 0.0])
    maps = slide_maps(WHITE, PLACES, ATTENTION, evidence=evidence, **PLACE)
    (red, _, blue), (r, _, b), pale = (maps["evidence"][30, x].astype(int) for x in (30, 96, 160))
    assert red > blue + 40
    assert b > r + 40
    assert np.ptp(pale) < 10
    wide = heatmap_panels(maps, ATTENTION, evidence=(evidence, "tumour"))
    assert wide.shape[1] > _panels().shape[1]


def test_the_panels_as_a_figure_have_the_same_maps_and_words_and_a_notebook_shows_them():
    evidence = np.array([1.0, -1.0, 0.0])
    maps = slide_maps(WHITE, PLACES, ATTENTION, evidence=evidence, **PLACE)
    figure = panels_figure(maps, ATTENTION, evidence=(evidence, "a $class$"), title="a $slide$")
    pictures = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    assert all((one == other).all() for one, other in zip(pictures, maps.values(), strict=True))
    words = [axes.get_xlabel() for axes in figure.axes]
    assert "evidence for a $class$ (logit)" in words
    assert any(range_text(ATTENTION) in text for text in words)
    assert figure._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize("shape", [(300, 40, 3), (40, 300, 3), (1, 1, 3)])
def test_slides_of_any_shape_fit_on_the_sheet(shape):
    maps = slide_maps(np.zeros(shape, np.uint8), PLACES, ATTENTION, tile_level0_px=9, slide_size=(shape[1], shape[0]))
    sheet = heatmap_panels(maps, ATTENTION, width_um=1000.0, title="a")
    assert sheet.shape[0] > maps["slide"].shape[0]
    assert sheet.shape[1] > 3 * maps["slide"].shape[1]


def test_the_scale_bar_is_as_long_as_it_says():
    changed = (_panels() != _panels(width_um=4000.0)).any(axis=-1)
    assert scale_bar_um(4000) == 500
    length = PANEL_PX * 500 / 4000
    before_words = changed[:, : MARGIN_PX + round(length) + 6]
    assert before_words.sum(axis=1).max() == pytest.approx(length, abs=2)


def test_the_range_is_in_numbers_and_any_title_is_written():
    assert range_text(ATTENTION) == "all tiles 0.3 – 2.1×"
    assert (_panels(title="costs $5 & $a_{b") != _panels()).any()


@given(st.floats(1, 1e6))
def test_scale_bars_are_round_and_fit(width_um):
    um = scale_bar_um(width_um)
    assert width_um / 13 < um <= width_um / 5 * 1.000001
    assert f"{um:.6e}"[0] in "125"


def test_lengths_carry_their_unit():
    assert (length_text(500), length_text(2000)) == ("500 µm", "2 mm")


def test_tile_strip_places_tiles_with_gaps_and_captions():
    tiles = np.stack([np.full((20, 20, 3), v, dtype=np.uint8) for v in (50, 200)])
    strip = tile_strip(tiles, ["2.1×"], tile_px=64, gap_px=4)
    assert strip.shape == (64, 132, 4)
    assert (strip[:, 64:68, 3] == 0).all()
    assert (strip[10, 10, :3] == 50).all()
    assert (strip[60, 100, :3] == 200).all()
    assert (strip[53:64, :64, :3] > 180).any(), "the caption is not written"
