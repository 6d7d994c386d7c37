"""The slide files of the table formats x readers: each written from pixels that are known, or real."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tifffile

from asmil.slides import open_slide

WIDTH, HEIGHT, MPP, TILE = 600, 400, 0.5, 128


@dataclass(frozen=True)
class Example:
    """A file and what is in it. `refuse`: no slide of stained tissue, so that no reader should show one."""

    name: str
    path: Path
    size: tuple[int, int] = (WIDTH, HEIGHT)
    mpp: float = MPP
    levels: int = 3
    pixels: np.ndarray = field(default_factory=lambda: np.empty((0, 0, 3), np.uint8))
    kind: str = "lossless"
    refuse: bool = False


def picture() -> np.ndarray:
    """RGB and alpha, uint8 (HEIGHT, WIDTH, 4), smooth enough for JPEG to keep."""
    x, y = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    planes = [x * 255 // WIDTH, y * 255 // HEIGHT, (x + y) * 255 // (WIDTH + HEIGHT), 55 + (x * 7 + y * 3) % 200]
    return np.stack(planes, -1).astype(np.uint8)


def _levels(pixels: np.ndarray, *, planes_first: bool = False) -> list[np.ndarray]:
    cut = [pixels[:, ::step, ::step] if planes_first else pixels[::step, ::step] for step in (1, 2, 4)]
    return [np.ascontiguousarray(level) for level in cut]


def _tiff(path: Path, pixels: np.ndarray, **options) -> Path:
    """A pyramid of top-level pages with a resolution in centimetres."""
    scale = {"resolution": (1e4 / MPP, 1e4 / MPP), "resolutionunit": 3}
    with tifffile.TiffWriter(path) as file:
        for number, level in enumerate(_levels(pixels)):
            more = {"photometric": "rgb", "tile": (TILE, TILE), "metadata": None} | (scale if number == 0 else {})
            file.write(level, subfiletype=int(number > 0), **(more | options))
    return path


def _ome(path: Path, pixels: np.ndarray, *, axes: str, scale: str = "XY", **options) -> Path:
    """OME-TIFF with SubIFD levels."""
    metadata = {"axes": axes} | {f"PhysicalSize{side}": MPP for side in scale}
    if axes[0] in "CS":
        options |= {"planarconfig": "separate"} if axes[0] == "S" else {}
    with tifffile.TiffWriter(path, ome=True) as file:
        for number, level in enumerate(_levels(pixels, planes_first=axes[0] in "CS")):
            more = {"subifds": 2, "metadata": metadata} if number == 0 else {"subfiletype": 1}
            kind = "rgb" if "S" in axes else "minisblack"
            file.write(level, tile=(TILE, TILE), photometric=kind, **more, **options)
    return path


def _with_masks(path: Path, pixels: np.ndarray) -> Path:
    scale = {"resolution": (1e4 / MPP, 1e4 / MPP), "resolutionunit": 3}
    with tifffile.TiffWriter(path) as file:
        for number, level in enumerate(_levels(pixels)):
            options = {"tile": (TILE, TILE), "metadata": None} | scale
            file.write(level, photometric="rgb", subfiletype=int(number > 0), **options)
            mask = np.ones(level.shape[:2], bool)
            file.write(mask, photometric="mask", subfiletype=4 + int(number > 0), **options)
    return path


def _of_tiff(folder: Path) -> list[Example]:
    rgba = picture()
    rgb, alpha = np.ascontiguousarray(rgba[..., :3]), rgba[..., 3:] / 255
    found = []
    for compression in ("jpeg", "zlib", "lzw", "zstd", "webp", "jpegxl", "png", "lzma"):
        more = {"compressionargs": {"lossless": True}} if compression == "webp" else {}
        path = _tiff(folder / f"{compression}.tif", rgb, compression=compression, **more)
        kind = "jpeg" if compression == "jpeg" else "lossless"
        decoded = tifffile.imread(path, key=0) if kind == "jpeg" else rgb
        found.append(Example(f"pyramidal TIFF, {compression}", path, pixels=decoded, kind=kind))
    planes = np.ascontiguousarray(rgb.transpose(2, 0, 1))
    shown = np.rint(rgb * alpha + 255 * (1 - alpha)).astype(np.uint8)
    four, deep = np.ascontiguousarray(rgba.transpose(2, 0, 1)), rgb.astype(np.uint16) * 16
    ome = {
        "OME-TIFF, SubIFDs": (rgb, "YXS", {}),
        "OME-TIFF, PhysicalSizeX alone": (rgb, "YXS", {"scale": "X"}),
        "OME-TIFF, RGB planes apart": (planes, "SYX", {}),
        "OME-TIFF, red, green, blue as channels": (planes, "CYX", {}),
        "OME-TIFF, RGBA": (rgba, "YXS", {"extrasamples": ["unassalpha"]}),
        "OME-TIFF, 2 channels": (four[:2], "CYX", {}),
        "OME-TIFF, 4 channels": (four, "CYX", {}),
        "OME-TIFF, 16 bit": (deep, "YXS", {}),
    }
    for name, (pixels, axes, more) in ome.items():
        path = _ome(folder / f"{len(found)}.ome.tif", pixels, axes=axes, **more)
        refuse = any(word in name for word in ("2 ch", "4 ch", "16"))
        found.append(Example(name, path, pixels=shown if "RGBA" in name else rgb, refuse=refuse))
    per_um = {"resolution": (1 / MPP, 1 / MPP), "resolutionunit": 5}
    found.append(Example("TIFF, resolution in um", _tiff(folder / "um.tif", rgb, **per_um), pixels=rgb))
    found.append(Example("TIFF with masks (cloud-optimised)", _with_masks(folder / "cog.tif", rgb), pixels=rgb))
    path = folder / "imagej.tif"
    tifffile.imwrite(path, rgb, imagej=True, resolution=(1 / MPP, 1 / MPP), metadata={"unit": "micron"})
    return [*found, Example("ImageJ TIFF, unit micron", path, pixels=rgb, levels=1)]


def _dicom(path: Path, pixels: np.ndarray, *, jpeg: bool = False) -> np.ndarray:
    """One level of a series, and its pixels; `jpeg`: YCbCr with a JFIF header, though the header of DICOM says RGB."""
    import imagecodecs
    import pydicom
    from pydicom.encaps import encapsulate

    side = 240 if jpeg else TILE
    height, width = (-(-length // side) * side for length in pixels.shape[:2])
    more = [(0, height - pixels.shape[0]), (0, width - pixels.shape[1]), (0, 0)][: pixels.ndim]
    padded = np.pad(pixels, more, mode="edge")
    frames = [padded[y : y + side, x : x + side] for y in range(0, height, side) for x in range(0, width, side)]
    header, meta, measures, group = (
        pydicom.Dataset(),
        pydicom.dataset.FileMetaDataset(),
        *(pydicom.Dataset() for _ in "ab"),
    )
    header.SOPClassUID = meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.6"
    header.SOPInstanceUID = meta.MediaStorageSOPInstanceUID = f"1.2.3.{pixels.shape[1]}"
    meta.TransferSyntaxUID = pydicom.uid.JPEGBaseline8Bit if jpeg else pydicom.uid.ExplicitVRLittleEndian
    base = 2048 if jpeg else WIDTH
    measures.PixelSpacing = [MPP / 1000 * round(base / pixels.shape[1])] * 2
    group.PixelMeasuresSequence = pydicom.Sequence([measures])
    facts = {"SeriesInstanceUID": "1.2.3", "StudyInstanceUID": "1.2", "FrameOfReferenceUID": "1.2.4"}
    facts |= {"ImageType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], "Rows": side}
    facts |= {"Columns": side, "NumberOfFrames": len(frames), "SamplesPerPixel": 3 if pixels.ndim == 3 else 1}
    facts |= {"TotalPixelMatrixColumns": pixels.shape[1], "TotalPixelMatrixRows": pixels.shape[0]}
    facts |= {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelRepresentation": 0, "PlanarConfiguration": 0}
    facts |= {"DimensionOrganizationType": "TILED_FULL", "SharedFunctionalGroupsSequence": [group]}
    facts |= {"PhotometricInterpretation": "RGB" if pixels.ndim == 3 else "MONOCHROME2", "Modality": "SM"}
    lens, origin = pydicom.Dataset(), pydicom.Dataset()
    lens.OpticalPathIdentifier, lens.ObjectiveLensPower = "1", 20
    origin.XOffsetInSlideCoordinateSystem, origin.YOffsetInSlideCoordinateSystem = 0, 0
    facts |= {"OpticalPathSequence": [lens], "TotalPixelMatrixOriginSequence": [origin], "ContainerIdentifier": "S-1"}
    facts |= {
        "NumberOfOpticalPaths": 1,
        "TotalPixelMatrixFocalPlanes": 1,
        "ImageOrientationSlide": [0, -1, 0, -1, 0, 0],
    }
    facts |= {"ImagedVolumeWidth": MPP / 1000 * base, "ImagedVolumeDepth": 0.001, "SpecimenDescriptionSequence": []}
    facts |= {"ImagedVolumeHeight": MPP / 1000 * base / pixels.shape[1] * pixels.shape[0]}
    for name, value in facts.items():
        setattr(header, name, value)
    data = [imagecodecs.jpeg8_encode(frame, level=90) if jpeg else frame.tobytes() for frame in frames]
    header.PixelData = encapsulate(data) if jpeg else b"".join(data)
    header["PixelData"].is_undefined_length = jpeg
    header.file_meta = meta
    path.parent.mkdir(exist_ok=True)
    header.save_as(path, enforce_file_format=True)
    shown = [imagecodecs.jpeg8_decode(frame) for frame in data] if jpeg else frames
    across = width // side
    rows = [np.concatenate(shown[row : row + across], 1) for row in range(0, len(shown), across)]
    return np.concatenate(rows)[: pixels.shape[0], : pixels.shape[1]]


def _of_dicom(folder: Path) -> list[Example]:
    rgb = picture()[..., :3]
    grey = np.ascontiguousarray(rgb[..., 0])
    for name, pixels in (("dicom_rgb", rgb), ("dicom_grey", grey)):
        for number, level in enumerate(_levels(pixels)):
            _dicom(folder / name / f"DCM_{number}.dcm", level)
    with open_slide(Path(__file__).parents[1] / "tests" / "data" / "CMU-1-Small-Region.svs") as slide:
        tissue = slide.read((0, 0), (2048, 2400), mpp=slide.mpp)
    tissue = _dicom(folder / "dicom_jpeg" / "DCM_0.dcm", tissue, jpeg=True)
    many = np.repeat(grey[..., None], 3, -1)
    return [
        Example("DICOM pyramid, a file of it", folder / "dicom_rgb" / "DCM_0.dcm", pixels=rgb),
        Example("DICOM pyramid, its folder", folder / "dicom_rgb", pixels=rgb),
        Example("DICOM pyramid, grey, a file of it", folder / "dicom_grey" / "DCM_0.dcm", pixels=many),
        Example(
            "DICOM, YCbCr under a header of RGB",
            folder / "dicom_jpeg" / "DCM_0.dcm",
            size=(2048, 2400),
            levels=1,
            pixels=tissue,
            kind="jpeg",
        ),
    ]


def _of_zarr(folder: Path) -> list[Example]:
    import zarr

    rgb, group = picture()[..., :3], zarr.open_group(folder / "a.zarr", mode="w", zarr_format=2)
    for number, level in enumerate(_levels(rgb)):
        group.create_array(str(number), data=level.transpose(2, 0, 1), chunks=(3, TILE, TILE))
    axes = [{"name": n} | ({"type": "space", "unit": "micrometer"} if n != "c" else {}) for n in "cyx"]
    scales = [{"type": "scale", "scale": [1, MPP * 2**n, MPP * 2**n]} for n in range(3)]
    datasets = [{"path": str(n), "coordinateTransformations": [scale]} for n, scale in enumerate(scales)]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    return [Example("OME-Zarr 0.4", folder / "a.zarr", pixels=rgb)]


def _real(folder: Path) -> list[Example]:
    svs, ndpi = folder / "CMU-1-Small-Region.svs", folder / "test3-DAPI-2-387.ndpi"
    first = {path: tifffile.imread(path, key=0) for path in (svs, ndpi)}
    return [
        Example("Aperio SVS (real)", svs, (2220, 2967), 0.499, 1, first[svs], "jpeg"),
        Example("Hamamatsu NDPI (real)", ndpi, (3968, 4864), 0.2281, 7, first[ndpi], "jpeg"),
    ]


def examples(folder: Path, *, real: Path | None) -> list[Example]:
    """All files, written into a folder; the real ones from `real`, where it is given."""
    return [*_of_tiff(folder), *_of_dicom(folder), *_of_zarr(folder), *(_real(real) if real else [])]
