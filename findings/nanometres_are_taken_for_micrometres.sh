#!/usr/bin/env bash
# What: fastslide and tiatoolbox read the number of PhysicalSizeX and not its unit: an OME-TIFF of 250 nm per pixel has an mpp of 250, one of .00025 mm an mpp of .00025.
# Versions: fastslide 0.8.1, tiatoolbox 2.1.3, tifffile 2026.2.24. Seen 2026-12-01.
# Why it matters: both call the number micrometres per pixel, and tiles are cut by it: a thousand times too small or too large. All of the schema's units are valid, and software other than Bio-Formats writes nm and mm.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'tiatoolbox==2.1.3' 'torch==2.12.1' 'fastslide==0.8.1' 'openslide-bin==4.0.1.1' 'tifffile==2026.2.24' 'imagecodecs==2026.1.14'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata
import logging
import warnings
import xml.etree.ElementTree as ElementTree

import fastslide
import numpy as np
import tifffile
from tiatoolbox.wsicore.wsireader import WSIReader

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
print(*(f"{name} {importlib.metadata.version(name)}" for name in ("fastslide", "tiatoolbox", "tifffile")))
picture = np.random.default_rng(0).integers(0, 255, (512, 512, 3)).astype(np.uint8)
print("expected: .25 um per pixel for each of the files, or none where the unit is not understood")
wrong = 0
for value, unit in ((0.25, "µm"), (250.0, "nm"), (0.00025, "mm")):
    size = {"PhysicalSizeX": value, "PhysicalSizeY": value, "PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit}
    with tifffile.TiffWriter("slide.ome.tif") as file:
        file.write(picture, tile=(256, 256), photometric="rgb", metadata={"axes": "YXS", **size})
    with tifffile.TiffFile("slide.ome.tif") as file:
        pixels = next(part for part in ElementTree.fromstring(file.ome_metadata).iter() if part.tag.endswith("Pixels"))
    by_fastslide = fastslide.FastSlide.from_file_path("slide.ome.tif").mpp[0]
    by_tiatoolbox = WSIReader.open("slide.ome.tif").info.mpp[0]
    print(f"seen:     {pixels.get('PhysicalSizeX'):>7} {pixels.get('PhysicalSizeXUnit')} in the file: mpp {by_fastslide:g} by fastslide, {by_tiatoolbox:g} by tiatoolbox")
    wrong += (unit == "µm") == (by_fastslide == by_tiatoolbox == 0.25) and by_fastslide == by_tiatoolbox == value
raise SystemExit(0 if wrong == 3 else "no longer as stated")
PYTHON
