"""Native TIFF tiles: the pixels and facts that OpenSlide gives, and what is wrong with a file said by place."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile
from PIL import Image

from asmil.errors import SlideError
from asmil.slides import DamagedSlideError, list_scenes, open_slide, write_slide, write_sparse_slide
from asmil.slides.readers.openslide import OpenSlideReader
from asmil.slides.readers.tiff import TiffReader
from asmil.tiles import TileGrid

imagecodecs = pytest.importorskip("imagecodecs")


def picture(width, height, seed=0):
    """Smooth colours, so that lossy codecs come close."""
    grid = np.random.default_rng(seed).integers(20, 235, (6, 7, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC))


@pytest.mark.parametrize(
    "name",
    [
        "slides/CMU-1-Small-Region.svs",
        "slides/CMU-1-Small-Region.jpeg.tiff",
        "slides/TCGA-CR-7395-01A-01-TS1.svs",
        "slides/slaid_patch-8-level.tif",
        "colon/slides/colon_001.tif",
        "idc/slides/idc_10254.tif",
    ],
)
def test_facts_and_pixels_are_those_of_openslide(data_dir, name):
    ours, theirs = TiffReader(data_dir / name), OpenSlideReader(data_dir / name)
    for fact in ("vendor", "objective", "bounds"):
        assert getattr(ours, fact) == getattr(theirs, fact), fact
    assert ours.level_sizes == tuple(theirs.level_sizes)
    assert ours.downsamples == pytest.approx(theirs.downsamples)
    assert (ours.file_mpp is None) == (theirs.file_mpp is None)
    assert ours.file_mpp is None or ours.file_mpp == pytest.approx(theirs.file_mpp)
    for level, (width, height) in enumerate(ours.level_sizes):
        size = min(width, 700), min(height, 600)
        for corner in ((0, 0), (-20, -7)):
            down = ours.downsamples[level]
            origin = tuple(round(c * down) for c in corner) if float(down).is_integer() else (0, 0)
            np.testing.assert_array_equal(ours.read_level(level, origin, size), theirs.read_level(level, origin, size))
    ours.close()
    theirs.close()


@pytest.mark.parametrize(
    ("compression", "predictor", "error"),
    [
        *(("none", None, 0), ("lzw", 2, 0), ("adobe_deflate", None, 0), ("adobe_deflate", 2, 0)),
        *(("zstd", None, 0), ("jpeg", None, 3), ("jpeg2000", None, 0)),
    ],
)
@pytest.mark.parametrize("grey", [False, True])
def test_every_compression(tmp_path, compression, predictor, error, grey):
    pixels = picture(300, 200)[..., 0] if grey else picture(300, 200)
    tifffile.imwrite(
        *(tmp_path / "a.tif", np.ascontiguousarray(pixels)),
        tile=(128, 64),
        compression=compression,
        predictor=predictor,
        photometric="minisblack" if grey else "rgb",
        resolution=(20_000, 20_000),
        resolutionunit="CENTIMETER",
    )
    with open_slide(tmp_path / "a.tif") as slide:
        assert (slide.reader, slide.mpp, slide.passed_over) == ("tiff", 0.5, {})
        found = slide.read((-3, 0), (303, 210), mpp=0.5)
    expected = np.full((210, 303, 3), 255)
    expected[:200, 3:] = pixels[..., None] if grey else pixels
    assert np.abs(found - expected).mean() <= error
    assert np.abs(found - expected)[:190, 3:290].max() <= 3 * error


def test_aperio_jpeg2000_in_ycbcr(tmp_path):
    pixels = picture(256, 256)
    planes = np.asarray(Image.fromarray(pixels).convert("YCbCr"))
    data = imagecodecs.jpeg2k_encode(planes, codecformat="J2K", mct=False, reversible=True)
    text = "Aperio Image Library v11\n256x256 (256x256) J2K/YUV16 Q=70|AppMag = 20|MPP = 0.5"
    with tifffile.TiffWriter(tmp_path / "a.svs") as file:
        file.write(
            iter([data]),
            shape=(256, 256, 3),
            dtype=np.uint8,
            tile=(256, 256),
            compression=33003,
            photometric="rgb",
            description=text,
            metadata=None,
        )
    with open_slide(tmp_path / "a.svs") as slide, open_slide(tmp_path / "a.svs", reader="openslide") as other:
        assert (slide.reader, slide.objective, slide.mpp) == ("tiff", 20.0, 0.5)
        ours, theirs = (s.read((0, 0), 256, mpp=0.5).astype(int) for s in (slide, other))
    assert np.abs(ours - theirs).max() <= 2
    assert np.abs(ours - pixels).max() <= 4


def _levels(path):
    with tifffile.TiffFile(path) as file:
        return [(list(page.aspage().dataoffsets), list(page.aspage().databytecounts)) for page in file.pages]


@pytest.fixture
def pyramid(tmp_path):
    """A JPEG pyramid of three levels."""
    return write_slide(tmp_path / "p.tif", picture(1300, 1100), mpp=0.25)


def _overwrite(path, offset, data):
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def test_tiles_without_bytes_are_white(tmp_path):
    write_sparse_slide(tmp_path / "s.tif", side_px=40_000)
    with open_slide(tmp_path / "s.tif") as slide:
        assert (slide.read((100, 100), 300, mpp=0.25) == 255).all()
        edge = slide.read((16_384 - 10, 20_000), 20, mpp=0.25)
    assert (edge[:, :10] == 255).all()
    assert edge[:, 10:].mean() < 200


def test_a_damaged_tile_is_named_and_the_others_are_read(pyramid):
    offsets, _ = _levels(pyramid)[0]
    _overwrite(pyramid, offsets[8], b"nothing like JPEG")  # 6 columns: row 1, column 2
    with open_slide(pyramid) as slide:
        with pytest.raises(SlideError, match=r"level 0, tile \(2, 1\), from level-0 pixel \(512, 256\)"):
            slide.read((500, 300), 256, mpp=0.25)
        assert slide.read((0, 0), 256, mpp=0.25).std() > 1


def test_a_damaged_level_is_passed_over_with_a_note(pyramid):
    with open_slide(pyramid) as slide:
        assert len(slide.levels) == 3
        whole = slide.thumbnail_at(1.0).astype(int)
    offsets, _ = _levels(pyramid)[2]
    _overwrite(pyramid, offsets[1], b"nothing like JPEG")  # the first tile, tried when opening, is sound
    with open_slide(pyramid) as slide:
        assert np.abs(slide.thumbnail_at(1.0) - whole).mean() < 2
        assert slide.level_for(1.0) == 1
        assert "level 2 is damaged" in slide.notes[0]
    _overwrite(pyramid, offsets[0], b"nothing like JPEG")
    with open_slide(pyramid) as slide:
        assert len(slide.levels) == 2
        assert "level 2" in slide.notes[0]


def test_a_level_that_openslide_cannot_read_is_passed_over(pyramid):
    for offset in _levels(pyramid)[1][0]:
        _overwrite(pyramid, offset, b"nothing like JPEG")
    with open_slide(pyramid, reader="openslide") as slide:
        assert slide.thumbnail_at(0.5).std() > 1
        assert "level 1 is damaged" in slide.notes[0]


def test_a_file_cut_short_is_refused_at_once(pyramid, tmp_path):
    """Tables first, tiles behind: the structure survives, pixels do not."""
    with tifffile.TiffFile(pyramid) as file:
        count = len(file.pages[0].dataoffsets)
    os.truncate(pyramid, max(_levels(pyramid)[0][0]) + 10)
    with pytest.raises((DamagedSlideError, SlideError)):
        open_slide(pyramid)
    tifffile.imwrite(tmp_path / "b.tif", picture(900, 900), tile=(256, 256), photometric="rgb", bigtiff=True)
    size = os.path.getsize(tmp_path / "b.tif")
    os.truncate(tmp_path / "b.tif", size - 256 * 256 * 3 * 5)
    with pytest.raises(DamagedSlideError, match=r"cut short.*[56] of 16 tiles.*download"):
        open_slide(tmp_path / "b.tif", mpp=0.5)
    assert count == 30


def test_an_enormous_slide_takes_little(tmp_path):
    path = write_sparse_slide(tmp_path / "huge.tif")
    with open_slide(path) as slide:
        assert slide.size == (100_000, 100_000)
        assert slide.thumbnail().shape == (1024, 1024, 3)
        picture = slide.thumbnail_at(16.0)
        assert picture.shape == (1562, 1562, 3)
        assert (picture.mean(-1) < 220).mean() == pytest.approx(0.16384**2, rel=0.05)


def test_many_threads_read_the_same(cmu_slide):
    reader = TiffReader(cmu_slide)
    reader._cache.max_bytes = 40 * 240 * 240 * 3
    expected = OpenSlideReader(cmu_slide).read_level(0, (0, 0), (2220, 2967))

    def wrong(seed):
        x, y = np.random.default_rng(seed).integers(0, [2000, 2700])
        return not np.array_equal(reader.read_level(0, (x, y), (220, 260)), expected[y : y + 260, x : x + 220])

    with ThreadPoolExecutor(8) as pool:
        assert not any(pool.map(wrong, range(200)))
    assert reader._cache._bytes <= reader._cache.max_bytes
    reader.close()


def test_tiles_go_into_a_given_buffer(pyramid):
    with open_slide(pyramid) as slide:
        grid = _whole_grid(slide)
        buffer = np.zeros((len(grid), 256, 256, 3), np.uint8)
        assert slide.read_tiles(grid, out=buffer) is buffer
        np.testing.assert_array_equal(buffer, slide.read_tiles(grid))
        with pytest.raises(SlideError, match="buffer"):
            slide.read_tiles(grid, [0], out=buffer)


def _whole_grid(slide, offset=0):
    xy = offset + np.array([[x, y] for y in range(0, 1024, 256) for x in range(0, 1280, 256)])
    return TileGrid(xy, 256, slide.mpp, slide.mpp, slide.size, np.ones(len(xy), np.float32), 0)


def test_each_native_tile_is_decoded_once_in_a_pass(pyramid, monkeypatch):
    calls = []
    original = TiffReader.decode
    monkeypatch.setattr(TiffReader, "decode", lambda self, *at, **k: (calls.append(at), original(self, *at, **k))[1])
    with open_slide(pyramid) as slide:
        del calls[:]  # those of opening
        slide.read_tiles(_whole_grid(slide, offset=20))
    assert len(calls) == len(set(calls)) == 30


@pytest.mark.parametrize(("tag", "field", "value"), [("TileWidth", 8, 1 << 30), ("TileOffsets", 4, 1 << 30)])
def test_absurd_tables_do_not_reach_openslide(pyramid, tag, field, value):
    """Given such a file, GLib ends the process."""
    with tifffile.TiffFile(pyramid) as file:
        entry = file.pages[0].tags[tag].offset
    if tag == "TileWidth":
        _overwrite(pyramid, entry + 2, (4).to_bytes(2, "little"))  # of 32 bits
    _overwrite(pyramid, entry + field, value.to_bytes(4, "little"))
    for reader in ("tiff", "openslide"):
        with pytest.raises(SlideError, match="TIFF tables are damaged"):
            open_slide(pyramid, reader=reader)


@pytest.mark.parametrize(("factor", "scenes"), [(3, 1), (5, 1), (1.5, 2)])
def test_a_page_without_a_mark_is_a_level_if_it_is_a_whole_fraction(tmp_path, factor, scenes):
    path = tmp_path / "pages.tif"
    with tifffile.TiffWriter(path) as file:
        for side in (900, round(900 / factor)):
            file.write(np.zeros((side, side, 3), np.uint8), tile=(128, 128), photometric="rgb")
    assert len(list_scenes(path)) == scenes


@pytest.mark.parametrize("marks", [(0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 1, 1)])
@pytest.mark.parametrize("order", [(64, 32, 16), (16, 32, 64), (32, 64, 16)])
def test_the_finest_level_is_the_largest_picture_wherever_it_stands(order, marks, tmp_path):
    """Copies marked as such may come first; the pyramid began with the first page, and larger ones were lost."""
    path, pixels = tmp_path / "s.tif", np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    with tifffile.TiffWriter(path) as file:
        for size, mark in zip(order, sorted(marks) if order[0] == 64 else marks, strict=True):
            file.write(pixels[:: 64 // size, :: 64 // size], tile=(16, 16), subfiletype=mark, photometric="rgb",
                       resolution=(20_000 * size / 64, 20_000 * size / 64), resolutionunit="CENTIMETER")  # fmt: skip
    with open_slide(path) as slide:
        assert (slide.reader, slide.size, slide.mpp) == ("tiff", (64, 64), 0.5)
        assert [level.size[0] for level in slide.levels] == [64, 32, 16]
        assert np.array_equal(slide.read((0, 0), (64, 64), mpp=0.5), pixels)
