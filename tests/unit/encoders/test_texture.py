"""colour-texture: its values mean what their names say, at any tile size."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from asmil.encoders import create_encoder
from asmil.encoders.families import colour_texture as texture
from asmil.errors import EncoderError


@pytest.fixture(scope="module")
def encoder():
    return create_encoder("colour-texture")


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(0).integers(0, 256, (3, 40, 33, 3), dtype=np.uint8)


def _blobs(radius, *, side=64, step=16):
    """Dark purple discs on pale pink."""
    y, x = np.indices((side, side)) % step - step // 2
    tile = np.full((side, side, 3), (235, 190, 215), np.uint8)
    tile[x**2 + y**2 <= radius**2] = (80, 50, 130)
    return tile[None]


def _planes(tiles):
    return texture.stain_planes(torch.from_numpy(tiles).permute(0, 3, 1, 2).float())


def test_stains_are_pure():
    """A pixel of pure haematoxylin density has none of the other stains."""
    for stain, vector in enumerate((texture.HAEMATOXYLIN, texture.EOSIN)):
        density = 0.6 * np.array(vector) / np.linalg.norm(vector)
        pixel = (256 * 10**-density - 1)[None, :, None, None].repeat(16, 2).repeat(16, 3)
        wanted = np.zeros(3)
        wanted[stain] = 0.6
        planes = texture.stain_planes(torch.from_numpy(pixel).float())
        np.testing.assert_allclose(planes[0, :3, 0, 0], wanted, atol=1e-4)


def test_dilation_is_that_of_scipy(noise):
    x = _planes(noise)[:, :2]
    wanted = ndimage.maximum_filter(x.numpy(), size=(1, 1, 3, 3), mode="nearest")
    np.testing.assert_array_equal(texture.dilate(x), wanted)


def test_blur_is_that_of_scipy(noise):
    x = _planes(noise)[:, :2]
    wanted = x.numpy()
    for axis in (2, 3):
        wanted = ndimage.convolve1d(wanted, np.array([1, 4, 6, 4, 1]) / 16, axis=axis, mode="nearest")
    np.testing.assert_allclose(texture.blur(x), wanted, atol=1e-5)


def test_grain_is_that_of_the_definition(noise):
    """Ojala 2002, riu2: the number of denser neighbours if the ring changes at most twice, else 9."""
    plane = _planes(noise)[:, :1, :12, :14]
    ours = texture.grain(plane).square().numpy()
    for (grey,), shares in zip(plane.numpy(), ours, strict=True):
        wanted = np.zeros(10)
        for y in range(1, grey.shape[0] - 1):
            for x in range(1, grey.shape[1] - 1):
                around = [(-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1)]
                ring = [grey[y + j, x + i] > grey[y, x] + np.float32(0.01) for j, i in around]
                turns = sum(ring[k] != ring[k - 1] for k in range(8))
                wanted[sum(ring) if turns <= 2 else 9] += 1
        np.testing.assert_allclose(shares, wanted / wanted.sum(), atol=1e-6)


@given(value=st.tuples(*[st.integers(0, 255)] * 3), side=st.integers(16, 40))
@settings(max_examples=15, deadline=None)
def test_plain_tiles_have_no_texture(value, side):
    level = _planes(np.full((1, side, side, 3), value, np.uint8))[:, [0, 3]]
    assert texture.structure(level).abs().max() < 1e-2
    assert texture.granulometry(level).abs().max() < 1e-4


def test_rotation_hardly_matters(encoder):
    tile = np.random.default_rng(1).integers(0, 256, (1, 9, 9, 3), dtype=np.uint8).repeat(5, 1).repeat(5, 2)
    turned = np.ascontiguousarray(tile.swapaxes(1, 2))
    torch.testing.assert_close(encoder(tile), encoder(turned), rtol=0, atol=0.02)


def test_granulometry_tells_small_from_large_nuclei():
    small, large = (texture.granulometry(_planes(_blobs(r))[:, [0, 3]])[0] for r in (2, 6))
    assert small[:4].sum() > 0
    assert small[0:4:2].sum() / small[:8].sum() > large[0:4:2].sum() / large[:8].sum()


def test_nuclear_share_is_about_the_area():
    """About: the smoothing that steadies the threshold widens a dense disc by about half a pixel."""
    for radius in (4, 6):
        share = texture.nuclei(_planes(_blobs(radius)))[0, 0]
        assert np.pi * radius**2 / 256 < share < np.pi * (radius + 1) ** 2 / 256


def test_threads_change_neither_values_nor_torch(encoder):
    tiles = np.random.default_rng(2).integers(0, 256, (90, 48, 48, 3), dtype=np.uint8)
    before = torch.get_num_threads()
    found = {}
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found[threads] = encoder(tiles)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[1], found[2])
    assert torch.equal(found[1], found[3])
    assert not found[1].requires_grad


@pytest.mark.parametrize("side", [16, 17, 32, 50, 127, 128, 300])
def test_any_size(encoder, side):
    tiles = np.random.default_rng(0).integers(0, 256, (2, side, side, 3), dtype=np.uint8)
    assert encoder(tiles).shape == (2, encoder.card.dim)


def test_too_small_is_an_error(encoder):
    with pytest.raises(EncoderError, match="too small"):
        encoder(np.zeros((1, 15, 40, 3), np.uint8))


def test_values_are_of_order_one_on_real_tissue(encoder, cmu_slide):
    from asmil.slides import open_slide

    with open_slide(cmu_slide) as slide:
        region = slide.read((500, 500), 512, mpp=slide.mpp)
    tiles = region.reshape(16, 32, 16, 32, 3).swapaxes(1, 2).reshape(-1, 32, 32, 3)
    features = encoder(tiles)
    assert features.abs().max() < 50
    assert features.std(0).median() > 0.03
