#!/usr/bin/env bash
# What: ngff-zarr, converting an OME-TIFF, takes the last three of a colour's four bytes: red, green, blue, opacity become green, blue, opacity. Nuclei in blue are cyan, what is red is blue, what is green or yellow is magenta, and white is white. ome-types reads the colours as they were meant.
# Versions: ngff-zarr 0.50.0, against ome-types 0.6.3; file by tifffile 2025.5.10. Seen 2026-12-01.
# Why it matters: an overlay of markers is read by its colours: T cells (red) are shown in the colour that nuclei have everywhere else. The pixels and the channels' names are right.
# Source: the colour in OME-XML is a signed number of 32 bits with red in the highest byte, and opacity in the lowest.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'ngff-zarr[cli]==0.50.0' 'tifffile==2025.5.10' 'ome-types==0.6.3' 'numpy==2.4.6'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata
import json
import subprocess

import numpy as np
import tifffile
from ome_types import from_tiff

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("ngff-zarr", "ome-types", "tifffile")))
COLOURS = {"DAPI": (0, 0, 255), "CD3": (255, 0, 0), "CK": (0, 255, 0), "CD20": (255, 255, 0), "PD-L1": (255, 255, 255)}
numbers = [int.from_bytes(bytes((*colour, 255)), "big", signed=True) for colour in COLOURS.values()]
random = np.random.default_rng(0)
tifffile.imwrite("slide.ome.tif", random.integers(0, 4096, (5, 512, 512), dtype=np.uint16), tile=(256, 256), photometric="minisblack", metadata={"axes": "CYX", "PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.5, "PhysicalSizeYUnit": "µm", "Channel": {"Name": list(COLOURS), "Color": numbers}})
subprocess.run(["venv/bin/ngff-zarr", "-i", "slide.ome.tif", "-o", "slide.ome.zarr"], check=True, capture_output=True)
attributes = json.load(open("slide.ome.zarr/zarr.json"))["attributes"]
written = {channel["label"]: channel["color"] for channel in attributes.get("ome", attributes)["omero"]["channels"]}
meant = {channel.name: channel.color.as_rgb_tuple(alpha=False) for channel in from_tiff("slide.ome.tif").images[0].pixels.channels}
print("expected: the colours of the OME-TIFF, " + ", ".join(f"{name} {''.join(f'{value:02X}' for value in colour)}" for name, colour in COLOURS.items()))
print("seen:     ome-types ", ", ".join(f"{name} {''.join(f'{value:02X}' for value in colour)}" for name, colour in meant.items()))
print("seen:     ngff-zarr ", ", ".join(f"{name} {colour}" for name, colour in written.items()))
stated = meant == COLOURS and written == {name: f"{green:02X}{blue:02X}FF" for name, (red, green, blue) in COLOURS.items()}
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
