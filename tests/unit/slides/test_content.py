"""What a file holds decides: another reader never shows a part of it as if it were the slide."""

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image

from asmil.errors import SlideError
from asmil.slides import ContentError, open_slide

pytest.importorskip("imagecodecs")
NOISE = np.random.default_rng(0).integers(0, 256, (200, 300, 4), np.uint8)


def ome(path, pixels, *, axes, tile=(64, 64), **metadata):
    described = {"axes": axes, "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5} | metadata
    kind = "rgb" if axes.endswith("S") else "minisblack"
    tifffile.imwrite(path, pixels, ome=True, tile=tile, photometric=kind, metadata=described)
    return path


def planes(count):
    return np.ascontiguousarray(NOISE[..., :count].transpose(2, 0, 1))


@pytest.mark.parametrize("tile", [(64, 64), None], ids=["tiled", "strips"])
@pytest.mark.parametrize(
    ("pixels", "axes", "more", "says"),
    [
        (planes(2), "CYX", {}, "axes C 2"),
        (planes(4), "CYX", {}, "axes C 4"),
        (planes(3), "TYX", {}, "axes T 3"),
        (planes(3), "CYX", {"Channel": {"Name": ["DAPI", "FITC", "Cy5"]}}, "DAPI, FITC, Cy5"),
        (NOISE[..., :3].astype(np.uint16) * 16, "YXS", {}, "not of 8 bits. Found: uint16"),
        (NOISE[..., 0].astype(np.float32), "YX", {}, "not of 8 bits. Found: float32"),
    ],
    ids=["2 channels", "4 channels", "times", "fluorescence", "16 bit", "floats"],
)
def test_an_ome_tiff_of_other_content_is_opened_by_no_reader(tmp_path, pixels, axes, more, says, tile):
    """Before: the grey picture of channel 0, through OpenSlide (tiles) or Pillow (strips), without a word."""
    path = ome(tmp_path / "a.ome.tif", pixels, axes=axes, tile=tile, **more)
    with pytest.raises(ContentError, match=says) as error:
        open_slide(path)
    assert "a.ome.tif is not opened" in str(error.value)
    assert "8-bit RGB" in error.value.fix


@pytest.mark.parametrize("tile", [(64, 64), None], ids=["tiled", "strips"])
def test_other_pixels_of_plain_tiff_are_opened_by_no_reader(tmp_path, tile):
    """Before: of 16 bits the upper byte, which of a camera's 12 bits is black."""
    tifffile.imwrite(tmp_path / "a.tif", NOISE[..., :3].astype(np.uint16) * 16, tile=tile, photometric="rgb")
    options = {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": ["unspecified"] * 3}
    tifffile.imwrite(tmp_path / "b.tif", NOISE, tile=tile, **options)
    tifffile.imwrite(tmp_path / "c.tif", planes(3), imagej=True, metadata={"axes": "CYX"})
    for name, says in (("a", "8 bits"), ("b", "no grey or RGB"), ("c", "several channels.*C 3")):
        with pytest.raises(ContentError, match=says):
            open_slide(tmp_path / f"{name}.tif", mpp=0.5)


def test_no_image_of_16_bit_colours_and_no_overview_of_a_mirax_slide(tmp_path):
    imagecodecs = pytest.importorskip("imagecodecs")
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(NOISE[..., :3].astype(np.uint16) * 16))
    with pytest.raises(ContentError, match=r"not an 8-bit image.*RGB;16"):
        open_slide(tmp_path / "a.png", mpp=0.5)
    Image.fromarray(NOISE[..., :3]).save(tmp_path / "b.mrxs", format="JPEG")
    with pytest.raises(ContentError, match=r"MIRAX slide are missing.*folder b"):
        open_slide(tmp_path / "b.mrxs", mpp=0.5)


def test_what_is_left_of_a_scanners_file_is_no_slide(tmp_path, data_dir):
    """Before: level 0 whole in memory, through Pillow, as if the file had no other."""
    whole = (data_dir / "slides/test3-DAPI-2-387.ndpi").read_bytes()
    (tmp_path / "a.ndpi").write_bytes(whole[:-10])  # within the last of its tables
    with pytest.raises(ContentError, match=r"scanner's own TIFF.*ndpi"):
        open_slide(tmp_path / "a.ndpi", mpp=0.5)


def test_without_imagecodecs_the_content_still_decides(tmp_path, monkeypatch):
    path = ome(tmp_path / "a.ome.tif", planes(4), axes="CYX")
    monkeypatch.setitem(__import__("sys").modules, "imagecodecs", None)
    with pytest.raises(ContentError, match="axes C 4"):
        open_slide(path)


def test_an_image_of_several_that_is_not_read_is_named(tmp_path):
    path = tmp_path / "two.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as file:
        options = {"tile": (64, 64)}
        file.write(planes(4), metadata={"axes": "CYX", "Name": "stains"}, photometric="minisblack", **options)
        file.write(NOISE[..., :3], metadata={"axes": "YXS", "Name": "he"}, photometric="rgb", **options)
    with open_slide(path, mpp=0.5) as slide:
        assert slide.notes == ["stains is not read: it is not one RGB picture or a stack of them (axes C 4)"]


def test_pixels_that_were_never_written_are_no_white_slide(tmp_path):
    """As a writer leaves it that was ended before its first tile."""
    tifffile.imwrite(tmp_path / "a.tif", NOISE[..., :3], tile=(64, 64), photometric="rgb")
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as file:
        tags = file.pages[0].tags
        for name in ("TileOffsets", "TileByteCounts"):
            tags[name].overwrite([0] * len(tags[name].value))
    with pytest.raises(SlideError, match="none of 20 tiles is stored"):
        open_slide(tmp_path / "a.tif", mpp=0.5)


def shown(rgba):
    """Straight alpha on white, in floating point."""
    alpha = rgba[..., -1:].astype(float) / 255
    return np.rint(rgba[..., :-1] * alpha + 255 * (1 - alpha))


@pytest.mark.parametrize("apart", [False, True], ids=["together", "planes apart"])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "zstd", "lzma", "png", "webp", "jpegxl"])
def test_colours_and_alpha_of_all_lossless_ways(tmp_path, compression, apart):
    if apart and compression in ("png", "webp", "jpegxl"):
        pytest.skip("these hold pixels together")
    for samples in (3, 4):
        pixels = NOISE[..., :samples]
        options = {"tile": (64, 64), "photometric": "rgb", "compression": compression}
        options |= {"compressionargs": {"lossless": True}} if compression == "webp" else {}
        options |= {"extrasamples": ["unassalpha"]} if samples == 4 else {}
        stored = np.ascontiguousarray(pixels.transpose(2, 0, 1)) if apart else pixels
        options |= {"planarconfig": "separate"} if apart else {}
        with tifffile.TiffWriter(path := tmp_path / f"{samples}.ome.tif", ome=True) as file:
            metadata = {"axes": "SYX" if apart else "YXS", "PhysicalSizeX": 0.25}
            file.write(stored, subifds=1, metadata=metadata, **options)
            half = np.ascontiguousarray(stored[:, ::2, ::2] if apart else stored[::2, ::2])
            file.write(half, subfiletype=1, **options)
        with open_slide(path) as slide:
            assert (slide.reader, slide.mpp, slide.notes) == ("tiff", 0.25, [])
            assert [level.size for level in slide.levels] == [(300, 200), (150, 100)]
            expected = pixels if samples == 3 else shown(pixels)
            np.testing.assert_allclose(slide.read((0, 0), (300, 200), mpp=0.25), expected, atol=1)
            np.testing.assert_allclose(slide.read((0, 0), (150, 100), mpp=0.5), expected[::2, ::2], atol=1)


def test_alpha_that_colours_are_multiplied_by(tmp_path):
    alpha = NOISE[..., 3:]
    stored = np.concatenate([(NOISE[..., :3] * (alpha / 255)).astype(np.uint8), alpha], -1)
    tifffile.imwrite(tmp_path / "a.tif", stored, tile=(64, 64), photometric="rgb", extrasamples=["assocalpha"])
    with open_slide(tmp_path / "a.tif", mpp=0.5) as slide:
        assert slide.reader == "tiff"
        np.testing.assert_allclose(slide.read((0, 0), (300, 200), mpp=0.5), shown(NOISE), atol=2)


LIBVIPS = """<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">
<Image ID="Image:0"><Pixels DimensionOrder="XYCZT" ID="Pixels:0" SizeC="3" SizeT="1" SizeX="300" SizeY="200" SizeZ="1"
 Type="uint8" PhysicalSizeX="0.5"></Pixels></Image></OME>"""


def test_a_page_for_each_band(tmp_path):
    """As libvips writes OME-TIFF: the XML has no TiffData, and PhysicalSizeX alone."""
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for number, plane in enumerate(planes(3)):
            options = {"tile": (64, 64), "photometric": "minisblack", "metadata": None}
            file.write(plane, subifds=1, description=LIBVIPS if number == 0 else None, **options)
            file.write(np.ascontiguousarray(plane[::2, ::2]), subfiletype=1, **options)
    with open_slide(tmp_path / "a.tif") as slide:
        assert (slide.reader, slide.mpp, len(slide.levels)) == ("tiff", 0.5, 2)
        np.testing.assert_array_equal(slide.read((0, 0), (300, 200), mpp=0.5), NOISE[..., :3])


@pytest.mark.parametrize(
    ("name", "kept"),
    [("Macrophages_CD68_01.svs", True), ("relabelled", True), ("macro", False), ("slide_label", False)],
)
def test_label_and_macro_are_words_not_parts_of_words(tmp_path, name, kept):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
        for pixels, called in ((NOISE, "tissue"), (NOISE[:100, :150], name)):
            metadata = {"axes": "YXS", "Name": called}
            file.write(pixels[..., :3], metadata=metadata, tile=(64, 64), photometric="rgb")
    with open_slide(tmp_path / "a.ome.tif", mpp=0.5) as slide:
        assert slide.scenes == 1 + kept
    ome(tmp_path / "b.ome.tif", NOISE[..., :3], axes="YXS", Name=name)  # the only one there is
    with open_slide(tmp_path / "b.ome.tif") as slide:
        assert (slide.size, slide.mpp) == ((300, 200), 0.5)


@pytest.mark.parametrize("tile", [(64, 64), None], ids=["tiled", "strips"])
@pytest.mark.parametrize(("unit", "per_unit"), [(4, 2000.0), (5, 2.0), (3, 20_000.0), (2, 50_800.0)])
def test_the_units_of_a_resolution(tmp_path, unit, per_unit, tile):
    options = {"tile": tile, "photometric": "rgb", "resolution": (per_unit, per_unit), "resolutionunit": unit}
    tifffile.imwrite(tmp_path / "a.tif", NOISE[..., :3], **options)
    with open_slide(tmp_path / "a.tif") as slide:
        assert slide.mpp == pytest.approx(0.5)


@pytest.mark.parametrize("unit", ["micron", "um", r"\u00B5m"])
def test_the_unit_of_imagej(tmp_path, unit):
    tifffile.imwrite(tmp_path / "a.tif", NOISE[..., :3], imagej=True, resolution=(2, 2), metadata={"unit": unit})
    with open_slide(tmp_path / "a.tif") as slide:
        assert slide.mpp == pytest.approx(0.5)


def test_strips_of_ome_tiff_keep_its_scale(tmp_path):
    with open_slide(ome(tmp_path / "a.ome.tif", NOISE[..., :3], axes="YXS", tile=None)) as slide:
        assert (slide.reader, slide.mpp) == ("image", 0.5)


def test_masks_of_a_cloud_optimised_tiff_are_no_levels(tmp_path):
    """GDAL writes, after each level, a mask of one bit that says which pixels hold something."""
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for step in (1, 2, 4):
            pixels = np.ascontiguousarray(NOISE[::step, ::step, :3])
            mask = np.ones(pixels.shape[:2], bool)
            file.write(pixels, tile=(64, 64), photometric="rgb", subfiletype=int(step > 1), metadata=None)
            file.write(mask, tile=(64, 64), photometric="mask", subfiletype=4 + int(step > 1), metadata=None)
    with open_slide(tmp_path / "a.tif", mpp=0.5) as slide:
        assert (slide.reader, slide.scenes) == ("tiff", 1)
        assert [level.size for level in slide.levels] == [(300, 200), (150, 100), (75, 50)]
        np.testing.assert_array_equal(slide.read((0, 0), (150, 100), mpp=1.0), NOISE[::2, ::2, :3])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["strips.tif", "deflated.tif", "tiles.tif", "photo.jpg", "picture.png"])
def test_a_picture_that_is_to_be_shown_turned_is_read_as_it_is_stored(tmp_path, kind, orientation):
    """As OpenSlide and QuPath read it: positions are of the stored pixels, whatever the container."""
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[:32, :32] = (250, 10, 10)
    path, exif = tmp_path / kind, Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    if kind == "tiles.tif":
        tags = [(int(ExifTags.Base.Orientation), "H", 1, orientation, True)]
        tifffile.imwrite(path, pixels, photometric="rgb", tile=(16, 16), extratags=tags)
    else:
        packed = {"compression": "tiff_adobe_deflate"} if kind == "deflated.tif" else {}
        Image.fromarray(pixels).save(path, exif=exif, **packed)
    with open_slide(path, mpp=0.5) as slide:
        assert slide.size == (96, 64)
        found = slide.read((0, 0), slide.size, mpp=0.5)
        assert any(f"orientation {orientation}" in note for note in slide.notes) == (orientation > 1)
    assert np.abs(found.astype(int) - pixels).mean() < 3  # of jpeg at the edges
    assert found[5, 5, 0] > 200 > 50 > found[60, 90, 0]


@pytest.mark.parametrize("orientation", [1, 2, 3, 6])
@pytest.mark.parametrize("compression", ["jpeg", "zlib", None])
def test_openslide_reads_what_is_to_be_shown_turned_as_stored_or_not_at_all(tmp_path, compression, orientation):
    """What OpenSlide does not decode itself has every tile turned in its place: no picture of anything."""
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[:32, :32] = (250, 10, 10)
    tags = [(int(ExifTags.Base.Orientation), "H", 1, orientation, True)]
    kept = {"photometric": "rgb", "tile": (32, 32), "compression": compression, "extratags": tags}
    tifffile.imwrite(tmp_path / "a.tif", pixels, **kept)
    if orientation > 1 and compression != "jpeg":
        with pytest.raises(SlideError, match=rf"turn each tile of this file in its place: orientation {orientation}"):
            open_slide(tmp_path / "a.tif", mpp=0.5, reader="openslide")
        return
    with open_slide(tmp_path / "a.tif", mpp=0.5, reader="openslide") as slide:
        found = slide.read((0, 0), slide.size, mpp=0.5)
        assert any(f"orientation {orientation}" in note for note in slide.notes) == (orientation > 1)
    assert np.abs(found.astype(int) - pixels).mean() < 3


def test_a_scale_that_was_given_over_that_of_the_file_is_told(tmp_path):
    """One --slide-mpp for a folder of mixed scanners must not change the scale of some without a word."""
    path = tmp_path / "fine.tif"
    tags = {"resolution": (4e4, 4e4), "resolutionunit": "CENTIMETER"}  # .25 um/px
    tifffile.imwrite(path, np.zeros((64, 64, 3), np.uint8), photometric="rgb", tile=(16, 16), **tags)
    with open_slide(path, mpp=0.5) as slide:
        assert slide.notes == ["the file says 0.25 um/px, and it is read at 0.5, as was given"]
    with open_slide(path, objective=10) as slide:  # 1 um/px: further off than objectives are rounded
        assert slide.notes == ["the file says 0.25 um/px, and it is read at 1, as was given"]
    for same in ({}, {"mpp": 0.2503}, {"objective": 40}):
        with open_slide(path, **same) as slide:
            assert slide.notes == []
    tifffile.imwrite(path, np.zeros((64, 64, 3), np.uint8), photometric="rgb", tile=(16, 16), resolution=(72, 72))
    with open_slide(path, mpp=0.5) as slide:  # of a print: no slide has that
        assert slide.notes == []
