#!/usr/bin/env bash
# What: a DICOM slide with the colour profile of its scanner comes corrected to sRGB from highdicom, unless it is told not to, and as stored from OpenSlide, wsidicom, slideio and fastslide.
# Versions: highdicom 0.28.2, openslide-bin 4.0.1.2, wsidicom 0.36.1, slideio 2.10.0, fastslide 0.8.1. Seen 2026-12-01.
# Why it matters: every DICOM slide in colour has to have a profile, so the reader decides the colours of the whole cohort, and encoders were trained on what OpenSlide gives.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'highdicom==0.28.2' 'pydicom==3.0.2' 'pillow==13.0.0' 'openslide-python==1.4.7' 'openslide-bin==4.0.1.2' 'wsidicom==0.36.1' 'slideio==2.10.0' 'fastslide==0.8.1' 'numpy==2.4.6'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata
import os
import struct
import warnings

import fastslide
import highdicom
import numpy as np
import openslide
import slideio
from PIL import ImageCms
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, VLWholeSlideMicroscopyImageStorage, generate_uid
from wsidicom import WsiDicom

warnings.filterwarnings("ignore")
print(*(f"{name} {importlib.metadata.version(name)}" for name in ("highdicom", "openslide-bin", "wsidicom", "slideio", "fastslide")))
TILE, WIDTH, HEIGHT, MM = 256, 512, 512, 0.0005
places = [(y, x) for y in range(0, HEIGHT, TILE) for x in range(0, WIDTH, TILE)]
picture = np.clip(np.array([222, 140, 190]) + np.random.default_rng(0).normal(0, 20, (HEIGHT, WIDTH, 3)), 0, 255).astype(np.uint8)


def profile(gamma):
    """The profile of sRGB with another gamma, 2.4 being its own."""
    found = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for tag in range(struct.unpack(">I", found[128:132])[0]):
        name, start, _ = struct.unpack(">4sII", found[132 + 12 * tag : 144 + 12 * tag])
        if name in (b"rTRC", b"gTRC", b"bTRC"):
            found[start + 12 : start + 16] = struct.pack(">i", round(gamma * 65536))
    return bytes(found) + b"\0" * (len(found) % 2)


def part(**facts):
    found = Dataset()
    for name, value in facts.items():
        setattr(found, name, Sequence(value) if name.endswith("Sequence") else value)
    return found


def code(value, scheme, meaning):
    return part(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def write(name, profile):
    meta, slide, order = FileMetaDataset(), Dataset(), generate_uid()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = VLWholeSlideMicroscopyImageStorage, generate_uid()
    meta.TransferSyntaxUID, slide.file_meta = ExplicitVRLittleEndian, meta
    facts = {"SOPClassUID": meta.MediaStorageSOPClassUID, "SOPInstanceUID": meta.MediaStorageSOPInstanceUID, "StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid(), "FrameOfReferenceUID": generate_uid()}
    facts |= {"PatientID": "1", "PatientName": "A", "PatientBirthDate": "", "PatientSex": "", "StudyDate": "20260101", "StudyTime": "000000", "ContentDate": "20260101", "ContentTime": "000000", "AcquisitionDateTime": "20260101000000", "AccessionNumber": "", "StudyID": "", "ReferringPhysicianName": "", "SeriesNumber": 1, "InstanceNumber": 1}
    facts |= {"Modality": "SM", "Manufacturer": "none", "ManufacturerModelName": "none", "DeviceSerialNumber": "1", "SoftwareVersions": "1", "ImageType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], "PositionReferenceIndicator": "SLIDE_CORNER"}
    facts |= {"Rows": TILE, "Columns": TILE, "NumberOfFrames": len(places), "SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0, "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelRepresentation": 0, "LossyImageCompression": "00", "BurnedInAnnotation": "NO"}
    facts |= {"TotalPixelMatrixColumns": WIDTH, "TotalPixelMatrixRows": HEIGHT, "TotalPixelMatrixFocalPlanes": 1, "NumberOfOpticalPaths": 1, "ImagedVolumeWidth": WIDTH * MM, "ImagedVolumeHeight": HEIGHT * MM, "ImagedVolumeDepth": 0.005}
    facts |= {"ImageOrientationSlide": [0.0, -1.0, 0.0, -1.0, 0.0, 0.0], "VolumetricProperties": "VOLUME", "FocusMethod": "AUTO", "ExtendedDepthOfField": "NO", "SpecimenLabelInImage": "NO", "ContainerIdentifier": "1", "DimensionOrganizationType": "TILED_FULL"}
    facts |= {"TotalPixelMatrixOriginSequence": [part(XOffsetInSlideCoordinateSystem=20.0, YOffsetInSlideCoordinateSystem=40.0)], "IssuerOfTheContainerIdentifierSequence": [], "AcquisitionContextSequence": [], "ContainerTypeCodeSequence": [code("433466003", "SCT", "Microscope slide")]}
    facts |= {"SpecimenDescriptionSequence": [part(SpecimenIdentifier="1", SpecimenUID=generate_uid(), IssuerOfTheSpecimenIdentifierSequence=[], SpecimenPreparationSequence=[])]}
    facts |= {"OpticalPathSequence": [part(OpticalPathIdentifier="1", IlluminationTypeCodeSequence=[code("111744", "DCM", "Brightfield illumination")], IlluminationColorCodeSequence=[code("11744", "DCM", "Full Spectrum")], ICCProfile=profile)]}
    facts |= {"DimensionOrganizationSequence": [part(DimensionOrganizationUID=order)], "DimensionIndexSequence": [part(DimensionOrganizationUID=order, DimensionIndexPointer=tag, FunctionalGroupPointer=0x0048021A) for tag in (0x0048021E, 0x0048021F)]}
    facts |= {"SharedFunctionalGroupsSequence": [part(PixelMeasuresSequence=[part(PixelSpacing=[MM, MM], SliceThickness=0.005)], WholeSlideMicroscopyImageFrameTypeSequence=[part(FrameType=facts["ImageType"])], OpticalPathIdentificationSequence=[part(OpticalPathIdentifier="1")])]}
    facts["PixelData"] = b"".join(picture[y : y + TILE, x : x + TILE].tobytes() for y, x in places)
    for key, value in part(**facts).items():
        slide[key] = value
    slide.save_as(name, enforce_file_format=True)


def by_wsidicom(name):
    with WsiDicom.open(os.path.dirname(name)) as slide:
        return slide.read_region((0, 0), 0, (WIDTH, HEIGHT))


readers = {
    "highdicom": lambda name: highdicom.imread(name).get_total_pixel_matrix(),
    "highdicom, apply_icc_profile=False": lambda name: highdicom.imread(name).get_total_pixel_matrix(apply_icc_profile=False),
    "OpenSlide": lambda name: openslide.OpenSlide(name).read_region((0, 0), 0, (WIDTH, HEIGHT)),
    "wsidicom": by_wsidicom,
    "slideio": lambda name: slideio.open_slide(name, "DCM").get_scene(0).read_block(),
    "fastslide": lambda name: fastslide.FastSlide.from_file_path(name).read_region((0, 0), 0, (WIDTH, HEIGHT)).numpy(),
}
print("expected: one picture by all readers")
seen = {}
for gamma in (2.4, 1.8):
    os.mkdir(str(gamma))
    write(f"{gamma}/slide.dcm", profile(gamma))
    for reader, read in readers.items():
        found = np.asarray(read(f"{gamma}/slide.dcm"))[..., :3]
        apart = np.abs(found.astype(int) - picture)
        seen[gamma, reader] = float(apart.mean())
        print(f"seen:     profile of gamma {gamma}, {reader:34s} {apart.mean():4.1f} grey levels from what is stored, at most {apart.max()}; mean colour {found.mean((0, 1)).round().astype(int)}")
stated = all(apart == 0 for (gamma, reader), apart in seen.items() if reader != "highdicom") and seen[2.4, "highdicom"] < 1 and seen[1.8, "highdicom"] > 10
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
