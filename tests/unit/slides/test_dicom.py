"""DICOM series: grouped by their number, named by folder or glass, read by our own reader, in the right colours."""

import time
from pathlib import Path

import numpy as np
import pytest

from asmil.errors import ScaleError, SlideError
from asmil.slides import ContentError, SlideFile, name_of, open_slide, scan_slides

pydicom = pytest.importorskip("pydicom")
imagecodecs = pytest.importorskip("imagecodecs")

SMOOTH = np.stack(np.meshgrid(np.arange(240), np.arange(200)), -1)
PIXELS = np.concatenate([SMOOTH, SMOOTH[..., :1] // 2 + 60], -1).astype(np.uint8)  # (200, 240, 3): JPEG keeps it
TILE = 64


def frames_of(pixels):
    """Frames of TILED_FULL, row by row, padded at the border."""
    height, width = (-(-side // TILE) * TILE for side in pixels.shape[:2])
    more = [(0, height - pixels.shape[0]), (0, width - pixels.shape[1])] + [(0, 0)] * (pixels.ndim - 2)
    padded = np.pad(pixels, more, mode="edge")
    return [padded[y : y + TILE, x : x + TILE] for y in range(0, height, TILE) for x in range(0, width, TILE)]


def write(path, pixels=PIXELS, *, series="1.2.3", flavour="VOLUME", jpeg=None, spacing="shared", **other):
    """One instance, one level. `jpeg`: how a frame becomes data; else they are stored as they are."""
    from pydicom.encaps import encapsulate

    path.parent.mkdir(parents=True, exist_ok=True)
    header, meta, frames = pydicom.Dataset(), pydicom.dataset.FileMetaDataset(), frames_of(pixels)
    header.SOPClassUID = meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.6"
    header.SOPInstanceUID = meta.MediaStorageSOPInstanceUID = f"{series}.{abs(hash(path)) % 10**9}"
    meta.TransferSyntaxUID = pydicom.uid.JPEGBaseline8Bit if jpeg else pydicom.uid.ExplicitVRLittleEndian
    mm = 0.0005 * PIXELS.shape[1] / pixels.shape[1]
    facts = {"SeriesInstanceUID": series, "ImageType": ["ORIGINAL", "PRIMARY", flavour, "NONE"]}
    facts |= {
        "Rows": TILE,
        "Columns": TILE,
        "NumberOfFrames": len(frames),
        "SamplesPerPixel": 3 if pixels.ndim == 3 else 1,
    }
    facts |= {"TotalPixelMatrixColumns": pixels.shape[1], "TotalPixelMatrixRows": pixels.shape[0]}
    facts |= {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelRepresentation": 0, "PlanarConfiguration": 0}
    facts |= {"DimensionOrganizationType": "TILED_FULL"}
    facts |= {"PhotometricInterpretation": "RGB" if pixels.ndim == 3 else "MONOCHROME2"}
    measures, group = pydicom.Dataset(), pydicom.Dataset()
    measures.PixelSpacing, group.PixelMeasuresSequence = [mm, mm], pydicom.Sequence([measures])
    if spacing in ("shared", "frames"):
        facts[{"shared": "Shared", "frames": "PerFrame"}[spacing] + "FunctionalGroupsSequence"] = [group]
    elif spacing == "top":
        facts["PixelSpacing"] = [mm, mm]
    elif spacing == "volume":
        facts |= {"ImagedVolumeWidth": 0.0005 * PIXELS.shape[1], "ImagedVolumeHeight": 0.0005 * PIXELS.shape[0]}
    for name, value in (facts | other).items():
        setattr(header, name, value)
    data = [frame.tobytes() for frame in frames] if jpeg is None else [jpeg(frame) for frame in frames]
    header.PixelData = b"".join(data) if jpeg is None else encapsulate(data)
    if jpeg:
        header["PixelData"].is_undefined_length = True
    header.file_meta = meta
    header.save_as(path, enforce_file_format=True)
    return path


def pyramid(folder, *, pixels=PIXELS, series="1.2.3", first=0, **other):
    """Three levels and a label, as DCM_0.dcm and so on; the finest is neither the first nor the last file."""
    for number, step in enumerate((4, 1, 2)):
        write(
            folder / f"DCM_{first + number}.dcm", np.ascontiguousarray(pixels[::step, ::step]), series=series, **other
        )
    write(folder / f"DCM_{first + 3}.DCM", pixels[:60, :60], series=series, flavour="LABEL", **other)
    return folder


@pytest.mark.parametrize("pixels", [PIXELS, PIXELS[..., 0]], ids=["rgb", "grey"])
def test_a_series_alone_in_its_folder_is_one_slide_of_its_name(tmp_path, pixels):
    folder = pyramid(tmp_path / "slides" / "case.7-A", pixels=pixels)
    assert scan_slides(tmp_path) == [folder]
    colours = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, -1)
    for path in [folder, *sorted(folder.iterdir())]:  # any of the files stands for the series
        with open_slide(path) as slide:
            assert (slide.reader, slide.name, slide.mpp) == ("dicom", "case.7-A", pytest.approx(0.5))
            assert [level.size for level in slide.levels] == [(240, 200), (120, 100), (60, 50)]
            np.testing.assert_array_equal(slide.read((0, 0), (240, 200), mpp=0.5), colours)
            np.testing.assert_array_equal(slide.read((0, 0), (60, 50), mpp=2.0), colours[::4, ::4])


def test_slides_in_two_folders_with_equal_file_names(tmp_path):
    a, b = pyramid(tmp_path / "a", series="1.1"), pyramid(tmp_path / "b", series="1.2")
    one = [write(tmp_path / name / "DCM_0.dcm", series=f"1.{n}") for n, name in enumerate("cd", 3)]
    assert scan_slides(tmp_path) == [a, b, *(path.parent for path in one)]
    assert [SlideFile(path).name for path in scan_slides(tmp_path)] == ["a", "b", "c", "d"]
    write(tmp_path / "e" / "kidney.dcm")  # a single file keeps its name
    assert [name_of(path) for path in scan_slides(tmp_path)] == ["a", "b", "c", "d", "kidney"]


def test_series_in_one_folder_are_named_by_the_glass(tmp_path):
    for number, glass in enumerate(["S-17", "S-18"]):
        pyramid(tmp_path, series=f"1.2.{number}", first=4 * number, ContainerIdentifier=glass)
    write(tmp_path / "alone.dcm", series="1.2.9", ContainerIdentifier="S-19")
    found = scan_slides(tmp_path)
    assert [path.name for path in found] == ["DCM_1.dcm", "DCM_5.dcm", "alone.dcm"]
    assert [name_of(path) for path in found] == ["S-17", "S-18", "alone"]
    with open_slide(found[1]) as slide:
        assert (slide.name, len(slide.levels)) == ("S-18", 3)
    with pytest.raises(ContentError, match=r"3 series.*DCM_1\.dcm"):
        open_slide(tmp_path)
    # a folder named by a number says nothing either
    folder = pyramid(tmp_path / "x" / "SM_1.2.840.99.1.5", series="1.5", ContainerIdentifier="S-20")
    assert name_of(folder) == "S-20"
    assert name_of(pyramid(tmp_path / "y" / "1.2.840.99.1.6", series="1.6")) == "1.2.840.99.1.6"


@pytest.mark.parametrize("spacing", ["shared", "frames", "top", "volume"])
def test_the_scale_wherever_it_stands(tmp_path, spacing):
    with open_slide(write(tmp_path / "a.dcm", spacing=spacing)) as slide:
        assert slide.mpp == pytest.approx(0.5)


def test_no_scale_is_said(tmp_path):
    with pytest.raises(ScaleError, match="no mpp in the file"):
        open_slide(write(tmp_path / "a.dcm", spacing="none"))


def test_ycbcr_under_a_header_of_rgb_has_the_right_colours(tmp_path):
    """As wsidicomizer 0.26 and 0.31 write derived levels: OpenSlide believes the header."""
    path = write(tmp_path / "a.dcm", jpeg=lambda frame: imagecodecs.jpeg8_encode(frame, level=95))
    with open_slide(path) as slide:
        found = slide.read((0, 0), (240, 200), mpp=0.5)
    assert np.abs(found.astype(int) - PIXELS).mean() < 3


def test_frames_at_the_border_that_are_cut_to_what_there_is(tmp_path):
    """As wsidicomizer 0.26 writes them, against the header; 56 x 8 px of the last are in the level of 240 x 200."""

    def encoded(frame, *, wide=TILE, high=TILE):
        return imagecodecs.jpeg8_encode(np.ascontiguousarray(frame[:high, :wide]), level=95)

    sizes = iter([(TILE if n % 4 < 3 else 60, TILE if n < 12 else 16) for n in range(16)])

    def cut(frame):
        wide, high = next(sizes)
        return encoded(frame, wide=wide, high=high)

    with open_slide(write(tmp_path / "a.dcm", jpeg=cut)) as slide:
        found = slide.read((0, 0), (240, 200), mpp=0.5)
        assert slide.notes == []
    assert np.abs(found.astype(int) - PIXELS).mean() < 3
    slide = open_slide(write(tmp_path / "b" / "b.dcm", jpeg=lambda frame: encoded(frame, wide=40)))
    with slide, pytest.raises(SlideError, match=r"another size\. Found: 40 x 64 px"):
        slide.read((0, 0), (240, 200), mpp=0.5)


def test_content_that_is_no_slide_is_refused_by_name(tmp_path):
    write(tmp_path / "l" / "label.dcm", flavour="LABEL")
    with pytest.raises(ContentError, match="no level here"):
        open_slide(tmp_path / "l" / "label.dcm")
    write(tmp_path / "p" / "a.dcm")
    write(tmp_path / "p" / "b.dcm")
    with pytest.raises(ContentError, match=r"same level.*a\.dcm and b\.dcm"):
        open_slide(tmp_path / "p")
    write(tmp_path / "s" / "a.dcm", BitsAllocated=16)
    with pytest.raises(ContentError, match="16 bits"):
        open_slide(tmp_path / "s" / "a.dcm")
    (tmp_path / "empty.d").mkdir()
    with pytest.raises(SlideError, match="not a folder"):
        open_slide(tmp_path / "empty.d")


def test_a_flat_folder_is_read_once(tmp_path, monkeypatch):
    """Before, each file was opened with all others: 40, 80, 160 and 320 files took .15, .49, 1.45 and 6.1 s."""
    for number in range(12):
        pyramid(tmp_path, series=f"1.2.{number}", first=4 * number)
    from asmil.slides.readers import dicom

    read, real = [], dicom._header
    monkeypatch.setattr(dicom, "_header", lambda path, **k: read.append(Path(path)) or real(path, **k))
    start = time.monotonic()
    assert len(scan_slides(tmp_path)) == 12
    assert len(set(read)) == 48
    assert len(read) <= 48 + 2 * 12  # each once, and again those whose name is asked for
    assert time.monotonic() - start < 60


def test_files_without_a_suffix_are_slides(tmp_path):
    """As archives of a hospital send them: `IM_0001`, or the number of the instance."""
    folder = tmp_path / "case.7-A"
    for path in sorted(pyramid(folder).iterdir()):
        path.rename(path.with_suffix(""))
    write(tmp_path / "flat" / "1.2.840.1.17", series="1.3.1")
    write(tmp_path / "flat" / "1.2.840.1.18", series="1.3.2")
    write(tmp_path / "flat" / "kidney.dcm", series="1.3.3")
    (tmp_path / "flat" / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "flat" / "README").write_text("of no slide")
    found = scan_slides(tmp_path)
    assert found == [folder, *(tmp_path / "flat" / name for name in ("1.2.840.1.17", "1.2.840.1.18", "kidney.dcm"))]
    assert [name_of(path) for path in found] == ["case.7-A", "1.2.840.1.17", "1.2.840.1.18", "kidney"]
    for path in [folder / "DCM_3", *found]:
        with open_slide(path) as slide:
            assert (slide.reader, slide.levels[0].size) == ("dicom", (240, 200))


def test_slides_without_a_suffix_in_one_folder_are_named_by_the_glass(tmp_path):
    for number, glass in enumerate(["S-17", "S-18"]):
        pyramid(tmp_path, series=f"1.2.{number}", first=4 * number, ContainerIdentifier=glass)
    for path in sorted(tmp_path.iterdir()):
        path.rename(path.with_suffix(""))
    assert [name_of(path) for path in scan_slides(tmp_path)] == ["S-17", "S-18"]


@pytest.mark.parametrize("flavour", ["LABEL", "OVERVIEW", "THUMBNAIL"])
def test_a_label_with_a_series_of_its_own_is_no_slide(tmp_path, flavour):
    folder = pyramid(tmp_path / "one")
    write(folder / "other.dcm", PIXELS[:60, :60], series="1.2.9", flavour=flavour)
    assert scan_slides(tmp_path) == [folder]
    with open_slide(folder / "other.dcm") as slide:  # any of the files stands for the slide
        assert (slide.name, len(slide.levels)) == ("one", 3)


def test_a_label_is_of_the_slide_of_its_glass(tmp_path):
    for number, glass in enumerate(["S-17", "S-18"]):
        pyramid(tmp_path, series=f"1.2.{number}", first=4 * number, ContainerIdentifier=glass)
        write(tmp_path / f"label_{number}.dcm", series=f"1.4.{number}", flavour="LABEL", ContainerIdentifier=glass)
    assert [name_of(path) for path in scan_slides(tmp_path)] == ["S-17", "S-18"]
    lost = write(tmp_path / "z.dcm", series="1.5", flavour="LABEL", ContainerIdentifier="S-19")
    assert lost in scan_slides(tmp_path)  # whose slide is not here: it is told when it is opened
    with pytest.raises(ContentError, match="no level here"):
        open_slide(lost)


def test_a_label_alone_is_not_of_another_glass(tmp_path):
    pyramid(tmp_path, ContainerIdentifier="S-17")
    lost = write(tmp_path / "z.dcm", series="1.5", flavour="LABEL", ContainerIdentifier="S-19")
    assert [path.name for path in scan_slides(tmp_path)] == ["DCM_1.dcm", lost.name]
