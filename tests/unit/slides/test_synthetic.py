"""Synthetic slides: what OpenSlide, a label table and QuPath would see in them."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import openslide
import pytest
from shapely.geometry import shape

from asmil.errors import SlideError
from asmil.slides import make_slides, write_slide

SIZE = (900, 700)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Path:
    return make_slides(tmp_path_factory.mktemp("cohort"), patients=6, slides_per_patient=(1, 2), size_px=SIZE)


def _labels(folder: Path) -> list[dict[str, str]]:
    with (folder / "labels.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _good(folder: Path) -> list[dict[str, str]]:
    return [row for row in _labels(folder) if not row["slide_id"].startswith("awkward")]


def _pixels(folder: Path, name: str) -> np.ndarray:
    with openslide.OpenSlide(folder / "slides" / f"{name}.tif") as slide:
        return np.asarray(slide.read_region((0, 0), 0, slide.dimensions))[..., :3].astype(float)


def _regions(folder: Path, name: str) -> dict:
    path = folder / "annotations" / f"{name}.geojson"
    features = json.loads(path.read_text())["features"] if path.exists() else []
    return {f["properties"]["classification"]["name"]: shape(f["geometry"]) for f in features}


def _inside(geometry, size_px) -> np.ndarray:
    from PIL import Image, ImageDraw

    picture = Image.new("1", size_px)
    for part in getattr(geometry, "geoms", [geometry]):
        ImageDraw.Draw(picture).polygon(list(part.exterior.coords), fill=1)
    return np.asarray(picture)


def test_labels_name_every_slide_file_and_both_classes_at_every_site(cohort):
    rows = _labels(cohort)
    assert sorted(row["slide_id"] for row in rows) == sorted(p.stem for p in (cohort / "slides").iterdir())
    assert {(row["site"], row["label"]) for row in _good(cohort)} == {
        (site, label) for site in ("north", "south", "west") for label in ("normal", "tumour")
    }
    assert len({row["case_id"] for row in _good(cohort)}) == 6


def test_openslide_reads_size_scale_and_pyramid(cohort):
    for row in _good(cohort):
        with openslide.OpenSlide(cohort / "slides" / f"{row['slide_id']}.tif") as slide:
            assert slide.dimensions == SIZE
            assert float(slide.properties[openslide.PROPERTY_NAME_MPP_X]) == pytest.approx(0.5)
            assert slide.level_count == 2
            assert slide.level_downsamples[1] == pytest.approx(2)


def test_glass_is_white_and_tissue_is_pink(cohort):
    for row in _good(cohort):
        pixels = _pixels(cohort, row["slide_id"])
        glass = pixels.min(-1) > 235
        assert 0.15 < glass.mean() < 0.85
        assert pixels[~glass].mean(0).argmin() == 1  # eosin and haematoxylin both take green most


def test_tumour_slides_and_only_they_have_tumour_and_it_is_dark(cohort):
    for row in _good(cohort):
        regions = _regions(cohort, row["slide_id"])
        assert ("tumour" in regions) == (row["label"] == "tumour")
        assert row["label"] == "tumour" or "lymphocytes" in regions
        if "tumour" not in regions:
            continue
        region, pixels = regions["tumour"], _pixels(cohort, row["slide_id"])
        assert region.is_valid
        assert region.bounds[0] >= 0
        assert region.bounds[2] <= SIZE[0]
        inside = _inside(region, SIZE)
        stroma = ~inside & (pixels.min(-1) < 235)
        assert pixels[inside, 0].mean() < pixels[stroma, 0].mean() - 20


def test_the_same_seed_draws_the_same_cohort_and_another_does_not(tmp_path):
    def files(name: str, seed: int) -> dict[str, bytes]:
        folder = make_slides(
            tmp_path / name,
            patients=2,
            slides_per_patient=(1, 1),
            size_px=(640, 600),
            seed=seed,
            awkward=False,
        )
        return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    first = files("a", 3)
    assert files("b", 3) == first
    assert files("c", 4)["slides/P01_1.tif"] != first["slides/P01_1.tif"]


def test_lesions_can_be_few_and_small_and_sites_two(tmp_path):
    wanted = {"patients": 4, "slides_per_patient": (1, 1), "size_px": (640, 600), "awkward": False}
    few = make_slides(tmp_path / "few", **wanted, sites=("a", "b"), lesions=(1, 1), lesion_size=0.3)
    many = make_slides(tmp_path / "many", **wanted)
    assert [row["site"] for row in _labels(few)] == ["a", "a", "b", "b"]
    for name in ("P02_1", "P04_1"):
        lesion = _regions(few, name)["tumour"]
        assert lesion.geom_type == "Polygon"
        assert 0 < lesion.area < _regions(many, name)["tumour"].area / 3


def test_awkward_slides_are_what_users_have(cohort):
    slides = cohort / "slides"
    assert (_pixels(cohort, "awkward_blank") > 240).all()
    with openslide.OpenSlide(slides / "awkward_no_mpp.tif") as slide:
        assert openslide.PROPERTY_NAME_MPP_X not in slide.properties
    with pytest.raises(openslide.OpenSlideError):
        _pixels(cohort, "awkward_truncated")


def test_written_pixels_come_back(tmp_path):
    ramp = np.linspace(40, 220, 700, dtype=np.uint8)
    pixels = np.repeat(np.tile(ramp, (600, 1))[..., None], 3, axis=2)
    write_slide(tmp_path / "slides" / "ramp.tif", pixels, mpp=0.25)
    with openslide.OpenSlide(tmp_path / "slides" / "ramp.tif") as slide:
        assert float(slide.properties[openslide.PROPERTY_NAME_MPP_Y]) == pytest.approx(0.25)
    assert np.abs(_pixels(tmp_path, "ramp") - pixels).max() <= 4


def test_no_optional_package_is_needed(tmp_path):
    code = (
        "import sys; sys.modules['imagecodecs'] = None\n"
        "import numpy as np; from asmil.slides.synthetic import write_slide\n"
        f"write_slide({str(tmp_path / 'a.tif')!r}, np.full((600, 600, 3), 200, np.uint8), mpp=.5)\n"
        "sys.exit('torch' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    assert subprocess.run([sys.executable, "-c", code], check=False, env=environment).returncode == 0
    assert openslide.OpenSlide(tmp_path / "a.tif").dimensions == (600, 600)


@pytest.mark.parametrize(
    "options",
    [{"patients": 1}, {"size_px": (500, 900)}, {"slides_per_patient": (2, 1)}, {"lesions": (0, 2)}, {"lesion_size": 0}],
)
def test_a_cohort_that_cannot_be_drawn_is_refused(tmp_path, options):
    with pytest.raises(SlideError, match="cannot be drawn"):
        make_slides(tmp_path, **options)
    assert not list(tmp_path.iterdir())
