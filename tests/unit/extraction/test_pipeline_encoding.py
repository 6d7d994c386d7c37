"""Batches that do not fit the memory are halved; a GPU gives what the CPU gives; large slides spill to disk."""

import tracemalloc
import warnings

import numpy as np
import pytest
import torch

from asmil.errors import EncoderError
from asmil.extraction import embed, extract_slides
from asmil.extraction.encoding import Encoding
from asmil.extraction.feature_file import Rows
from asmil.slides import open_slide
from asmil.tiles import TileGrid

cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


class _Small:
    """A device whose memory holds so many tiles."""

    def __init__(self, encoder, *, fits):
        self.encoder, self.card, self.weight_hash, self.device = encoder, encoder.card, "small", encoder.device
        self.precision = encoder.precision
        self.fits, self.tried = fits, []

    def __call__(self, tiles):
        self.tried.append(len(tiles))
        if len(tiles) > self.fits:
            raise torch.OutOfMemoryError("no memory")
        return self.encoder(tiles)


def test_a_batch_that_does_not_fit_is_halved_for_good_and_told_once(pieces, settings, colour, features_of, tmp_path):
    small = _Small(colour(), fits=9)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        results = list(extract_slides(pieces[:5], tmp_path, encoders=[small], settings=settings, batch_size=32))
    assert small.tried[:3] == [32, 16, 8]
    assert max(small.tried[2:]) == 8
    assert [str(warning.message) for warning in told] == [
        "colour: 32 tiles at once do not fit the memory of cpu; going on with 8"
    ]
    assert [result.result for result in results] == ["ok"] * 5
    list(extract_slides(pieces[:5], tmp_path / "roomy", encoders=[colour()], settings=settings))
    [small_store], [roomy] = (list((f / "features").iterdir()) for f in (tmp_path, tmp_path / "roomy"))
    for path in pieces[:5]:
        found, wanted = (features_of(store / f"{path.stem}.h5")[0] for store in (small_store, roomy))
        np.testing.assert_allclose(found, wanted, rtol=2e-3)


def test_a_tile_that_does_not_fit_is_raised(pieces, settings, colour, tmp_path):
    small = _Small(colour(), fits=0)
    with pytest.raises(torch.OutOfMemoryError):
        list(extract_slides(pieces, tmp_path, encoders=[small], settings=settings, batch_size=8))
    assert small.tried == [8, 4, 2, 1]


def test_encoders_of_several_devices_are_refused(colour):
    other = colour("other")
    other.device = torch.device("meta")
    with pytest.raises(EncoderError, match="on one device"):
        Encoding([colour(), other])


def test_tiles_with_a_flag_are_left_out_before_encoding(pieces, settings, colour, features_of, tmp_path):
    from dataclasses import replace

    import h5py
    from PIL import Image

    from asmil.tiles import QUALITY_FLAGS

    pixels = np.array(Image.open(pieces[4]))
    pixels[:64] = (30, 60, 200)  # blue ink over two of the ten rows
    Image.fromarray(pixels).save(tmp_path / "marked.png")
    Image.new("RGB", (64, 64), (30, 60, 200)).save(tmp_path / "only ink.png")
    paths = [tmp_path / "marked.png", tmp_path / "only ink.png", pieces[3]]
    encoder, chosen = colour(), replace(settings, exclude=("pen",))
    marked, ink, clean = extract_slides(paths, tmp_path, encoders=[encoder], settings=chosen, batch_size=24)
    assert (marked.result, marked.tiles, marked.flags["pen"]) == ("ok", 64, 16)
    assert (ink.result, ink.tiles, ink.flags["pen"]) == ("skipped", 0, 4)
    assert "pen" in ink.reason
    assert sum(encoder.batches) == 64 + clean.tiles
    [file] = tmp_path.rglob("marked.h5")
    features, coords = features_of(file)
    assert len(features) == len(coords) == 64
    assert coords[:, 1].min() == 64
    np.testing.assert_allclose(features[0, :3], pixels[64:96, :32].mean((0, 1)), rtol=1e-3)
    with h5py.File(file) as opened:
        assert set(opened["quality"]) == set(QUALITY_FLAGS.names())
        assert opened["quality/pen"].shape == (64,)
        assert not np.any(opened["quality/pen"])
    [unknown] = extract_slides(paths[2:], tmp_path, encoders=[encoder], settings=replace(settings, exclude=("bulr",)))
    assert unknown.result == "failed"
    assert "bulr" in unknown.reason


def test_tiles_whose_stain_was_left_are_counted_slide_by_slide(pieces, settings, colour, tmp_path):
    from PIL import Image

    pytest.importorskip("torchstain")
    from asmil.encoders import with_stain

    Image.new("RGB", (96, 64), (240, 240, 242)).save(tmp_path / "glass.png")
    paths = [pieces[0], tmp_path / "glass.png", pieces[4]]
    alone = []
    for path in paths:
        pixels = np.array(Image.open(path))
        high, wide = pixels.shape[0] // 32, pixels.shape[1] // 32
        encoder = with_stain(colour(), "reinhard")
        encoder.normalize(pixels.reshape(high, 32, wide, 32, 3).swapaxes(1, 2).reshape(-1, 32, 32, 3))
        alone.append(encoder.unchanged)
    encoder = with_stain(colour(), "reinhard")
    results = list(extract_slides(paths, tmp_path, encoders=[encoder], settings=settings, batch_size=24))
    assert [result.flags.get("unstained", 0) for result in results] == alone
    assert alone[1] == results[1].tiles == 6
    assert alone[0] < results[0].tiles
    assert encoder.unchanged == sum(alone)


def test_rows_beyond_memory_go_to_a_file_without_a_name(tmp_path, monkeypatch):
    monkeypatch.setattr("asmil.extraction.feature_file.IN_MEMORY", 1000)
    rows, blocks = Rows(5, folder=tmp_path), [np.random.default_rng(n).normal(size=(n, 5)) for n in (3, 0, 9000, 1)]
    for block in blocks:
        rows.append(block)
    assert rows.shape == (9004, 5)
    assert list(tmp_path.iterdir()) == []
    for _ in range(2):
        np.testing.assert_array_equal(np.concatenate(list(rows)), np.concatenate(blocks).astype(np.float16))


class _Endless:
    """A slide of any size whose tiles cost nothing to read."""

    def __init__(self, tiles):
        xy = np.stack([np.arange(tiles) * 32, np.zeros(tiles)], axis=1)
        self.grid = TileGrid(xy, 32, 1.0, 1.0, (32 * tiles, 32), np.ones(tiles))

    def read_tiles(self, grid, indices, out):
        out[:] = np.asarray(indices % 251, np.uint8)[:, None, None, None]


def test_pixels_in_memory_do_not_grow_with_the_slide(colour):
    peaks = []
    for tiles in (600, 6000):
        slide = _Endless(tiles)
        tracemalloc.start()
        features = embed(slide, slide.grid, colour(), batch_size=64)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        np.testing.assert_array_equal(features[:, 0], np.arange(tiles) % 251)
    pixels_of_the_larger = 6000 * 32 * 32 * 3
    assert peaks[1] < peaks[0] + 0.1 * pixels_of_the_larger


@cuda
def test_cuda_gives_what_the_cpu_gives(cmu_slide, pieces, settings, features_of, tmp_path):
    from asmil.encoders import create_encoder

    for device in ("cpu", "cuda"):
        encoder = create_encoder("colour-texture", device=device)
        results = list(extract_slides(pieces, tmp_path / device, encoders=[encoder], settings=settings, batch_size=16))
        assert [result.result for result in results] == ["ok"] * len(pieces)
    for path in pieces:
        files = [next((tmp_path / device).rglob(f"{path.stem}.h5")) for device in ("cpu", "cuda")]
        np.testing.assert_allclose(*(features_of(file)[0] for file in files), rtol=1e-2, atol=1e-2)
    with open_slide(cmu_slide) as slide:
        xy = np.array([(x, 600) for x in range(300, 620, 32)])
        grid = TileGrid(xy, 32, slide.mpp, slide.mpp, slide.size, np.ones(len(xy)))
        found = embed(slide, grid, create_encoder("colour-texture", device="cuda"), batch_size=4)
        np.testing.assert_allclose(found, embed(slide, grid, create_encoder("colour-texture")), rtol=1e-2, atol=1e-2)


@cuda
def test_cuda_memory_is_halved_and_buffers_are_pinned(pieces, settings, colour, tmp_path):
    encoder = colour()
    encoder.device = torch.device("cuda")
    small = _Small(encoder, fits=5)
    with pytest.warns(UserWarning, match="going on with 4"):
        results = list(extract_slides(pieces, tmp_path, encoders=[small], settings=settings, batch_size=16))
    assert [result.result for result in results] == ["ok"] * len(pieces)
    assert Encoding([encoder]).allocate((2, 4, 4, 3)).is_pinned()
