"""Every slide reader keeps the contract."""

import numpy as np
import pytest
from PIL import Image

from asmil.errors import SlideError
from asmil.slides import SLIDE_READERS
from asmil.testing.reader import check_reader


@pytest.fixture
def example(cmu_slide, tmp_path):
    """A file of each reader's kind."""
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (80, 90, 3), np.uint8)).save(tmp_path / "a.png")
    return {"openslide": cmu_slide, "tiff": cmu_slide, "image": tmp_path / "a.png"}


@pytest.mark.parametrize("name", SLIDE_READERS.names())
def test_contract(name, example):
    assert name in example, f"give an example file for the reader {name!r} here"
    check_reader(SLIDE_READERS[name], example[name])


@pytest.mark.parametrize("name", SLIDE_READERS.names())
def test_other_files_are_refused(name, tmp_path):
    (tmp_path / "text.svs").write_text("not a slide")
    with pytest.raises(SlideError):
        SLIDE_READERS[name].detect(tmp_path / "text.svs")


def test_pyramids(data_dir):
    for path in (
        "slides/test3-DAPI-2-387.ndpi",
        "slides/slaid_patch-8-level.tif",
        "colon/slides/colon_001.tif",
    ):
        check_reader(SLIDE_READERS["openslide"], data_dir / path)


def test_a_broken_reader_is_caught(example):
    class Grey(SLIDE_READERS["image"]):
        def read_level(self, level, level0_xy, size):
            return super().read_level(level, level0_xy, size)[..., :1]

    with pytest.raises(SlideError, match="height, width, 3"):
        check_reader(Grey, example["image"])
