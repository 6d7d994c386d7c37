"""Geometry of tiles and outlines against brute force."""

import numpy as np
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from asmil.errors import TissueError
from asmil.tiles import Tissue, mask_polygons, tile

masks = st.tuples(st.integers(1, 14), st.integers(1, 14)).flatmap(lambda shape: arrays(bool, shape))


@settings(max_examples=150, deadline=None)
@given(masks)
def test_outline_covers_exactly_the_mask(mask):
    polygons = mask_polygons(mask)
    assert polygons.is_valid
    assert polygons.area == mask.sum()
    rows, columns = np.indices(mask.shape)
    inside = shapely.contains_xy(polygons, columns + 0.5, rows + 0.5)
    np.testing.assert_array_equal(inside, mask)


@settings(max_examples=30, deadline=None)
@given(masks, st.integers(1, 6), st.integers(0, 5), st.sampled_from([0.5, 0.65, 0.99, 1.0]))
def test_tissue_fractions_are_exact(mask, tile_px, overlap_px, mpp):
    """Mask pixels are 10 level-0 pixels wide, and a tile's area is summed pixel by pixel."""
    size = (mask.shape[1] * 10, mask.shape[0] * 10)
    tissue = Tissue(mask_polygons(mask, px_size=(10, 10)), size, 0.5)
    overlap_px = min(overlap_px, tile_px - 1)
    try:
        grid = tile((size, 0.5), tissue, mpp=mpp, tile_px=tile_px, overlap_px=overlap_px, min_tissue=1e-6)
    except TissueError:
        assert not mask.any() or min(size) < grid_side(mpp, tile_px) or missed(mask, tile_px, mpp)
        return
    side = grid.tile_level0_px
    assert (grid.level0_xy + side <= np.array(size) + 1e-6).all()
    order = grid.level0_xy[:, 1] * 10_000 + grid.level0_xy[:, 0]
    assert (np.diff(order) > 0).all()
    edges_x, edges_y = np.arange(size[0] + 1), np.arange(size[1] + 1)
    fine = np.repeat(np.repeat(mask, 10, 0), 10, 1)
    for (x, y), fraction in zip(grid.level0_xy.tolist(), grid.tissue_fraction, strict=True):
        wide = np.clip(np.minimum(edges_x[1:], x + side) - np.maximum(edges_x[:-1], x), 0, 1)
        high = np.clip(np.minimum(edges_y[1:], y + side) - np.maximum(edges_y[:-1], y), 0, 1)
        assert abs(high @ fine @ wide / side**2 - fraction) < 1e-5


def grid_side(mpp, tile_px):
    return tile_px * mpp / 0.5


def missed(mask, tile_px, mpp):
    """Whether all tissue lies in the rim that no whole tile covers."""
    side = grid_side(mpp, tile_px)
    height, width = mask.shape[0] * 10, mask.shape[1] * 10
    rows, columns = np.nonzero(mask)
    rim_x, rim_y = width - 2 * side - 1, height - 2 * side - 1
    return bool(((columns * 10 + 10 > rim_x) | (rows * 10 + 10 > rim_y)).all())
