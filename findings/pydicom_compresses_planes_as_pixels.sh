#!/usr/bin/env bash
# What: pydicom's `compress`, called on a colour picture whose values are stored plane by plane (PlanarConfiguration 1), takes the bytes for pixels. By RLE the picture is destroyed; by JPEG 2000 pydicom undoes it when it reads, and whoever takes the picture as the codec gives it (imagecodecs here) has another one. Given the array the JPEG 2000 file is right, and pydicom's own reader destroys it. JPEG-LS is right.
# Versions: pydicom 3.0.2, pylibjpeg-openjpeg 2.6.0, pyjpegls 1.5.1; read again by imagecodecs 2026.3.6. Seen 2026-12-01.
# Why it matters: "lossless" archives of pictures that came plane by plane (gross photographs, exports, what a converter unpacked from RLE). The documentation asks for PlanarConfiguration to be there, not for a value, and what pydicom reads back looks right for JPEG 2000. Set it to 0 with `set_pixel_data` first.
# Source: pydicom/pixels/encoders/base.py turns the planes for JPEG-LS only, and only for arrays.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'pydicom==3.0.2' 'pylibjpeg==2.1.0' 'pylibjpeg-openjpeg==2.6.0' 'pyjpegls==1.5.1' 'imagecodecs==2026.3.6' 'numpy==2.4.6'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata
import struct

import imagecodecs
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import generate_frames
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless, generate_uid

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("pydicom", "pylibjpeg-openjpeg", "pyjpegls", "imagecodecs")))
row, column = np.mgrid[:64, :64]
tissue = np.stack([200 + 30 * np.sin(column / 9), 140 + 40 * np.sin(row / 7), 190 + 25 * np.cos(row / 5)], -1).astype(np.uint8)


def picture(planes):
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.77.1.4", generate_uid()
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 64, 64, 3, "RGB"
    dataset.PlanarConfiguration, dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = int(planes), 8, 8, 7, 0
    dataset.PixelData = (tissue.transpose(2, 0, 1) if planes else tissue).tobytes()
    assert (dataset.pixel_array == tissue).all()
    return dataset


def unpack(segment):  # PackBits, as DICOM's RLE has it
    out, at = bytearray(), 0
    while at < len(segment) and len(out) < 64 * 64:
        count = segment[at] if segment[at] < 128 else segment[at] - 256
        if count >= 0:
            out += segment[at + 1 : at + 2 + count]
            at += 2 + count
        else:
            out += segment[at + 1 : at + 2] * (1 - count) if count != -128 else b""
            at += 2
    return out


def another_reader(syntax, frame):
    if syntax == RLELossless:
        starts = struct.unpack("<16L", frame[:64])[1:4] + (len(frame),)
        return np.stack([np.frombuffer(unpack(frame[a:b]), np.uint8).reshape(64, 64) for a, b in zip(starts, starts[1:])], -1)
    read = imagecodecs.jpeg2k_decode(frame) if syntax == JPEG2000Lossless else imagecodecs.jpegls_decode(frame)
    return read if read.shape[-1] == 3 else np.moveaxis(read, 0, -1)


def off(read):
    return int(np.abs(read.astype(int) - tissue).max())


print("expected: no difference, by pydicom and by another reader")
seen = {}
for syntax, name in ((RLELossless, "RLE"), (JPEG2000Lossless, "JPEG 2000"), (JPEGLSLossless, "JPEG-LS")):
    for planes in (False, True):
        for given in (False, True):
            dataset = picture(planes)
            dataset.compress(syntax, dataset.pixel_array if given else None, generate_instance_uid=False)
            frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
            seen[name, planes, given] = off(dataset.pixel_array), off(another_reader(syntax, frame))
            print(f"seen:     {name:9s} {'plane by plane' if planes else 'pixel by pixel'}, {'array given' if given else 'as stored  '}: pydicom {seen[name, planes, given][0]:3d}, another reader {seen[name, planes, given][1]:3d} grey levels off")
wrong = {("RLE", True, False): (129, 129), ("JPEG 2000", True, False): (0, 129), ("JPEG 2000", True, True): (129, 0)}
stated = all((case in wrong and all((a > 50) == (b > 50) for a, b in zip(found, wrong[case]))) or (case not in wrong and found == (0, 0)) for case, found in seen.items())
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
