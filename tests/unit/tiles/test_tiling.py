"""The grid of tiles: size, step, limits, and the errors of bad settings."""

import time

import numpy as np
import pytest
import shapely

from asmil.errors import ConfigError, ScaleError, TissueError
from asmil.slides import open_slide
from asmil.tiles import Tissue, find_tissue, tile


def whole(size, mpp=0.5):
    return Tissue(shapely.MultiPolygon([shapely.box(0, 0, *size)]), size, mpp)


def test_row_major_and_wholly_inside():
    grid = tile(((100, 70), 0.5), whole((100, 70)), mpp=0.5, tile_px=32)
    assert grid.level0_xy.tolist() == [[0, 0], [32, 0], [64, 0], [0, 32], [32, 32], [64, 32]]
    assert grid.level0_xy.dtype == np.int64
    assert (grid.tissue_fraction == 1).all()


def test_the_step_comes_from_the_true_mpp_and_does_not_drift():
    """256 px at .5 are 256.513 level-0 pixels at .499: rounded steps would be 50 px off after 100 tiles."""
    size = (100 * 257, 600)
    grid = tile((size, 0.499), whole(size, 0.499), mpp=0.5, tile_px=256)
    xs = np.unique(grid.level0_xy[:, 0])
    np.testing.assert_array_equal(xs, np.rint(np.arange(len(xs)) * 256 * 0.5 / 0.499))
    assert len(xs) == 100


def test_overlap():
    grid = tile(((100, 32), 0.5), whole((100, 32)), mpp=0.5, tile_px=32, overlap_px=16)
    assert grid.level0_xy[:, 0].tolist() == [0, 16, 32, 48, 64]


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"overlap_px": 32}, TissueError),
        ({"overlap_px": -1}, TissueError),
        ({"min_tissue": 0}, TissueError),
        ({"min_tissue": 1.1}, TissueError),
        ({"tile_px": 0}, TissueError),
        ({"tile_px": 101}, TissueError),
        ({"mpp": 0.25}, ScaleError),
        ({"mpp": float("nan")}, ScaleError),
    ],
)
def test_bad_settings(settings, error):
    with pytest.raises(error):
        tile(((100, 100), 0.5), whole((100, 100)), **{"mpp": 0.5, "tile_px": 32, **settings})


def test_a_slide_that_is_too_coarse_says_what_can_be_done_in_a_run_and_in_a_prediction():
    with pytest.raises(ScaleError, match=r"mpp >= 0\.5, or .*--slide-mpp .*leave the slide out"):
        tile(((100, 100), 0.5), whole((100, 100)), mpp=0.25, tile_px=32)


def test_within_the_tolerance_of_the_slide_is_no_upsampling():
    assert len(tile(((100, 100), 0.5015), whole((100, 100), 0.5015), mpp=0.5, tile_px=32)) == 9


def test_tissue_of_another_slide_is_refused():
    with pytest.raises(TissueError, match="another slide"):
        tile(((100, 100), 0.5), whole((100, 90)), mpp=0.5, tile_px=32)


def test_grid_starts_at_the_scanned_part(cmu_slide):
    with open_slide(cmu_slide) as slide:
        slide.bounds = (101, 203, 1000, 900)
        grid = tile(slide, find_tissue(slide, method="whole"), mpp=slide.mpp, tile_px=128, min_tissue=0.9)
    assert grid.level0_xy.min(axis=0).tolist() == [101, 203]
    assert (grid.level0_xy.max(axis=0) + 128 <= (1101, 1103)).all()


def test_a_hundred_thousand_tiles_take_seconds():
    angle = np.linspace(0, 2 * np.pi, 20_001)[:-1]
    radius = 30_000 + 5_000 * np.sin(40 * angle) + 50 * np.sin(3001 * angle)
    outline = np.stack([40_000 + radius * np.cos(angle), 40_000 + radius * np.sin(angle)], axis=1)
    polygon = shapely.make_valid(shapely.Polygon(outline))
    tissue = Tissue(shapely.MultiPolygon(shapely.get_parts(polygon)), (80_000, 80_000), 0.25)
    start = time.process_time()
    grid = tile(((80_000, 80_000), 0.25), tissue, mpp=0.5, tile_px=112, min_tissue=1e-9)
    assert time.process_time() - start < 60
    assert len(grid) > 50_000
    assert grid.tissue_fraction.astype(float).sum() * 224**2 == pytest.approx(polygon.area, rel=1e-6)


def test_shares_of_tissue_are_those_of_clipped_outlines():
    """Holes, islands in them, a bow that touches itself, and steps that are no whole numbers."""
    rng = np.random.default_rng(0)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 60))
    outline = np.stack([np.cos(angles), np.sin(angles)], axis=1) * rng.uniform(60, 95, (60, 1)) + 100
    ring = shapely.make_valid(shapely.Polygon(outline)) - shapely.Point(100, 100).buffer(30)
    shape = shapely.union_all([ring, shapely.Point(100, 100).buffer(9), shapely.box(3, 3, 17, 190)])
    parts = [part for part in shapely.get_parts(shape) if part.geom_type == "Polygon"]
    tissue = Tissue(shapely.MultiPolygon(parts), (200, 200), 0.5)
    for overlap_px in (0, 5, 15):
        grid = tile(((200, 200), 0.5), tissue, mpp=0.55, tile_px=16, overlap_px=overlap_px, min_tissue=1e-9)
        x, y = grid.level0_xy.T
        boxes = shapely.box(x, y, x + grid.tile_level0_px, y + grid.tile_level0_px)
        truth = shapely.area(shapely.intersection(boxes, tissue.polygons)) / grid.tile_level0_px**2
        np.testing.assert_allclose(grid.tissue_fraction, truth, atol=1e-6)


def test_more_places_than_a_slide_may_have_are_refused_with_what_is_possible():
    """Hours, and all memory, for what nobody meant: a typed 223 for 23."""
    size = (2220, 2967)
    with pytest.raises(
        ConfigError, match=r"a grid of 5,479,768 places .* a step of 1 px.* an overlap of 222 px or less"
    ):
        tile((size, 0.5), whole(size), mpp=0.5, tile_px=224, overlap_px=223)
    with pytest.raises(ConfigError, match="take tiles of 2 px or more"):
        tile((size, 0.5), whole(size), mpp=0.5, tile_px=1)
