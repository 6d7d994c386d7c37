"""OME-TIFF: SubIFD pyramids, scale from the XML, several scenes, planes stored apart."""

import numpy as np
import pytest
import tifffile

from asmil.errors import SlideError
from asmil.slides import SlideFile, list_scenes, open_slide, slide_files, slide_named

pytest.importorskip("imagecodecs")


def picture(width, height, seed=0):
    """Noise, which only lossless ways keep."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def ome(path, *, scenes=2, unit="µm"):
    """An OME-TIFF with SubIFD pyramids, and a label picture."""
    with tifffile.TiffWriter(path, ome=True) as file:
        for number in range(scenes):
            pixels = picture(600 + 100 * number, 500, seed=number)
            metadata = {"axes": "YXS", "Name": f"region {number}"}
            metadata |= {f"PhysicalSize{a}": 0.25 if unit == "µm" else 2.5e-4 for a in "XY"}
            metadata |= {f"PhysicalSize{a}Unit": unit for a in "XY"}
            options = {"tile": (128, 128), "photometric": "rgb"}
            file.write(pixels, subifds=1, metadata=metadata, **options)
            file.write(np.ascontiguousarray(pixels[::2, ::2]), subfiletype=1, **options)
        file.write(picture(100, 90), metadata={"axes": "YXS", "Name": "label image"}, photometric="rgb")
    return path


@pytest.mark.parametrize("unit", ["µm", "mm"])
def test_ome_tiff(tmp_path, unit):
    path = ome(tmp_path / "one.ome.tif", scenes=1, unit=unit)
    with open_slide(path) as slide:
        assert (slide.reader, slide.name, slide.scenes, slide.notes) == ("tiff", "one.ome", 1, [])
        assert slide.mpp == pytest.approx(0.25)
        assert [level.size for level in slide.levels] == [(600, 500), (300, 250)]
        np.testing.assert_array_equal(slide.read((0, 0), (600, 500), mpp=0.25), picture(600, 500))


def test_scenes(tmp_path):
    path = ome(tmp_path / "two.ome.tif")
    assert [(s.name, s.size) for s in list_scenes(path)] == [
        ("two.ome.scene-0", (600, 500)),
        ("two.ome.scene-1", (700, 500)),
    ]
    with open_slide(path) as slide:
        assert (slide.name, slide.size, slide.scenes) == ("two.ome", (600, 500), 2)
        assert "2 scenes (0: region 0, 600 x 500 px; 1: region 1" in slide.scene_note
    with open_slide(path, scene=1) as slide:
        assert (slide.name, slide.size, slide.scene_note) == ("two.ome.scene-1", (700, 500), "")
        np.testing.assert_array_equal(slide.read((0, 0), (700, 500), mpp=0.25), picture(700, 500, seed=1))
    with pytest.raises(SlideError, match="no scene 2"):
        open_slide(path, scene=2)


def test_every_scene_of_a_file_is_a_slide(tmp_path):
    two, one = ome(tmp_path / "two.ome.tif"), ome(tmp_path / "one.ome.tif", scenes=1)
    empty = tmp_path / "empty.tif"
    empty.write_bytes(b"")
    slides = slide_files([two, one, empty])
    assert [slide.name for slide in slides] == ["two.ome.scene-0", "two.ome.scene-1", "one.ome", "empty"]
    assert [slide.name for slide in slide_files([two, one], scenes="first")] == ["two.ome", "one.ome"]
    paths = {path.stem: path for path in (two, one)}
    for slide in slides[:3]:
        assert slide_named(slide.name, paths) == slide
        with slide.open() as opened:
            assert (opened.name, opened.size[0]) == (slide.name, 700 if slide == slides[1] else 600)
    assert slide_named("two.ome", paths) == SlideFile(two)
    assert slide_named("three.scene-0", paths) is None
    with pytest.raises(SlideError, match="no scenes to choose from"):
        SlideFile(one, 0).open()


def test_planes_stored_apart_and_focal_planes(tmp_path):
    pixels = picture(300, 200)
    stack = np.stack([255 - pixels, pixels, 255 - pixels]).transpose(0, 3, 1, 2)  # z, c, y, x
    metadata = {"axes": "ZCYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    tifffile.imwrite(
        tmp_path / "z.ome.tif", stack, tile=(64, 64), photometric="minisblack", metadata=metadata, ome=True
    )
    with open_slide(tmp_path / "z.ome.tif") as slide:
        assert slide.reader == "tiff"
        assert "middle of 3 focal planes" in slide.notes[0]
        np.testing.assert_array_equal(slide.read((0, 0), (300, 200), mpp=0.5), pixels)


@pytest.mark.parametrize("unit", ["µm", "nm"])
def test_an_untiled_one_says_its_scale_in_micrometres(tmp_path, unit):
    """By Pillow, which reads the text as Latin-1, where µm is another unit: its scale was not known."""
    each = 0.55 * {"µm": 1, "nm": 1000}[unit]
    says = (
        {"axes": "YXS"}
        | {f"PhysicalSize{axis}": each for axis in "XY"}
        | {f"PhysicalSize{axis}Unit": unit for axis in "XY"}
    )
    tifffile.imwrite(tmp_path / "a.ome.tif", np.full((60, 80, 3), 200, np.uint8), metadata=says)
    with open_slide(tmp_path / "a.ome.tif") as slide:
        assert slide.mpp == pytest.approx(0.55)
