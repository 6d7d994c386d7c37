#!/usr/bin/env bash
# What: dicomslide, asked for the regions of chosen tiles of a DICOM slide (`TotalPixelMatrixSampler(..., tile_grid_positions=...)`), gives for each tile also the one diagonally below it to the right. That of the last tile is black; that of a tile in the last column or row is an error. Of regions half as wide as a tile it gives one of the four that lie in it, and one of another tile. They are sorted by place, whatever order was asked for.
# Versions: dicomslide 0.7.2 with dicomweb-client 0.61.2, highdicom 0.28.2, pydicom 3.0.2. Seen 2026-12-01.
# Why it matters: it is the way to read the tiles of a tissue mask. A bag is up to twice as large, has glass and black, and its rows are not those of the mask.
# Source: dicomslide/matrix.py takes the first region of a tile and the one behind its last as two places, and nothing between them; a bounding box, a few lines above, is filled. Not reported that we found.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'dicomslide==0.7.2' 'dicomweb-client==0.61.2' 'highdicom==0.28.2' 'pydicom==3.0.2' 'numpy==2.4.6' 'scipy==1.17.1'
cd "$folder"
venv/bin/python - <<'PYTHON'
import logging
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
from dicomslide import find_slides
from dicomslide.matrix import TotalPixelMatrixSampler
from dicomweb_client import DICOMfileClient
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, VLWholeSlideMicroscopyImageStorage, generate_uid

warnings.filterwarnings("ignore")
logging.disable(logging.CRITICAL)
print(*(f"{name} {version(name)}" for name in ("dicomslide", "dicomweb-client", "highdicom", "pydicom")))
TILE, WIDTH, HEIGHT, MM = 256, 1280, 768, 0.0005
columns, rows = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
picture = np.stack([columns // 5, rows // 3, np.full_like(rows, 120)], -1).astype(np.uint8)
places = [(y, x) for y in range(0, HEIGHT, TILE) for x in range(0, WIDTH, TILE)]


def part(**facts):
    found = Dataset()
    for name, value in facts.items():
        setattr(found, name, Sequence(value) if name.endswith("Sequence") else value)
    return found


def code(value, scheme, meaning):
    return part(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def write(name, kind):
    meta, slide, order = FileMetaDataset(), Dataset(), generate_uid()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = VLWholeSlideMicroscopyImageStorage, generate_uid()
    meta.TransferSyntaxUID, slide.file_meta = ExplicitVRLittleEndian, meta
    facts = {"SOPClassUID": meta.MediaStorageSOPClassUID, "SOPInstanceUID": meta.MediaStorageSOPInstanceUID, "StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid(), "FrameOfReferenceUID": generate_uid()}
    facts |= {"PatientID": "1", "PatientName": "A", "PatientBirthDate": "", "PatientSex": "", "StudyDate": "20260101", "StudyTime": "000000", "ContentDate": "20260101", "ContentTime": "000000", "AcquisitionDateTime": "20260101000000", "AccessionNumber": "", "StudyID": "", "ReferringPhysicianName": "", "SeriesNumber": 1, "InstanceNumber": 1}
    facts |= {"Modality": "SM", "Manufacturer": "none", "ManufacturerModelName": "none", "DeviceSerialNumber": "1", "SoftwareVersions": "1", "ImageType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], "PositionReferenceIndicator": "SLIDE_CORNER"}
    facts |= {"Rows": TILE, "Columns": TILE, "NumberOfFrames": len(places), "SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0, "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelRepresentation": 0, "LossyImageCompression": "00", "BurnedInAnnotation": "NO"}
    facts |= {"TotalPixelMatrixColumns": WIDTH, "TotalPixelMatrixRows": HEIGHT, "TotalPixelMatrixFocalPlanes": 1, "NumberOfOpticalPaths": 1, "ImagedVolumeWidth": WIDTH * MM, "ImagedVolumeHeight": HEIGHT * MM, "ImagedVolumeDepth": 0.005}
    facts |= {"ImageOrientationSlide": [0.0, -1.0, 0.0, -1.0, 0.0, 0.0], "VolumetricProperties": "VOLUME", "FocusMethod": "AUTO", "ExtendedDepthOfField": "NO", "SpecimenLabelInImage": "NO", "ContainerIdentifier": "1", "DimensionOrganizationType": kind}
    facts |= {"TotalPixelMatrixOriginSequence": [part(XOffsetInSlideCoordinateSystem=20.0, YOffsetInSlideCoordinateSystem=40.0)], "IssuerOfTheContainerIdentifierSequence": [], "AcquisitionContextSequence": [], "ContainerTypeCodeSequence": [code("433466003", "SCT", "Microscope slide")]}
    facts |= {"SpecimenDescriptionSequence": [part(SpecimenIdentifier="1", SpecimenUID=generate_uid(), IssuerOfTheSpecimenIdentifierSequence=[], SpecimenPreparationSequence=[])]}
    facts |= {"OpticalPathSequence": [part(OpticalPathIdentifier="1", IlluminationTypeCodeSequence=[code("111744", "DCM", "Brightfield illumination")], IlluminationColorCodeSequence=[code("11744", "DCM", "Full Spectrum")])]}
    facts |= {"DimensionOrganizationSequence": [part(DimensionOrganizationUID=order)], "DimensionIndexSequence": [part(DimensionOrganizationUID=order, DimensionIndexPointer=tag, FunctionalGroupPointer=0x0048021A) for tag in (0x0048021E, 0x0048021F)]}
    facts |= {"SharedFunctionalGroupsSequence": [part(PixelMeasuresSequence=[part(PixelSpacing=[MM, MM], SliceThickness=0.005)], WholeSlideMicroscopyImageFrameTypeSequence=[part(FrameType=facts["ImageType"])], OpticalPathIdentificationSequence=[part(OpticalPathIdentifier="1")])]}
    if kind == "TILED_SPARSE":
        facts["PerFrameFunctionalGroupsSequence"] = [
            part(
                PlanePositionSlideSequence=[part(ColumnPositionInTotalImagePixelMatrix=x + 1, RowPositionInTotalImagePixelMatrix=y + 1, XOffsetInSlideCoordinateSystem=20 - y * MM, YOffsetInSlideCoordinateSystem=40 - x * MM, ZOffsetInSlideCoordinateSystem=0.0)],
                FrameContentSequence=[part(DimensionIndexValues=[x // TILE + 1, y // TILE + 1])],
            )
            for y, x in places
        ]
    facts["PixelData"] = b"".join(picture[y : y + TILE, x : x + TILE].tobytes() for y, x in places)
    for key, value in part(**facts).items():
        slide[key] = value
    slide.save_as(name, enforce_file_format=True)


Path("slides").mkdir()
write("slides/slide.dcm", "TILED_FULL")
client = DICOMfileClient(url=Path("slides").absolute().as_uri(), in_memory=True, update_db=True)
matrix = find_slides(client)[0].get_volume_images(channel_index=0, focal_plane_index=0)[0].get_total_pixel_matrix()
assert np.array_equal(matrix[:, :, :], picture)


def sampled(side, **where):
    sampler = TotalPixelMatrixSampler(matrix, (side, side), **where)
    found = {}
    for number in range(len(sampler)):
        row, column = sampler.get_region_grid_position(number)
        try:
            region = sampler[number]
        except ValueError:
            found[row, column] = "error"
        else:
            right = picture[row * side : (row + 1) * side, column * side : (column + 1) * side]
            found[row, column] = "right" if np.array_equal(region, right) else "black" if not region.any() else "wrong"
    return found


seen = {}
for side, wanted in ((TILE, [(0, 0)]), (TILE, [(1, 2), (0, 1)]), (TILE, [(0, 4)]), (TILE, [(2, 4)]), (TILE // 2, [(1, 1)])):
    parts = TILE // side
    due = [(row * parts + i, column * parts + j) for row, column in wanted for i in range(parts) for j in range(parts)]
    seen[side, tuple(wanted)] = sampled(side, tile_grid_positions=wanted)
    print(f"expected: regions of {side} px in the tiles {wanted} of 256 px: {due}")
    print(f"seen:     {seen[side, tuple(wanted)]}")
box = sampled(TILE, bounding_box=((TILE, 2 * TILE), (TILE, TILE)))
print(f"seen:     the place of the tile (1, 2) as a bounding box: {box}")
stated = list(seen.values()) == [
    {(0, 0): "right", (1, 1): "right"},
    {(0, 1): "right", (1, 2): "right", (2, 3): "right"},
    {(0, 4): "right", (1, 5): "error"},
    {(2, 4): "right", (3, 5): "black"},
    {(2, 2): "right", (4, 4): "right"},
]
raise SystemExit(0 if stated and box == {(1, 2): "right"} else "no longer as stated")
PYTHON
