"""Slides read exactly: scale, borders, tiles in blocks, the awkward real files."""

import shutil

import numpy as np
import pytest
from PIL import Image

from asmil.errors import ScaleError, SlideError
from asmil.slides import open_slide, scan_slides
from asmil.tiles import TileGrid


def grid_of(slide, *, mpp, tile_px, overlap_px=0):
    step = (tile_px - overlap_px) * mpp / slide.mpp
    side = tile_px * mpp / slide.mpp
    columns, rows = (int((length - side) // step) + 1 for length in slide.size)
    xy = np.array([[round(c * step), round(r * step)] for r in range(rows) for c in range(columns)])
    return TileGrid(xy, tile_px, mpp, slide.mpp, slide.size, np.ones(len(xy), np.float32), overlap_px)


@pytest.fixture
def picture(tmp_path):
    """A noise image saved as PNG, and its pixels."""
    pixels = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    path = tmp_path / "noise.png"
    Image.fromarray(pixels).save(path)
    return path, pixels


def test_native_pixels_are_bit_exact(picture):
    path, pixels = picture
    with open_slide(path, mpp=0.5) as slide:
        assert slide.size == (90, 70)
        assert slide.mpp_source == "--slide-mpp"
        np.testing.assert_array_equal(slide.read((7, 11), (20, 30), mpp=0.5), pixels[11:41, 7:27])


def test_outside_is_white_on_every_side(picture):
    path, pixels = picture
    with open_slide(path, mpp=0.5) as slide:
        region = slide.read((-5, -6), (100, 82), mpp=0.5)
    np.testing.assert_array_equal(region[6:76, 5:95], pixels)
    region[6:76, 5:95] = 255
    assert (region == 255).all()


def test_reduction_averages_instead_of_picking_pixels(tmp_path):
    chess = np.indices((128, 128)).sum(0) % 2 * 255
    Image.fromarray(np.stack([chess] * 3, -1).astype(np.uint8)).save(tmp_path / "chess.png")
    with open_slide(tmp_path / "chess.png", mpp=0.25) as slide:
        region = slide.read((16, 16), 16, mpp=1.0)
    assert np.abs(region.astype(int) - 127).max() <= 3


def test_fractional_scale_is_exact_to_a_fraction_of_a_pixel(tmp_path):
    """A ramp read at 1.3 times its scale from x = 10: pixel i is at 10 + 1.3 (i + .5) - .5."""
    ramp = np.broadcast_to(np.arange(200, dtype=np.uint8)[None, :, None], (60, 200, 3))
    Image.fromarray(np.ascontiguousarray(ramp)).save(tmp_path / "ramp.png")
    with open_slide(tmp_path / "ramp.png", mpp=0.5) as slide:
        row = slide.read((10, 10), (100, 20), mpp=0.65)[10, :, 0]
    expected = 10 + 1.3 * (np.arange(100) + 0.5) - 0.5
    assert np.abs(row - expected).max() <= 0.51


def test_half_micrometre_on_a_499_slide(cmu_slide):
    with open_slide(cmu_slide) as slide:
        assert (slide.mpp, slide.mpp_source, slide.objective) == (0.499, "file", 20.0)
        assert slide.read((500, 500), 64, mpp=0.5).shape == (64, 64, 3)
        assert slide.read((500, 500), 64, mpp=0.49).shape == (64, 64, 3)  # finer, but within the tolerance
        with pytest.raises(ScaleError, match=r"0\.499.*--slide-mpp"):
            slide.read((500, 500), 64, mpp=0.25)


@pytest.mark.parametrize(
    ("mpp", "tile_px", "overlap_px"), [(0.499, 256, 0), (0.499, 100, 30), (0.5, 224, 0), (2.0, 112, 10)]
)
def test_tiles_in_blocks_equal_single_reads(cmu_slide, mpp, tile_px, overlap_px):
    with open_slide(cmu_slide) as slide:
        grid = grid_of(slide, mpp=mpp, tile_px=tile_px, overlap_px=overlap_px)
        order = np.random.default_rng(0).permutation(len(grid))[:16]
        tiles = slide.read_tiles(grid, order)
        for tile, index in zip(tiles, order, strict=True):
            np.testing.assert_array_equal(tile, slide.read(grid.level0_xy[index], tile_px, mpp=mpp))
        mask = np.isin(np.arange(len(grid)), order)
        np.testing.assert_array_equal(slide.read_tiles(grid, mask), slide.read_tiles(grid, np.flatnonzero(mask)))


@pytest.mark.parametrize("mpp", [0.25, 0.5, 0.7])
def test_tiles_equal_single_reads_on_a_level_with_fractional_downsample(data_dir, mpp):
    with open_slide(data_dir / "slides/TCGA-CR-7395-01A-01-TS1.svs", mpp=0.25) as slide:
        assert slide.levels[1].downsample != 2
        assert slide.level_for(0.5) == 1  # 2.0005, not 2: still no read of four times the pixels
        grid = grid_of(slide, mpp=mpp, tile_px=200)
        tiles = slide.read_tiles(grid, range(6))
        for index in range(6):
            np.testing.assert_array_equal(tiles[index], slide.read(grid.level0_xy[index], 200, mpp=mpp))


def test_levels_show_the_same_place(data_dir):
    with open_slide(data_dir / "slides/TCGA-CR-7395-01A-01-TS1.svs", mpp=0.25) as slide:
        low = slide.read((1500, 1200), 300, mpp=0.5).astype(float)
        high = slide.read((1500, 1200), 600, mpp=0.25).astype(float).reshape(300, 2, 300, 2, 3).mean((1, 3))
        shifted = slide.read((1506, 1200), 300, mpp=0.5).astype(float)
    assert np.abs(low - high).mean() < 0.5 * np.abs(shifted - high).mean()


def test_large_reads_in_parts_join_without_a_seam(cmu_slide, monkeypatch):
    with open_slide(cmu_slide) as slide:
        whole = slide.thumbnail(max_px=700)
        native = slide.read((100, 200), (900, 700), mpp=0.499)
        monkeypatch.setattr("asmil.slides.slide.MAX_READ_PX", 300 * 300)
        assert np.abs(whole.astype(int) - slide.thumbnail(max_px=700)).max() <= 1
        np.testing.assert_array_equal(native, slide.read((100, 200), (900, 700), mpp=0.499))


def test_grid_of_another_scale_is_refused(cmu_slide):
    with open_slide(cmu_slide) as slide:
        grid = grid_of(slide, mpp=0.5, tile_px=64)
    with open_slide(cmu_slide, mpp=0.25) as other, pytest.raises(ScaleError, match="another mpp"):
        other.read_tiles(grid)


def test_awkward_slides_open_or_say_why(data_dir):
    slides = data_dir / "slides"
    for name, pattern in {
        "TCGA-CR-7395-01A-01-TS1.svs": r"unknown.*--slide-mpp.*`mpp` column.*--objective.*--mpp is",
        "CMU-1-Small-Region.jpeg.tiff": r"implausible.*0\.00499",
        "slaid_patch-8-level.tif": "unknown",
        "kidney-48-5.tif": "unknown",
    }.items():
        with pytest.raises(ScaleError, match=pattern):
            open_slide(slides / name)
        with open_slide(slides / name, objective=20) as slide:
            assert slide.mpp == 0.5
            assert slide.mpp_source == "objective 20x"
            assert slide.thumbnail(max_px=64).std() > 1
    for name, pattern in {
        "broken.svs": "openslide: .*image: ",
        "small_dicom.dcm": "where on the slide its frames lie",
        "smalltif.tif": "8-bit",
    }.items():
        with pytest.raises(SlideError, match=pattern):
            open_slide(slides / name, mpp=0.5)


def test_awkward_slides_that_are_well(data_dir):
    with open_slide(data_dir / "slides/camelyon_jpeg2000.dcm") as slide:
        assert slide.mpp == pytest.approx(28.9685)
        assert slide.thumbnail(max_px=200).shape == (96, 200, 3)
    with open_slide(data_dir / "slides/test3-DAPI-2-387.ndpi") as slide:
        assert len(slide.levels) == 7
        assert slide.level_for(1.0) == 2


def test_objective_decides_where_it_contradicts_the_file(cmu_slide):
    with open_slide(cmu_slide, objective=40) as slide:
        assert slide.mpp == 0.499  # within a factor of two: the measured value is the better one
    with open_slide(cmu_slide, objective=80) as slide:
        assert (slide.mpp, slide.mpp_source) == (0.125, "objective 80x")
    for wrong in (
        {"mpp": 0},
        {"mpp": float("nan")},
        {"mpp": 252.0},
        {"objective": 0},
        {"objective": float("nan")},
    ):
        with pytest.raises(ScaleError):
            open_slide(cmu_slide, **wrong)


@pytest.mark.parametrize(
    ("file_mpp", "objective", "pattern"),
    [((0.5, 0.5), 5.0, "contradicts its objective"), ((0.5, 0.6), None, "not square"), (None, 40.0, "40x")],
)
def test_scale_is_never_guessed(cmu_slide, monkeypatch, file_mpp, objective, pattern):
    from asmil.slides.readers.openslide import OpenSlideReader

    class Odd(OpenSlideReader):
        def __init__(self, path):
            super().__init__(path)
            self.file_mpp, self.objective = file_mpp, objective

    monkeypatch.setattr("asmil.slides.readers.openslide.READER", Odd)
    with pytest.raises(ScaleError, match=pattern):
        open_slide(cmu_slide, reader="openslide")


def test_damaged_files(cmu_slide, tmp_path):
    (tmp_path / "empty.svs").touch()
    with pytest.raises(SlideError, match="empty"):
        open_slide(tmp_path / "empty.svs")
    with pytest.raises(SlideError, match="no such slide"):
        open_slide(tmp_path / "absent.svs")
    with pytest.raises(SlideError, match="folder"):
        open_slide(tmp_path)
    (tmp_path / "short.svs").write_bytes(cmu_slide.read_bytes()[:900_000])
    with pytest.raises(SlideError), open_slide(tmp_path / "short.svs", mpp=0.5) as slide:
        slide.read((0, 0), slide.size, mpp=0.5)


def test_transparent_pixels_are_white(tmp_path):
    rgba = np.zeros((20, 20, 4), np.uint8)
    rgba[:10] = (200, 30, 90, 255)
    Image.fromarray(rgba).save(tmp_path / "clear.png")
    with open_slide(tmp_path / "clear.png", mpp=1.0) as slide:
        region = slide.read((0, 0), 20, mpp=1.0)
    assert (region[:10] == (200, 30, 90)).all()
    assert (region[10:] == 255).all()


def test_resolution_of_a_print_is_not_the_scale(tmp_path):
    Image.new("RGB", (50, 40)).save(tmp_path / "print.jpg", dpi=(300, 300))
    Image.new("RGB", (50, 40)).save(tmp_path / "print.tif", resolution=600, resolution_unit=2)
    Image.new("RGB", (50, 40)).save(tmp_path / "scan.tif", resolution=20000, resolution_unit=3)
    for name in ("print.jpg", "print.tif"):
        with pytest.raises(ScaleError, match="unknown"):
            open_slide(tmp_path / name)
    with open_slide(tmp_path / "scan.tif") as slide:
        assert slide.mpp == pytest.approx(0.5)


def test_scan(cmu_slide, tmp_path, data_dir):
    for name in ("b/two.svs", "a/one.svs", ".hidden/x.svs", "a/.y.svs", "a/notes.txt", "run/features/z.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    for name in ("config.yaml", "environment.json"):
        (tmp_path / "run" / name).touch()
    assert scan_slides(tmp_path) == [tmp_path / "a/one.svs", tmp_path / "b/two.svs"]
    (tmp_path / "dicom").mkdir()
    for name in ("level0.dcm", "level1.dcm"):
        shutil.copy(data_dir / "slides/camelyon_jpeg2000.dcm", tmp_path / "dicom" / name)
    assert scan_slides(tmp_path / "dicom") == [tmp_path / "dicom"]  # two copies of one file
    (tmp_path / "b/one.tif").touch()
    with pytest.raises(SlideError, match=r"one\.svs.*one\.tif"):
        scan_slides(tmp_path)


@pytest.mark.parametrize("left", ["failures.csv", "features/store/store.json"])
def test_pictures_that_asmil_made_of_slides_are_no_slides(left, tmp_path):
    """Of `asmil embed`, `tissue` and `predict`, finished or not; a folder that only looks alike is read."""
    for name in ("made/thumbnails/a.jpg", "made/tissue/a.jpg", "own/thumbnails/b.png", "own/tissue/c.png", "d.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    (tmp_path / "made" / left).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "made" / left).write_text("")
    assert [path.name for path in scan_slides(tmp_path)] == ["d.png", "b.png", "c.png"]
    assert scan_slides(tmp_path / "made") == []
