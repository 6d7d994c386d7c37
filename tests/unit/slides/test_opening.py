"""Which reader opens a file, why the others did not, and folders of OME-Zarr."""

import json
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from asmil.errors import SlideError
from asmil.slides import ContentError, list_scenes, open_slide, reader_order, scan_slides, write_slide

PIXELS = np.random.default_rng(0).integers(0, 255, (300, 410, 3), np.uint8)


def test_the_order_is_stated_and_the_reasons_are_kept(cmu_slide, data_dir):
    assert reader_order() == ["tiff", "dicom", "openslide", "ome_zarr", "cucim", "image"]
    with open_slide(cmu_slide) as slide:
        assert (slide.reader, slide.passed_over) == ("tiff", {})
    with open_slide(cmu_slide, reader="openslide") as slide:
        assert slide.reader == "openslide"
    with open_slide(data_dir / "slides/test3-DAPI-2-387.ndpi") as slide:
        assert slide.reader == "openslide"
        assert "hamamatsu" in slide.passed_over["tiff"]
    with open_slide(data_dir / "slides/kidney-48-5.tif", objective=20) as slide:
        assert slide.reader == "image"
        assert slide.passed_over["tiff"] == "it is not tiled"
    with pytest.raises(SlideError, match=r"reader dicom cannot open.*no DICOM"):
        open_slide(cmu_slide, reader="dicom")


def test_a_wrong_extension_is_read_as_what_it_is(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.svs")
    with open_slide(tmp_path / "a.svs", mpp=0.5) as slide:
        assert (slide.reader, slide.vendor) == ("image", "image (PNG)")
        np.testing.assert_array_equal(slide.read((0, 0), (410, 300), mpp=0.5), PIXELS)
    write_slide(tmp_path / "b.tif", PIXELS, mpp=0.5).rename(tmp_path / "b.png")
    with open_slide(tmp_path / "b.png") as slide:
        assert slide.reader == "tiff"


def test_without_imagecodecs_openslide_reads(cmu_slide, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with open_slide(shutil.copy(cmu_slide, tmp_path / "another.svs")) as slide:
        assert slide.reader == "openslide"
        assert "imagecodecs is missing" in slide.passed_over["tiff"]


def test_a_dicom_that_does_not_place_its_frames_is_refused(data_dir):
    """Its frames are stored column by column, and nothing in the file says so."""
    with pytest.raises(ContentError, match="where on the slide its frames lie"):
        open_slide(data_dir / "slides/small_dicom.dcm", objective=20)


def test_dicom_frames_are_those_of_openslide(data_dir):
    path = data_dir / "slides/camelyon_jpeg2000.dcm"
    with open_slide(path, reader="openslide") as theirs, open_slide(path) as ours:
        assert ours.reader == "dicom"
        assert (ours.size, ours.mpp) == (theirs.size, theirs.mpp)
        np.testing.assert_array_equal(*(s.read((90, 80), (700, 600), mpp=ours.mpp) for s in (ours, theirs)))


def _image(group, *, version="0.4", unit="micrometer", step=0.5, axes="cyx", shrink=1):
    pixels = PIXELS.transpose(2, 0, 1)[:, ::shrink, ::shrink]
    pixels = pixels if axes == "cyx" else pixels[None, :, None]
    for level, factor in enumerate((1, 2)):
        group.create_array(str(level), data=pixels[..., ::factor, ::factor], chunks=(1,) * (len(axes) - 2) + (128, 96))
    described = [{"name": n, "type": "space", "unit": unit} if n in "xy" else {"name": n} for n in axes]
    scales = [[step * f if n in "xy" else 1.0 for n in axes] for f in (1, 2)]
    datasets = [
        {"path": str(i), "coordinateTransformations": [{"type": "scale", "scale": s}]} for i, s in enumerate(scales)
    ]
    ngff = {"multiscales": [{"version": version, "axes": described, "datasets": datasets}]}
    group.attrs.update({"ome": {"version": version, **ngff}} if version == "0.5" else ngff)


@pytest.mark.parametrize(
    ("version", "axes", "unit", "step"),
    [("0.4", "cyx", "micrometer", 0.5), ("0.5", "tczyx", "micrometer", 0.5), ("0.4", "tczyx", "nanometer", 500.0)],
)
def test_ome_zarr(tmp_path, version, axes, unit, step):
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2 if version == "0.4" else 3)
    _image(group, version=version, axes=axes, unit=unit, step=step)
    with open_slide(tmp_path / "a.zarr") as slide:
        assert (slide.reader, slide.name, slide.scenes, slide.mpp) == ("ome_zarr", "a", 1, 0.5)
        assert [level.size for level in slide.levels] == [(410, 300), (205, 150)]
        found = slide.read((-5, 7), (420, 300), mpp=0.5)
        np.testing.assert_array_equal(slide.read((0, 0), (205, 150), mpp=1.0), PIXELS[::2, ::2])
    np.testing.assert_array_equal(found[:293, 5:415], PIXELS[7:])
    assert (found[293:] == 255).all()
    assert scan_slides(tmp_path) == [tmp_path / "a.zarr"]


def test_ome_zarr_of_several_scenes(tmp_path):
    zarr = pytest.importorskip("zarr")
    root = zarr.open_group(tmp_path / "many.zarr", mode="w", zarr_format=2)
    root.attrs["bioformats2raw.layout"] = 3
    for number in range(2):
        _image(root.create_group(str(number)))
    root.create_group("OME")
    assert [scene.name for scene in list_scenes(tmp_path / "many.zarr")] == ["many.scene-0", "many.scene-1"]
    with open_slide(tmp_path / "many.zarr", scene=1) as slide:
        assert (slide.name, slide.scenes) == ("many.scene-1", 2)


def test_label_and_macro_of_bioformats2raw_are_no_slides(tmp_path):
    """Image 0 is the slide, 1 the label and 2 the glass; the XML beside them says so."""
    zarr = pytest.importorskip("zarr")
    root = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    root.attrs["bioformats2raw.layout"] = 3
    for number in range(3):
        _image(root.create_group(str(number)), shrink=1 if number == 0 else 3)
    names = "".join(f'<Image Name="{name}"/>' for name in ("", "label image", "macro image"))
    (tmp_path / "a.zarr" / "OME").mkdir()
    (tmp_path / "a.zarr" / "OME" / "METADATA.ome.xml").write_text(f"<OME>{names}</OME>")
    with open_slide(tmp_path / "a.zarr") as slide:
        assert (slide.name, slide.scenes, slide.size, slide.notes) == ("a", 1, (410, 300), [])


def test_fluorescence_in_ome_zarr_is_no_picture(tmp_path):
    """Before: DAPI was shown as red."""
    zarr = pytest.importorskip("zarr")
    for name, labels in (("a", ["Channel 0", "Channel 1", "Channel 2"]), ("b", ["DAPI", "FITC", "Cy5"])):
        group = zarr.open_group(tmp_path / f"{name}.zarr", mode="w", zarr_format=2)
        _image(group)
        group.attrs["omero"] = {"channels": [{"label": label} for label in labels]}
    with open_slide(tmp_path / "a.zarr") as slide:
        assert slide.size == (410, 300)
    with pytest.raises(ContentError, match="DAPI, FITC, Cy5"):
        open_slide(tmp_path / "b.zarr")


def test_ome_zarr_under_other_names(tmp_path):
    zarr = pytest.importorskip("zarr")
    _image(zarr.open_group(tmp_path / "case.7", mode="w", zarr_format=2))
    with open_slide(tmp_path / "case.7") as slide:
        assert (slide.reader, slide.name) == ("ome_zarr", "case.7")
    for name in ("a.zarr.zip", "a.ozx"):
        shutil.make_archive(str(tmp_path / "archive"), "zip", tmp_path / "case.7")
        shutil.copy(tmp_path / "archive.zip", tmp_path / name)
        with pytest.raises(SlideError, match=r"archive is not read.*unpack it"):
            open_slide(tmp_path / name)
    assert [path.name for path in scan_slides(tmp_path)] == ["a.ozx"]


def test_other_zarr_folders_are_no_slides(tmp_path):
    (tmp_path / "table.zarr" / "features").mkdir(parents=True)
    (tmp_path / "table.zarr" / ".zattrs").write_text(json.dumps({"slide_properties": {}}))
    (tmp_path / "plate.zarr").mkdir()
    (tmp_path / "plate.zarr" / ".zattrs").write_text(json.dumps({"plate": {}}))
    assert scan_slides(tmp_path) == []
    with pytest.raises(SlideError, match="no multiscale image"):
        open_slide(tmp_path / "table.zarr")
    with pytest.raises(SlideError, match="plate of wells"):
        open_slide(tmp_path / "plate.zarr")


def test_damaged_zarr_says_where(tmp_path):
    zarr = pytest.importorskip("zarr")
    _image(zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2))
    chunk = next(path for path in (tmp_path / "a.zarr" / "0").rglob("*1*") if path.name.endswith("0.1.1"))
    chunk.write_bytes(b"garbage")
    with open_slide(tmp_path / "a.zarr") as slide, pytest.raises(SlideError, match=r"level 0, chunk \(1, 1\)"):
        slide.read((0, 0), (410, 300), mpp=0.5)
