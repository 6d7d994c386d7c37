"""Every slide reader keeps the contract."""

import numpy as np
import pytest
from PIL import Image

from asmil.errors import SlideError
from asmil.slides import SLIDE_READERS
from asmil.testing import check_reader


@pytest.fixture
def example(cmu_slide, request, tmp_path):
    """A function that gives a file of a reader's kind."""

    def make(name):
        if name == "image":
            pixels = np.random.default_rng(0).integers(0, 255, (80, 90, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "a.png")
            return tmp_path / "a.png"
        if name == "ome_zarr":
            return _ome_zarr(tmp_path / "a.zarr")
        if name == "dicom":
            return request.getfixturevalue("data_dir") / "slides/camelyon_jpeg2000.dcm"
        if name == "cucim":
            pytest.importorskip("cucim")
        return cmu_slide

    return make


def _ome_zarr(path):
    zarr = pytest.importorskip("zarr")
    pixels = np.random.default_rng(0).integers(0, 255, (3, 300, 410), np.uint8)
    group = zarr.open_group(path, mode="w", zarr_format=2)
    for level in range(2):
        group.create_array(str(level), data=pixels[:, :: 2**level, :: 2**level], chunks=(3, 128, 96))
    group.attrs["multiscales"] = [
        {"version": "0.4", "axes": [{"name": n} for n in "cyx"], "datasets": [{"path": "0"}, {"path": "1"}]}
    ]
    return path


@pytest.mark.parametrize("name", SLIDE_READERS.names())
def test_contract(name, example):
    check_reader(SLIDE_READERS[name], example(name))


@pytest.mark.parametrize("name", SLIDE_READERS.names())
def test_other_files_are_refused(name, tmp_path):
    (tmp_path / "text.svs").write_text("not a slide")
    with pytest.raises(SlideError):
        SLIDE_READERS[name].detect(tmp_path / "text.svs")


@pytest.mark.parametrize(
    ("reader", "path"),
    [
        ("openslide", "slides/test3-DAPI-2-387.ndpi"),
        ("openslide", "slides/slaid_patch-8-level.tif"),
        ("tiff", "slides/slaid_patch-8-level.tif"),
        ("tiff", "slides/TCGA-CR-7395-01A-01-TS1.svs"),
        ("tiff", "colon/slides/colon_001.tif"),
    ],
)
def test_pyramids(data_dir, reader, path):
    check_reader(SLIDE_READERS[reader], data_dir / path)


def test_a_broken_reader_is_caught(example):
    class Grey(SLIDE_READERS["image"]):
        def read_level(self, level, level0_xy, size):
            return super().read_level(level, level0_xy, size)[..., :1]

    with pytest.raises(SlideError, match="height, width, 3"):
        check_reader(Grey, example("image"))
