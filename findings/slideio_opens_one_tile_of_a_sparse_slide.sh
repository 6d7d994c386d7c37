#!/usr/bin/env bash
# What: slideio opens a DICOM slide whose tiles say their own places (TILED_SPARSE) as a picture of one tile: the first that is stored. Of none of these slides, nor of TILED_FULL, it knows the pixel size.
# Versions: slideio 2.10.0, pydicom 3.0.2, openslide-bin 4.0.1.2. Seen 2026-12-01.
# Why it matters: the slide becomes a bag of one tile, and no error says so. Sparse is what scanners write that leave out glass.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'slideio==2.10.0' 'pydicom==3.0.2' 'openslide-python==1.4.7' 'openslide-bin==4.0.1.2' 'highdicom==0.28.2' 'numpy==2.4.6'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata
import warnings

import highdicom
import numpy as np
import openslide
import slideio
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, VLWholeSlideMicroscopyImageStorage, generate_uid

warnings.filterwarnings("ignore")
print(*(f"{name} {importlib.metadata.version(name)}" for name in ("slideio", "openslide-bin", "highdicom", "pydicom")))
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


print(f"expected: {WIDTH} x {HEIGHT} px and .5 um per pixel for both")
size, spacing = {}, {}
for kind in ("TILED_FULL", "TILED_SPARSE"):
    write(f"{kind}.dcm", kind)
    whole = np.asarray(openslide.OpenSlide(f"{kind}.dcm").read_region((0, 0), 0, (WIDTH, HEIGHT)))[..., :3]
    assert np.array_equal(whole, picture)
    assert np.array_equal(highdicom.imread(f"{kind}.dcm").get_total_pixel_matrix(), picture)
    slide = slideio.open_slide(f"{kind}.dcm", "DCM")
    scene = slide.get_scene(0)
    size[kind], spacing[kind] = tuple(scene.size), tuple(scene.resolution)
    print(f"seen:     {kind:12s} OpenSlide and highdicom right; slideio {slide.num_scenes} scene of {size[kind]}, {scene.num_z_slices} plane, pixel size {spacing[kind]}")
stated = size == {"TILED_FULL": (WIDTH, HEIGHT), "TILED_SPARSE": (TILE, TILE)} and set(spacing.values()) == {(0.0, 0.0)}
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
