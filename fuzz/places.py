"""Settings, outlines and slides of every format."""

import contextlib
import io
import json
import struct
from pathlib import Path

import numpy as np
from PIL import Image

from asmil.errors import AsmilError, ScaleError
from fuzz import containers, mutations
from fuzz.base import Draw, Lost, Subject, one_of

# Settings, outlines.


def _write_yaml(folder: Path) -> None:
    text = (
        "labels: labels.csv\nfeatures: features\nmodel: asmil\nmpp: 0.5\nfolds: 4\nseeds: [0, 1]\nlearning_rate: 1e-4\n"
    )
    text += "model_options: {hidden: 64}\nstabilize: true\npositive: [tumour]\nbag: slide\nout: runs/a\n"
    (folder / "a.yaml").write_text(text)


def _read_yaml(folder: Path) -> str:
    from asmil.settings import dump_settings, load_settings

    settings = load_settings(folder / "a.yaml")
    dump_settings(settings, folder / "b.yaml")
    if load_settings(folder / "b.yaml") != settings:
        raise Lost("settings that are written and read are others")
    return "read"


def _square(x: int, y: int, side: int = 300) -> list[list[int]]:
    return [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]


def _write_geojson(folder: Path, name: str) -> None:
    def feature(kind: str, coordinates: object) -> dict:
        about = {"objectType": "annotation", "classification": {"name": name, "color": [1, 2, 3]}}
        return {"type": "Feature", "geometry": {"type": kind, "coordinates": coordinates}, "properties": about}

    features = [
        feature("Polygon", [_square(100 * i, 400 * i), _square(100 * i + 50, 400 * i + 50, 50)]) for i in range(3)
    ]
    features += [feature("MultiPolygon", [[_square(2000, 2000)], [_square(2500, 2000)]])]
    value: dict = {"type": "FeatureCollection", "features": features}
    if name == "Tissue":
        value["asmil"] = {"slide_size": [4000, 3000], "slide_mpp": 0.5, "settings": {"method": "otsu"}, "outline": "x"}
    (folder / "a.geojson").write_text(json.dumps(value))


def _write_camelyon(folder: Path) -> None:
    parts = {
        name: [{"name": f"Annotation {i}", "vertices": _square(300 * i, 300 * i + at)[:4]} for i in range(3)]
        for name, at in (("positive", 0), ("negative", 100))
    }
    (folder / "a.json").write_text(json.dumps(parts))


def _write_asap(folder: Path) -> None:
    text = '<?xml version="1.0"?>\n<ASAP_Annotations>\n<Annotations>\n'
    for i in range(3):
        text += (
            f'<Annotation Name="Annotation {i}" Type="Polygon" PartOfGroup="Tumor" Color="#F4FA58">\n<Coordinates>\n'
        )
        for order, (x, y) in enumerate(_square(300 * i, 300 * i)[:4]):
            text += f'<Coordinate Order="{order}" X="{x}.5" Y="{y}.5" />\n'
        text += "</Coordinates>\n</Annotation>\n"
    text += '</Annotations>\n<AnnotationGroups>\n<Group Name="Tumor" PartOfGroup="None" Color="#64FE2E">'
    (folder / "a.xml").write_text(text + "<Attributes />\n</Group>\n</AnnotationGroups>\n</ASAP_Annotations>\n")


def _write_imagescope(folder: Path) -> None:
    text = '<?xml version="1.0" encoding="UTF-8"?>\n<Annotations MicronsPerPixel="0.5">\n'
    text += '<Annotation Id="1" Name="tumour" LineColor="255">\n<Attributes><Attribute Name="d" Id="0" Value=""/>'
    text += "</Attributes>\n<Regions>\n"
    for i in range(3):
        text += f'<Region Id="{i}" Type="0" NegativeROA="{i // 2}" Text="">\n<Vertices>\n'
        text += "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>\n' for x, y in _square(300 * i, 300 * i)[:4])
        text += "</Vertices>\n</Region>\n"
    (folder / "a.xml").write_text(text + "</Regions>\n<Plots/>\n</Annotation>\n</Annotations>\n")


def _read_tissue(folder: Path) -> str:
    from asmil.tiles import Tissue

    tissue = Tissue.load(folder / "a.geojson", slide_size=(4000, 3000), slide_mpp=0.5)
    tissue.save(folder / "b.geojson")
    return "read" if np.isfinite(tissue.area_um2) and repr(tissue) else ""


def _read_annotations(folder: Path) -> str:
    from asmil.annotations import read_annotations

    found = read_annotations(next(folder.glob("a.*")), slide_size=(4000, 3000))
    area = found.area_of(found.classes).area
    if not all(part.is_valid for part in found.areas.values()) or not np.isfinite(area):
        raise Lost("areas that are not valid")
    found.points_of(found.classes)
    return "read"


def _write_mask(folder: Path) -> None:
    pixels = np.zeros((300, 400), np.uint8)
    pixels[50:100, 60:200] = 255
    Image.fromarray(pixels).save(folder / "a.png")


# Slides.


def _pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(90, 240, (300, 410, 3), np.uint8)


def _write_tiff(folder: Path) -> None:
    from asmil.slides import write_slide

    write_slide(folder / "a.tif", np.tile(_pixels(), (2, 2, 1)), mpp=0.5)


def _write_svs(folder: Path) -> None:
    import tifffile

    text = "Aperio Image Library v11\n410x300 [0,0 410x300] (256x256) J2K|AppMag = 20|MPP = 0.4990"
    with tifffile.TiffWriter(folder / "a.svs") as file:
        for step in (1, 2):
            part, more = _pixels()[::step, ::step], {"tile": (256, 256), "metadata": None, "compression": "deflate"}
            file.write(part, photometric="rgb", description=text, subfiletype=int(step > 1), **more)


def _write_ome_tiff(folder: Path) -> None:
    import tifffile

    about = {"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "Name": "a"}
    with tifffile.TiffWriter(folder / "a.tif", ome=True) as file:
        more = {"tile": (256, 256), "photometric": "rgb", "compression": "lzw"}
        file.write(_pixels(), subifds=1, metadata=about, **more)
        file.write(_pixels()[::2, ::2], subfiletype=1, **more)


def _write_dicom(folder: Path) -> None:
    """One level of a whole-slide image, uncompressed, which OpenSlide refuses for want of an image type."""
    import pydicom
    from pydicom.dataset import Dataset, FileMetaDataset

    meta, header = FileMetaDataset(), Dataset()
    meta.MediaStorageSOPClassUID = header.SOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.6"
    meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID = "1.2.3.4"
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    header.SeriesInstanceUID, header.Modality, header.PhotometricInterpretation = "1.2.3", "SM", "RGB"
    header.SamplesPerPixel, header.PlanarConfiguration, header.NumberOfFrames = 3, 0, 4
    header.Rows = header.Columns = 64
    header.TotalPixelMatrixColumns, header.TotalPixelMatrixRows = 120, 100
    header.BitsAllocated = header.BitsStored = 8
    header.HighBit, header.PixelRepresentation, header.DimensionOrganizationType = 7, 0, "TILED_FULL"
    measures, shared, lens = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, lens.ObjectiveLensPower = [0.0005, 0.0005], "20"
    shared.PixelMeasuresSequence = [measures]
    header.SharedFunctionalGroupsSequence, header.OpticalPathSequence = [shared], [lens]
    header.PixelData = np.random.default_rng(0).integers(0, 255, 4 * 64 * 64 * 3, np.uint8).tobytes()
    header.file_meta = meta
    buffer = io.BytesIO()
    header.save_as(buffer, enforce_file_format=True)
    (folder / "a.dcm").write_bytes(buffer.getvalue())


def _write_ome_zarr(folder: Path) -> None:
    import zarr

    group = zarr.open_group(folder / "a.zarr", mode="w", zarr_format=2)
    for level in range(2):
        part = _pixels().transpose(2, 0, 1)[:, :: 2**level, :: 2**level]
        group.create_array(str(level), data=part, chunks=(3, 128, 96))
    scale = [{"type": "scale", "scale": [1, 0.5, 0.5]}]
    axes = [{"name": "c", "type": "channel"}, *({"name": n, "type": "space", "unit": "micrometer"} for n in "yx")]
    datasets = [{"path": str(level), "coordinateTransformations": scale} for level in range(2)]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]


def _write_image(folder: Path) -> None:
    Image.fromarray(_pixels()).save(folder / "a.png")
    Image.fromarray(_pixels()).save(folder / "b.jpg")


def _read_slides(folder: Path) -> str:
    from asmil.slides import list_scenes, open_slide, scan_slides

    refused = False
    for path in scan_slides(folder):
        try:
            list_scenes(path)
            with open_slide(path, mpp=0.5) as slide:
                slide.thumbnail(max_px=256)
                for corner in ((0, 0), (slide.size[0] // 2, slide.size[1] // 2), slide.size, (-30, -30)):
                    if slide.read(corner, 100, mpp=slide.mpp).shape != (100, 100, 3):
                        raise Lost("pixels")
            with contextlib.suppress(ScaleError):
                open_slide(path).close()
        except AsmilError:
            refused = True
    return "refused" if refused else "read"


def _bytes_4(path: Path, draw: Draw) -> None:
    if draw.random() < 0.2:
        struct.pack_into("<I", data := bytearray(path.read_bytes()), 16, draw.choice(mutations.NUMBERS) % 2**32)
        path.write_bytes(bytes(data))
    else:
        mutations.file_damaged(path, draw)


def _xml(path: Path, draw: Draw) -> None:
    mutations.text_damaged(path, draw, mutations.XML)


def _yaml(path: Path, draw: Draw) -> None:
    mutations.text_damaged(path, draw, mutations.YAML)


JSON = mutations.json_damaged
PLACES = {
    "settings yaml": Subject(_write_yaml, one_of(_yaml), _read_yaml),
    "tissue geojson": Subject(lambda folder: _write_geojson(folder, "Tissue"), one_of(JSON), _read_tissue),
    "annotations geojson": Subject(lambda folder: _write_geojson(folder, "tumour"), one_of(JSON), _read_annotations),
    "annotations camelyon": Subject(_write_camelyon, one_of(JSON), _read_annotations),
    "annotations asap": Subject(_write_asap, one_of(_xml), _read_annotations),
    "annotations imagescope": Subject(_write_imagescope, one_of(_xml), _read_annotations),
    "annotations mask": Subject(_write_mask, one_of(_bytes_4), _read_annotations),
    "slide tiff": Subject(_write_tiff, one_of(containers.tiff_damaged), _read_slides),
    "slide svs": Subject(_write_svs, one_of(containers.tiff_damaged), _read_slides),
    "slide ome-tiff": Subject(_write_ome_tiff, one_of(containers.tiff_damaged), _read_slides),
    "slide dicom": Subject(_write_dicom, one_of(containers.dicom_damaged), _read_slides),
    "slide ome-zarr": Subject(_write_ome_zarr, one_of(containers.zarr_damaged, "*.zarr"), _read_slides),
    "slide image": Subject(_write_image, one_of(_bytes_4), _read_slides),
}
