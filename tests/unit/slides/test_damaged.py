"""Damaged slide files: refused at once with what was found, whatever a reader raises."""

import json
import struct
import time

import numpy as np
import pytest
import tifffile
from PIL import Image

from asmil.errors import ScaleError, SlideError
from asmil.slides import SLIDE_READERS, list_scenes, open_slide, scan_slides, slide_files, write_slide
from asmil.slides.readers.dicom import READER as DICOM
from asmil.slides.readers.ome_zarr import _stored_chunks
from asmil.slides.tiff_tags import check_tables


@pytest.fixture
def tiff(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (600, 700, 3), np.uint8)
    return write_slide(tmp_path / "a.tif", pixels, mpp=0.5)


def test_tables_of_a_tiff_that_lead_in_a_circle_are_refused_by_every_reader(tiff):
    data = bytearray(tiff.read_bytes())
    (first,) = struct.unpack_from("<I", data, 4)
    at = first
    while link := struct.unpack_from("<I", data, at + 2 + 12 * struct.unpack_from("<H", data, at)[0])[0]:
        at = link
    struct.pack_into("<I", data, at + 2 + 12 * struct.unpack_from("<H", data, at)[0], first)
    tiff.write_bytes(data)
    start = time.monotonic()
    with pytest.raises(SlideError, match=f"leads back to byte {first}") as error:
        open_slide(tiff)
    assert str(error.value).count("leads back") == 3  # tiff, openslide and image
    assert time.monotonic() - start < 60


def test_a_table_that_says_twice_where_the_tiles_lie_is_refused_by_every_reader(tiff):
    data = bytearray(tiff.read_bytes())
    (first,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, first)
    places = [first + 2 + 12 * entry for entry in range(entries)]
    software, counts = (next(at for at in places if struct.unpack_from("<H", data, at)[0] == tag) for tag in (305, 325))
    data[software : software + 12] = data[counts : counts + 12]
    tiff.write_bytes(data)
    with pytest.raises(SlideError) as error:
        open_slide(tiff)
    assert str(error.value).count("tag 325 twice in one table") == 3  # tiff, openslide and image


@pytest.mark.parametrize("tiles", [1, 4])
def test_a_tile_that_claims_more_bytes_than_the_file_has_is_refused(tiles, tmp_path):
    side = 256 if tiles == 1 else 512
    path = tmp_path / "a.tif"
    pixels = np.random.default_rng(0).integers(0, 255, (side, side, 3), np.uint8)
    tifffile.imwrite(path, pixels, tile=(256, 256), photometric="rgb", bigtiff=True, resolution=(20_000, 20_000))
    with tifffile.TiffFile(path) as file:
        at = file.pages[0].tags["TileByteCounts"].offset
    data = bytearray(path.read_bytes())
    struct.pack_into("<HQ", data, at + 2, 16, tiles)
    stored = at + 12 if tiles == 1 else len(data)
    if tiles > 1:
        struct.pack_into("<Q", data, at + 12, stored)
        data += bytes(8 * tiles)
    struct.pack_into("<Q", data, stored + 8 * (tiles - 1), len(data) + 1)
    path.write_bytes(data)
    with pytest.raises(SlideError, match=f"a tile of {len(data) + 1} bytes"):
        check_tables(path)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_tiles_that_no_memory_holds_are_refused_and_others_are_not(byteorder, bigtiff, tmp_path):
    path = tmp_path / "a.tif"
    pixels = np.random.default_rng(0).integers(0, 255, (512, 512, 3), np.uint8)
    facts = {"photometric": "rgb", "resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, pixels, tile=(256, 256), byteorder=byteorder, bigtiff=bigtiff, **facts)
    with open_slide(path) as slide:
        assert np.array_equal(slide.read((0, 0), 512, mpp=0.5), pixels)
    with tifffile.TiffFile(path) as file:
        places = [file.pages[0].tags[name].offset for name in ("TileWidth", "TileLength")]
    data = bytearray(path.read_bytes())
    for at in places:
        struct.pack_into(f"{byteorder}H", data, at + 2, 3)
        struct.pack_into(f"{byteorder}H", data, at + (12 if bigtiff else 8), 65_520)
    path.write_bytes(data)
    with pytest.raises(SlideError, match=f"tiles of {65_520**2} px"):
        check_tables(path)


def test_whatever_a_reader_raises_is_why_it_was_passed_over(tiff, monkeypatch):
    def detect(path):
        raise KeyError("of a library")

    monkeypatch.setattr(SLIDE_READERS["tiff"], "detect", staticmethod(detect))
    with open_slide(tiff) as slide:
        assert slide.reader == "openslide"
        assert "KeyError: 'of a library'" in slide.passed_over["tiff"]


def test_whatever_is_raised_while_pixels_are_read_is_an_error_of_the_slide(tiff, monkeypatch):
    def decode(self, level, row, column, *, out=None):
        raise ZeroDivisionError("in a library")

    with open_slide(tiff) as slide:
        monkeypatch.setattr(SLIDE_READERS["tiff"], "decode", decode)
        with pytest.raises(SlideError, match=r"a\.tif is damaged at level 0.*ZeroDivisionError: in a library"):
            slide.read((0, 0), 64, mpp=0.5)


def _dicom(path, **other):
    pydicom = pytest.importorskip("pydicom")
    header, meta = pydicom.Dataset(), pydicom.dataset.FileMetaDataset()
    header.SOPClassUID = meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.6"
    header.SOPInstanceUID = meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    facts = {"SeriesInstanceUID": "1.2.3", "SamplesPerPixel": 3, "PlanarConfiguration": 0, "NumberOfFrames": 4}
    facts |= {"Rows": 64, "Columns": 64, "TotalPixelMatrixColumns": 120, "TotalPixelMatrixRows": 100}
    facts |= {"BitsAllocated": 8, "DimensionOrganizationType": "TILED_FULL", "PhotometricInterpretation": "RGB"}
    for name, value in (facts | other).items():
        if value is not None:
            setattr(header, name, value)
    header.PixelData = bytes(4 * 64 * 64 * 3)
    header.file_meta = meta
    header.save_as(path, enforce_file_format=True)
    return path


def test_dicom_of_a_kind_of_value_that_there_is_not(tmp_path):
    content = (path := _dicom(tmp_path / "a.dcm")).read_bytes()
    path.write_bytes(content.replace(b"\x02\x00\x00\x00UL", b"\x02\x00\x00\x00UH", 1))
    with pytest.raises(SlideError, match="DICOM header cannot be read"):
        open_slide(path, mpp=0.5)


def test_dicom_as_it_should_be_is_read(tmp_path):
    with open_slide(_dicom(tmp_path / "a.dcm"), mpp=0.5) as slide:
        assert (slide.reader, slide.size) == ("dicom", (120, 100))


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"TotalPixelMatrixColumns": 60_000}, "4 frames, 1876 tiles"),
        ({"NumberOfFrames": 2_000_000_000}, "several focal planes.*2000000000 frames, 4 tiles"),
        ({"Rows": None}, "header cannot be read.*Rows"),
        ({"Columns": 0}, "header cannot be read: ZeroDivisionError"),
    ],
    ids=["huge", "frames", "no rows", "no columns"],
)
def test_dicom_of_damaged_sizes_is_refused(other, says, tmp_path):
    with pytest.raises(SlideError, match=says):
        open_slide(_dicom(tmp_path / "a.dcm", **other), mpp=0.5)


def test_a_length_of_four_gigabytes_in_a_small_dicom_file_takes_no_memory(tmp_path):
    import tracemalloc

    path = _dicom(tmp_path / "a.dcm")
    data = path.read_bytes()
    at = data.index(b"UI", data.index(b"\x08\x00\x16\x00")) - 4  # the first element after the file's own facts
    path.write_bytes(data[:at] + struct.pack("<HH2sHI", 0x08, 0x05, b"UT", 0, 0xFFFFFF00) + data[at:])
    tracemalloc.start()
    try:
        with pytest.raises(SlideError):
            DICOM(path)
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("attributes", ["x", 5, None, {"multiscales": 5}, {"multiscales": [{}]}, "[" * 5000], ids=str)
def test_ome_zarr_with_other_notes_is_refused(attributes, tmp_path):
    (tmp_path / "a.zarr").mkdir()
    text = (
        attributes if str(attributes).startswith("[") else json.dumps({"attributes": attributes, "node_type": "group"})
    )
    (tmp_path / "a.zarr" / "zarr.json").write_text(text)
    scan_slides(tmp_path)
    with pytest.raises(SlideError):
        open_slide(tmp_path / "a.zarr")


def test_ome_zarr_that_claims_to_be_a_continent_is_refused(tmp_path):
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    group.create_array("0", shape=(2**22, 2**22), chunks=(512, 512), dtype=np.uint8)
    axes = [{"name": name} for name in "yx"]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": [{"path": "0"}]}]
    with pytest.raises(SlideError, match="0 of 67108864 chunks"):
        open_slide(tmp_path / "a.zarr")


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_an_ome_zarr_slide_whose_notes_are_damaged_is_not_passed_over(zarr_format, tmp_path):
    zarr = pytest.importorskip("zarr")
    for name in ("cut", "emptied", "features", "lost", "whole"):
        group = zarr.open_group(tmp_path / f"{name}.zarr", mode="w", zarr_format=zarr_format)
        key = "features" if name == "features" else "0"
        group.create_array(key, data=np.full((64, 64), 200, np.uint8), chunks=(32, 32))
        axes = [{"name": axis} for axis in "yx"]
        image = {"multiscales": [{"version": "0.4", "axes": axes, "datasets": [{"path": "0"}]}]}
        group.attrs.update({"encoder": "uni"} if name == "features" else image if zarr_format == 2 else {"ome": image})
    notes = ".zattrs" if zarr_format == 2 else "zarr.json"
    (tmp_path / "cut.zarr" / notes).write_text('{"multi')
    (tmp_path / "emptied.zarr" / notes).write_text("")
    (tmp_path / "lost.zarr" / notes).unlink()
    assert [path.stem for path in scan_slides(tmp_path)] == ["cut", "emptied", "lost", "whole"]
    for name in ("cut", "emptied", "lost"):
        with pytest.raises(SlideError):
            open_slide(tmp_path / f"{name}.zarr", mpp=0.5)


def test_ome_zarr_with_a_level_of_no_pixels_is_refused(tmp_path):
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    group.create_array("0", data=np.zeros((64, 64), np.uint8), chunks=(32, 32))
    group.create_array("1", shape=(0, 32), chunks=(32, 32), dtype=np.uint8)
    axes, levels = [{"name": name} for name in "yx"], [{"path": "0"}, {"path": "1"}]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": levels}]
    with pytest.raises(SlideError, match="a level has no pixels"):
        open_slide(tmp_path / "a.zarr")


@pytest.mark.parametrize(("zarr_format", "shards"), [(2, None), (3, None), (3, (16, 32))])
def test_stored_chunks_are_counted_as_far_as_asked(tmp_path, zarr_format, shards):
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=zarr_format)
    array = group.create_array("0", shape=(64, 64), chunks=(8, 8), shards=shards, dtype=np.uint8)
    array.attrs["name"] = "not a chunk"
    array[:20, :40] = 1
    assert _stored_chunks(array, enough=10**6) == array.nchunks_initialized > 0
    assert 0 < _stored_chunks(array, enough=3) <= array.nchunks_initialized
    assert _stored_chunks(array, enough=-99) == 0


@pytest.fixture
def sharded(tmp_path):
    """A slide in shards of 3 x 2 x 2 chunks, of which the last is not written: its pixels are known all the same."""
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=3)
    pixels = np.random.default_rng(0).integers(1, 255, (3, 256, 320), np.uint8)
    pixels[:, 128:, 160:] = 0
    group.create_array("0", data=pixels, chunks=(1, 64, 80), shards=(3, 128, 160))
    axes = [{"name": "c"}, *({"name": n, "type": "space", "unit": "micrometer"} for n in "yx")]
    scale = [{"type": "scale", "scale": [1, 0.5, 0.5]}]
    datasets = [{"path": "0", "coordinateTransformations": scale}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    return tmp_path / "a.zarr", pixels.transpose(1, 2, 0)


@pytest.mark.parametrize("left", ["nothing", "an index"])
def test_ome_zarr_with_shards_of_no_pixels_is_refused(sharded, left):
    """As a full disk leaves them: zarr reads a shard without bytes as its fill value, which is black."""
    path, pixels = sharded
    with open_slide(path) as slide:
        np.testing.assert_array_equal(slide.read((0, 0), (320, 256), mpp=0.5), pixels)
    shards = sorted((path / "0" / "c").rglob("?"))
    shard = [path for path in shards if path.is_file()][1]
    stored = shard.read_bytes()
    index = stored[-(16 * 12 + 4) :]
    shard.write_bytes(b"" if left == "nothing" else index)
    with pytest.raises(SlideError, match=r"shards without pixels.*1 of the files of 0, as c/0/0/1.*write it again"):
        open_slide(path)


@pytest.mark.parametrize("name", [".DS_Store", "._0", "desktop.ini", "Thumbs.db", ".nfs0000000000a1"])
def test_what_a_file_manager_leaves_among_shards_is_no_shard(sharded, name):
    path, pixels = sharded
    (path / "0" / "c" / "0" / "0" / name).write_bytes(b"x" * 120)
    with open_slide(path) as slide:
        np.testing.assert_array_equal(slide.read((0, 0), (320, 256), mpp=0.5), pixels)


def test_a_shard_whose_index_says_that_it_is_empty_is_read(sharded):
    path, pixels = sharded
    index = b"\xff" * (16 * 12)
    check = pytest.importorskip("google_crc32c").value(index)
    (path / "0" / "c" / "0" / "1" / "1").write_bytes(index + check.to_bytes(4, "little"))
    with open_slide(path) as slide:
        np.testing.assert_array_equal(slide.read((0, 0), (320, 256), mpp=0.5), pixels)


def test_a_bad_file_among_slides_costs_no_other(tiff):
    (tiff.parent / "b.tif").write_bytes(tiff.read_bytes()[:300])
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tiff.parent / "c.png")
    assert [file.name for file in slide_files(scan_slides(tiff.parent))] == ["a", "b", "c"]
    assert len(list_scenes(tiff)) == 1
    with pytest.raises(ScaleError):
        open_slide(tiff.parent / "c.png")
