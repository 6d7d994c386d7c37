"""Methods find tissue that is fat, dense or without colour; pens, borders, dust and glass are none."""

import time

import numpy as np
import pytest
import shapely
from PIL import Image, ImageDraw
from skimage.draw import disk

from asmil.errors import TissueError, UnknownPartError
from asmil.slides import open_slide
from asmil.tiles import TISSUE_METHODS, Tissue, find_tissue, tile, tissue_picture

METHODS = ("entropy", "otsu", "saturation")
GLASS = (243, 241, 244)
INKS = {
    "blue": (35, 70, 165),
    "navy": (50, 60, 150),
    "green": (25, 130, 70),
    "black": (25, 25, 30),
    "red": (205, 25, 45),
    "dark red": (170, 20, 40),
}
TISSUE_BOX = (30, 180, 270, 400)


@pytest.fixture(scope="module")
def tissue_pixels(cmu_slide):
    """A part of a real slide that is tissue all over: 240 x 220 px at 4 um/px."""
    with open_slide(cmu_slide) as slide:
        pixels = slide.read((860, 1300), (60, 55), mpp=3.0)
    return np.tile(np.concatenate([pixels, pixels[:, ::-1]], axis=1), (4, 2, 1))


@pytest.fixture(scope="module")
def marked(tissue_pixels, tmp_path_factory):
    """Real tissue on glass with six pens, a black border and dust, at 4 um/px."""
    image = Image.new("RGB", (600, 440), GLASS)
    image.paste(Image.fromarray(tissue_pixels), TISSUE_BOX[:2])
    draw, rng = ImageDraw.Draw(image), np.random.default_rng(0)
    for row, colour in enumerate(INKS.values()):
        draw.line([(320, 60 + 40 * row), (580, 50 + 42 * row)], fill=colour, width=14)
    for x, y in rng.integers(20, 420, (60, 2)).tolist():
        draw.ellipse((x, y, x + 3, y + 3), fill=(170, 172, 170))
    draw.rectangle((0, 0, 599, 10), fill=(4, 4, 4))
    noise = rng.integers(-3, 4, (440, 600, 1))
    path = tmp_path_factory.mktemp("marked") / "marked.png"
    Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8)).save(path)
    return path


@pytest.mark.parametrize("method", METHODS)
def test_tissue_is_found_and_pens_borders_and_dust_are_not(marked, method):
    truth = shapely.box(*TISSUE_BOX)
    with open_slide(marked, mpp=4.0) as slide:
        found = find_tissue(slide, method=method).polygons
    assert found.intersection(truth).area > 0.96 * truth.area
    assert found.difference(truth.buffer(8)).area < 0.01 * truth.area


@pytest.mark.parametrize("method", METHODS)
def test_the_scale_of_the_scan_does_not_matter(marked, method, tmp_path):
    """The same slide scanned at another scale has the same tissue, in um."""
    finer = tmp_path / "finer.png"
    image = Image.open(marked)
    image.resize((1200, 880), Image.Resampling.BICUBIC).save(finer)
    with open_slide(marked, mpp=4.0) as slide, open_slide(finer, mpp=2.0) as twice:
        assert find_tissue(twice, method=method).area_um2 == pytest.approx(
            find_tissue(slide, method=method).area_um2, rel=0.03
        )


def test_entropy_finds_tissue_without_colour(marked, tmp_path):
    grey = tmp_path / "grey.png"
    Image.open(marked).convert("L").convert("RGB").save(grey)
    truth = shapely.box(*TISSUE_BOX)
    with open_slide(grey, mpp=4.0) as slide:
        assert find_tissue(slide, method="otsu").polygons.is_empty
        assert find_tissue(slide, method="entropy").polygons.intersection(truth).area > 0.9 * truth.area


@pytest.mark.parametrize("method", METHODS)
def test_noisy_and_stitched_glass_is_empty(method, tmp_path):
    """Two panes of a stitched scan meet at an edge of 12 grey levels: an edge is not tissue."""
    pixels = np.full((600, 600, 3), 243) + np.random.default_rng(0).integers(-4, 5, (600, 600, 3))
    pixels[:, 300:] += 12
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(tmp_path / "glass.png")
    with open_slide(tmp_path / "glass.png", mpp=4.0) as slide:
        assert find_tissue(slide, method=method).polygons.is_empty


def test_saturation_keeps_pale_tissue_that_hangs_on_to_dark(tmp_path):
    pixels = np.full((400, 600, 3), 245, np.uint8)
    pixels[100:300, 100:200] = (200, 120, 170)
    pixels[100:300, 200:300] = pixels[100:300, 400:500] = (245, 233, 238)  # as pale by itself: dirt
    Image.fromarray(pixels).save(tmp_path / "pale.png")
    with open_slide(tmp_path / "pale.png", mpp=4.0) as slide:
        found = find_tissue(slide, method="saturation", threshold=0.08).polygons
    assert found.intersection(shapely.box(200, 100, 300, 300)).area > 0.95 * 100 * 200
    assert found.intersection(shapely.box(400, 100, 500, 300)).is_empty


def test_fat_is_tissue_for_entropy(data_dir):
    """A real field of fat, the walls of its cells a few um thin: colour is in a fifth of it, some texture in most."""
    with open_slide(data_dir / "colon/slides/colon_034.tif") as slide:
        assert find_tissue(slide).polygons.area < 0.25 * 500**2
        assert find_tissue(slide, method="entropy", threshold=0.8).polygons.area > 0.6 * 500**2
    with open_slide(data_dir / "colon/slides/colon_076.tif") as slide:  # glass with a few cells
        assert find_tissue(slide, method="entropy", threshold=0.8).polygons.is_empty


@pytest.mark.parametrize("method", METHODS)
def test_real_slides(method, cmu_slide, data_dir):
    with open_slide(cmu_slide) as slide:
        assert 0.33 < find_tissue(slide, method=method).polygons.area / np.prod(slide.size) < 0.5
    with open_slide(data_dir / "slides/TCGA-CR-7395-01A-01-TS1.svs", objective=40) as slide:
        assert 0.6 < find_tissue(slide, method=method).polygons.area / np.prod(slide.size) < 0.78


def test_methods_give_the_same_twice(cmu_slide):
    with open_slide(cmu_slide) as slide:
        for method in TISSUE_METHODS.names():
            first, second = (find_tissue(slide, method=method).polygons for _ in range(2))
            assert first.equals_exact(second)


def test_parameters_change_the_outcome_and_are_kept(marked):
    with open_slide(marked, mpp=4.0) as slide:
        plain = find_tissue(slide)
        strict = find_tissue(slide, threshold=60, min_area_um2=0, max_hole_um2=0, smoothing_um=2)
        assert strict.area_um2 < 0.9 * plain.area_um2
        assert strict.settings == {
            "method": "otsu",
            "threshold": 60,
            "min_area_um2": 0,
            "max_hole_um2": 0,
            "smoothing_um": 2,
        }
        for wrong in ({"threshold": -1}, {"threshold": float("nan")}, {"smoothing_um": -1}, {"max_hole_um2": -1}):
            with pytest.raises(TissueError, match="not negative"):
                find_tissue(slide, **wrong)
        with pytest.raises(UnknownPartError, match="did you mean 'entropy'"):
            find_tissue(slide, method="entropi")


def test_the_picture_shows_outlines_holes_and_tiles(tmp_path):
    pixels = np.full((300, 400, 3), 245, np.uint8)
    rows, columns = disk((150, 200), 100)
    pixels[rows, columns] = (200, 120, 170)
    rows, columns = disk((150, 200), 50)
    pixels[rows, columns] = 245
    Image.fromarray(pixels).save(tmp_path / "ring.png")
    with open_slide(tmp_path / "ring.png", mpp=4.0) as slide:
        tissue = find_tissue(slide)
        plain = tissue_picture(slide, tissue)
        with_tiles = tissue_picture(slide, tissue, tile(slide, tissue, mpp=4.0, tile_px=20), max_px=200)
        untouched = tissue_picture(slide, Tissue(shapely.MultiPolygon(), slide.size, slide.mpp))
    assert plain.shape == (300, 400, 3)
    assert with_tiles.shape == (150, 200, 3)
    assert np.array_equal(untouched, pixels)
    green, orange = ((plain == colour).all(axis=2) for colour in ((0, 140, 70), (215, 120, 0)))
    distance = np.hypot(*(np.mgrid[:300, :400] - np.array([150, 200])[:, None, None]))
    assert np.median(distance[green]) == pytest.approx(100, abs=3)
    assert np.median(distance[orange]) == pytest.approx(50, abs=3)
    assert (with_tiles[40:110, 65:135, 2].astype(int) > with_tiles[40:110, 65:135, 0]).mean() > 0.3


def test_a_picture_of_very_many_tiles_shades_all_of_them_and_takes_seconds(tmp_path):
    """A border each took minutes; where tiles overlap it is darker."""
    size, mpp = (600, 600), 0.5
    polygons = shapely.MultiPolygon([shapely.box(50, 50, 550, 550)])
    Image.new("RGB", size, (245, 245, 245)).save(tmp_path / "pale.png")
    with open_slide(tmp_path / "pale.png", mpp=mpp) as slide:
        tissue = Tissue(polygons, size, mpp)
        grid = tile(slide, tissue, mpp=mpp, tile_px=40, overlap_px=38, min_tissue=1)
        start = time.perf_counter()
        picture = tissue_picture(slide, tissue, grid).astype(int)
        seconds = time.perf_counter() - start
    assert len(grid) > 50_000
    assert seconds < 10
    red = picture[..., 0]
    assert (red[:45] == 245).all()
    assert (red[55:545, 55:545] < 245).all()
    assert np.median(red[56:60, 56:60]) > np.median(red[200:400, 200:400])
