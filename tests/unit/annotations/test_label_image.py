"""Label images: every way they are stored gives the same areas, and nothing hostile is decoded whole."""

import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image

from asmil.annotations import AnnotationError, MaskLabels, find_annotation, label_image, read_annotations

LABELS = MaskLabels({1: "tumor", 2: "necrosis"})
SIZE = (1600, 1200)


@pytest.fixture(scope="module")
def mask():
    """Values 0, 1 and 2, uint8 (600, 800): half the resolution of a slide of 1600 x 1200 px."""
    values = np.zeros((600, 800), np.uint8)
    values[100:300, 200:520] = 1
    values[150:160, 300:310] = 0
    values[200:260, 240:300] = 2
    values[590:600, 790:800] = 1
    return values


def tiff(path, values, **options):
    tifffile.imwrite(path, values, photometric="minisblack", **options)


def png(path, values):
    Image.fromarray(values).save(path)


WRITERS = {
    "grey.png": png,
    "sixteen.png": lambda path, values: png(path, values.astype(np.uint16)),
    "whole.tif": tiff,
    "strips.tif": lambda path, values: tiff(path, values, rowsperstrip=7, compression="zlib"),
    "tiles.tif": lambda path, values: tiff(path, values, tile=(64, 64), compression="zlib"),
    "sixteen.tiff": lambda path, values: tiff(path, values.astype(np.uint16), tile=(128, 128)),
}


@pytest.mark.parametrize("in_pieces", [False, True])
@pytest.mark.parametrize("name", WRITERS)
def test_every_way_of_storing_a_mask_gives_the_same_areas(tmp_path, monkeypatch, mask, name, in_pieces):
    WRITERS[name](tmp_path / name, mask)
    if in_pieces:
        if name.endswith("png") or name == "whole.tif":
            pytest.skip("a picture in one piece")
        monkeypatch.setattr(label_image, "WHOLE_PX", 20_000)
        monkeypatch.setattr(label_image, "FINE_PX", 1)
    drawn = read_annotations(tmp_path / name, slide_size=SIZE, labels=LABELS)
    tumor, necrosis = drawn.area_of(["tumor"]), drawn.area_of(["necrosis"])
    assert tumor.area == 4 * (mask == 1).sum()
    assert necrosis.bounds == (480, 400, 600, 520)
    assert tumor.bounds == (400, 200, 1600, 1200)
    assert tumor.is_valid
    assert len(drawn.areas["tumor"].geoms) == 2, "what pieces cut apart is put together again"


def test_a_palette_is_read_by_index_and_a_black_and_white_one_as_1(tmp_path, mask):
    picture = Image.fromarray(mask).convert("P")
    picture.putdata(mask.ravel().tolist())
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    picture.save(tmp_path / "p.png")
    assert read_annotations(tmp_path / "p.png", slide_size=SIZE).classes == ("1", "2")
    Image.fromarray(mask > 0).save(tmp_path / "b.png")
    drawn = read_annotations(tmp_path / "b.png", slide_size=SIZE)
    assert drawn.classes == ("1",)
    assert drawn.area_of(["1"]).area == 4 * (mask > 0).sum()


def test_a_large_mask_is_read_from_the_level_that_is_fine_enough(tmp_path, monkeypatch, mask):
    fine = mask.repeat(8, 0).repeat(8, 1)
    with tifffile.TiffWriter(tmp_path / "pyramid.tif") as file:
        for level, step in enumerate((1, 2, 8, 32)):
            options = {"subifds": 3} if level == 0 else {"subfiletype": 1}
            file.write(fine[::step, ::step], tile=(256, 256), compression="zlib", photometric="minisblack", **options)
    monkeypatch.setattr(label_image, "WHOLE_PX", 1_000_000)
    read = []
    monkeypatch.setattr(label_image._Level, "pieces", _told(label_image._Level.pieces, read))
    drawn = read_annotations(tmp_path / "pyramid.tif", slide_size=(6400, 4800), labels=LABELS)
    assert read == [(800, 600)] * 2, "8 level-0 px each, looked at and traced"
    assert drawn.area_of(["tumor"]).area == 64 * (mask == 1).sum()


def test_coarse_levels_of_means_are_no_classes(tmp_path, monkeypatch, mask):
    """Pyramids of pictures are means: 128 between 0 and 255 was a class of its own, and many a reason to refuse it."""
    values = np.where(mask == 1, 255, 0).astype(np.uint8)[5:, 3:]  # so that borders lie within coarse pixels
    values = np.pad(values, ((0, 5), (0, 3)))
    with tifffile.TiffWriter(tmp_path / "means.tif") as file:
        for level, step in enumerate((1, 2, 4)):
            coarse = np.rint(values.reshape(600 // step, step, 800 // step, step).mean((1, 3))).astype(np.uint8)
            options = {"subifds": 2} if level == 0 else {"subfiletype": 1}
            file.write(coarse, tile=(256, 256), compression="zlib", photometric="minisblack", **options)
    monkeypatch.setattr(label_image, "WHOLE_PX", 200_000)
    drawn = read_annotations(tmp_path / "means.tif", slide_size=SIZE)
    assert drawn.classes == ("255",)
    assert drawn.area_of(["255"]).area == pytest.approx(4 * (values > 0).sum(), rel=0.02)


def _told(pieces, read):
    def told(self):
        read.append(self.size)
        return pieces(self)

    return told


def test_a_large_mask_without_levels_is_merged_as_it_is_read(tmp_path, monkeypatch, mask):
    fine = mask.repeat(8, 0).repeat(8, 1)
    tiff(tmp_path / "m.tif", fine, tile=(256, 256), compression="zlib")
    monkeypatch.setattr(label_image, "WHOLE_PX", 1_000_000)
    drawn = read_annotations(tmp_path / "m.tif", slide_size=(6400, 4800), labels=LABELS)
    assert drawn.area_of(["tumor"]).area == pytest.approx(64 * (mask == 1).sum())
    corners = sum(len(part.exterior.coords) for part in drawn.areas["necrosis"].geoms)
    assert corners == 5, "a square, however many pixels it had"


def test_a_sparse_file_is_empty_where_nothing_was_written(tmp_path, mask):
    """A tile without bytes is background, not white."""
    tiff(tmp_path / "s.tif", mask, tile=(256, 256))
    with tifffile.TiffFile(tmp_path / "s.tif", mode="r+b") as file:
        page = file.pages[0]
        for tag in ("TileOffsets", "TileByteCounts"):
            values = list(page.tags[tag].value)
            values[-1] = 0
            page.tags[tag].overwrite(values)
    drawn = read_annotations(tmp_path / "s.tif", slide_size=SIZE, labels=LABELS)
    assert drawn.area_of(["tumor"]).bounds[2] == 1040, "the spot in the last tile is gone, nothing else"


def test_scale_by_micrometres_stated_or_given(tmp_path, mask):
    tiff(tmp_path / "m.tif", mask, resolution=(10_000, 10_000), resolutionunit="CENTIMETER")  # 1 um
    by_file = read_annotations(tmp_path / "m.tif", slide_mpp=0.25, labels=LABELS)
    assert by_file.area_of(["necrosis"]).bounds == (960, 800, 1200, 1040)
    given = read_annotations(tmp_path / "m.tif", slide_mpp=0.25, labels=MaskLabels({2: "necrosis"}, mpp=0.5))
    assert given.area_of(["necrosis"]).bounds == (480, 400, 600, 520)
    png(tmp_path / "m.png", mask)
    with pytest.raises(AnnotationError, match="--mask-mpp"):
        read_annotations(tmp_path / "m.png", slide_mpp=0.25)
    with pytest.raises(AnnotationError, match="another shape than its slide"):
        read_annotations(tmp_path / "m.png", slide_size=(1600, 1600))


def test_a_negative_mask_knows_its_classes(tmp_path):
    png(tmp_path / "m.png", np.zeros((10, 10), np.uint8))
    drawn = read_annotations(tmp_path / "m.png", slide_size=(10, 10), labels=LABELS)
    assert drawn.classes == ("tumor", "necrosis")
    assert drawn.area_of(["tumor"]).is_empty


@pytest.mark.parametrize("bits", [1, 8])
def test_a_mask_in_which_0_is_white_is_no_guess(tmp_path, mask, bits):
    """What marks its areas by white, and what turns its colours over alone, say the same."""
    tifffile.imwrite(tmp_path / "b.tif", mask > 0)  # with 0 as white, by a writer whose way is known
    drawn = read_annotations(tmp_path / "b.tif", slide_size=SIZE)
    assert drawn.area_of(["1"]).area == 4 * (mask > 0).sum()
    stored = (mask > 0) if bits == 1 else mask
    tifffile.imwrite(tmp_path / "m.tif", stored, photometric="miniswhite", software="another")
    with pytest.raises(AnnotationError, match=r"turned over cannot be told\. Found: the file says that 0 is white"):
        read_annotations(tmp_path / "m.tif", slide_size=SIZE)


@pytest.mark.parametrize("kind", ["m.tif", "m.png"])
def test_which_way_up_a_mask_is_meant_is_no_guess(tmp_path, mask, kind):
    """Slides are read as they are stored; a mask may have been drawn on the one or on the other."""
    for turn in (1, 3):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = turn
        if kind == "m.png":
            Image.fromarray(mask).save(tmp_path / kind, exif=exif)
        else:
            tiff(tmp_path / kind, mask, extratags=[(int(ExifTags.Base.Orientation), "H", 1, turn, True)])
        if turn == 1:
            drawn = read_annotations(tmp_path / kind, slide_size=SIZE, labels=LABELS)
            assert drawn.area_of(["tumor"]).area == 4 * (mask == 1).sum()
            continue
        with pytest.raises(AnnotationError, match=r"which way m\.\w+ is meant to lie .* Found: orientation 3"):
            read_annotations(tmp_path / kind, slide_size=SIZE, labels=LABELS)


def _bomb(path):
    """A PNG of a few bytes that claims 60000 x 60000 px."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )


def _one_strip(path):
    tifffile.imwrite(path, np.zeros((9000, 9000), np.uint8), rowsperstrip=9000, compression="zlib")


BAD = {
    "bomb.png": (_bomb, "too large"),
    "strip.tif": (_one_strip, "too large"),
    "rgb.png": (lambda path: png(path, np.zeros((9, 9, 3), np.uint8)), "a picture, not a mask"),
    "rgb.tif": (lambda path: tifffile.imwrite(path, np.zeros((99, 99, 3), np.uint8), photometric="rgb"), "a picture"),
    "photo.png": (lambda path: png(path, np.arange(10_000, dtype=np.uint8).reshape(100, 100)), "more than 32"),
    "broken.tif": (lambda path: path.write_bytes(b"II*\0" + b"\xff" * 40), "cannot be decoded"),
    "text.png": (lambda path: path.write_text("no picture"), "cannot be decoded"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_mask_or_a_trap_is_named(tmp_path, name):
    write, says = BAD[name]
    write(tmp_path / name)
    with pytest.raises(AnnotationError, match=says):
        read_annotations(tmp_path / name, slide_size=(100, 100))


def test_a_mask_that_was_cut_short_is_named(tmp_path, mask):
    tiff(tmp_path / "m.tif", mask, tile=(64, 64), compression="zlib")
    content = (tmp_path / "m.tif").read_bytes()
    (tmp_path / "m.tif").write_bytes(content[: len(content) - 200])
    with pytest.raises(AnnotationError, match=r"m\.tif"):
        read_annotations(tmp_path / "m.tif", slide_size=SIZE)


def test_masks_are_found_by_name_and_outlines_go_first(tmp_path, mask):
    png(tmp_path / "s_mask.png", mask)
    png(tmp_path / "s.png", mask)  # the slide itself, or its thumbnail
    assert find_annotation(tmp_path, "s") == tmp_path / "s_mask.png"
    (tmp_path / "s.xml").write_text("<ASAP_Annotations/>")
    assert find_annotation(tmp_path, "s") == tmp_path / "s.xml"


@pytest.mark.parametrize("text", ["tumor", "=tumor", "a=tumor", "1="])
def test_a_class_of_a_mask_is_a_value_and_a_name(text):
    assert MaskLabels.parsed(["255 = tumor"]).names == {255: "tumor"}
    with pytest.raises(AnnotationError, match="<pixel value>=<name>"):
        MaskLabels.parsed([text])
