"""colour-texture by compiled loops: the values of its definition in torch, on every kind of tile, bit for bit alone."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

from asmil.encoders import create_encoder
from asmil.encoders.families import colour_texture as texture

needs_numba = pytest.mark.skipif(
    "not __import__('importlib.util').util.find_spec('numba')", reason="numba is not installed (extra `fast`)"
)
SIDES = [16, 17, 32, 50, 127, 128, 224, 300, 520]


@pytest.fixture(scope="module")
def encoder():
    return create_encoder("colour-texture")


@pytest.fixture
def no_loops(monkeypatch):
    """As where numba is not installed."""
    monkeypatch.setitem(sys.modules, "numba", None)
    texture._loops.cache_clear()
    yield
    texture._loops.cache_clear()


def drawn(side: int) -> np.ndarray:
    """Noise, one colour, two colours, stripes of one pixel, single pixels, a gradient, and colours that clip."""
    rng = np.random.default_rng(side)
    noise = rng.integers(0, 256, (4, side, side, 3), dtype=np.uint8)
    flat = np.stack([np.full((side, side, 3), value, np.uint8) for value in (0, 1, 77, 254, 255)])
    coloured = np.broadcast_to(
        np.array([(255, 0, 0), (0, 255, 0), (90, 40, 150)], np.uint8)[:, None, None], (3, side, side, 3)
    )
    two, stripes, dots = (np.full((side, side, 3), 240, np.uint8) for _ in range(3))
    two[:, : side // 2], stripes[::2], dots[rng.random((side, side)) < 0.01] = (90, 40, 150), 20, (60, 20, 120)
    slope = np.linspace(0, 255, side).astype(np.uint8)
    gradient = np.stack([np.add.outer(slope // 2, slope // 2), *[np.tile(slope, (side, 1))] * 2], axis=-1)
    return np.concatenate([noise, noise // 16 * 16, flat, coloured, np.stack([two, stripes, dots, gradient])])


def oracle(tiles: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return torch.cat([texture.describe(torch.from_numpy(tile)[None]) for tile in tiles]).numpy()


@needs_numba
@pytest.mark.parametrize("side", SIDES)
def test_drawn_tiles_have_the_values_of_the_torch_form(encoder, side):
    tiles = drawn(side)
    found = encoder(tiles).numpy()
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, oracle(tiles), rtol=1e-5, atol=5e-5)


@needs_numba
@pytest.mark.parametrize("side", [16, 32, 50, 224])
def test_real_tiles_have_the_values_of_the_torch_form(encoder, cmu_slide, side):
    from asmil.slides import open_slide

    with open_slide(cmu_slide) as slide:
        region = slide.read((300, 300), 4 * 224, mpp=slide.mpp)
    n = min(8, len(region) // side)
    tiles = region[: n * side, : n * side].reshape(n, side, n, side, 3).swapaxes(1, 2).reshape(-1, side, side, 3)
    np.testing.assert_allclose(encoder(tiles).numpy(), oracle(tiles), rtol=1e-5, atol=5e-5)


@needs_numba
@pytest.mark.parametrize(("height", "width"), [(16, 40), (40, 16), (33, 129), (300, 131)])
def test_tiles_that_are_no_squares(encoder, height, width):
    tiles = np.random.default_rng(3).integers(0, 256, (3, height, width, 3), dtype=np.uint8)
    np.testing.assert_allclose(encoder(tiles).numpy(), oracle(tiles), rtol=1e-5, atol=5e-5)


@needs_numba
@pytest.mark.parametrize("side", [32, 224])
def test_a_tile_has_the_same_bytes_in_any_batch_and_memory(encoder, side):
    tiles = np.random.default_rng(4).integers(0, 256, (23, side, side, 3), dtype=np.uint8)
    alone = np.concatenate([encoder(tile[None]).numpy() for tile in tiles])
    assert encoder(tiles).numpy().tobytes() == alone.tobytes()
    turned = np.ascontiguousarray(tiles.swapaxes(1, 2)).swapaxes(1, 2)
    turned.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch, of memory that may not be written
        assert encoder(turned).numpy().tobytes() == alone.tobytes()
    assert encoder(tiles[:0]).shape == (0, encoder.card.dim)


@needs_numba
def test_nothing_is_compiled_but_once(encoder):
    """Tiles of any size, number and memory are of one signature: a second one would cost seconds in the middle."""
    from asmil.encoders.families import texture_loops, texture_planes

    for side, count in ((16, 1), (40, 9), (224, 3), (300, 1)):
        encoder(torch.zeros(count, side, side, 3, dtype=torch.uint8))
        encoder(torch.zeros(count, 3, side, side, dtype=torch.uint8).permute(0, 2, 3, 1))
    entries = [vars(module)[name] for module, names in (
        (texture_planes, ("stain_planes", "pyramid", "granulometry")),
        (texture_loops, ("distribution", "nuclei", "octave", "cooccurrence")),
    ) for name in names]  # fmt: off
    assert [len(entry.signatures) for entry in entries] == [1] * len(entries)


def test_without_numba_torch_computes_the_same_and_says_so_once(encoder, no_loops):
    tiles = drawn(32)
    with pytest.warns(UserWarning, match=r"ten times slower.*numba.*asmil\[fast\]"):
        slow = create_encoder("colour-texture")(tiles).numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = create_encoder("colour-texture")(tiles).numpy()
    assert np.array_equal(slow, again)
    np.testing.assert_allclose(slow, oracle(tiles), rtol=1e-5, atol=1e-5)
    assert create_encoder("colour-texture").weight_hash == encoder.weight_hash == "colour-texture-v1"


@needs_numba
@pytest.mark.parametrize("tiles", [torch.rand(2, 32, 32, 3) * 255])
def test_what_the_loops_do_not_take_torch_does(encoder, tiles):
    with torch.inference_mode():
        expected = texture.describe(tiles)
    torch.testing.assert_close(encoder(tiles), expected, rtol=1e-5, atol=1e-5)


@needs_numba
def test_a_second_process_finds_what_was_compiled_or_goes_without_a_folder_for_it(tmp_path):
    code = (  # of one loop: to compile all takes ten times as long
        "import numpy as n; from asmil.encoders.families.texture_loops import cooccurrence as loop;"
        "loop(n.zeros((1, 2, 20, 20), n.float32), n.zeros((1, 284), n.float32), 276);"
        "print(sum(loop.stats.cache_hits.values()))"
    )
    from os import environ

    for hits in ("0", "1"):
        environment = {**environ, "NUMBA_CACHE_DIR": str(tmp_path)}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == hits
