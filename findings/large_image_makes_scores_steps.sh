#!/usr/bin/env bash
# What: large_image_converter stores maps in single precision as whole numbers, by a factor that goes by their lowest and highest value: 65535 up to 1, and 1 beyond. A map of 0 to 1 has a level for each value, one of 0 to 1.0001 two levels in 8 bits, logits of -3 to 3 seven.
# Versions: large-image-converter 1.35.6 with pyvips 3.2.0. Seen 2026-12-01.
# Why it matters: heat maps are made into pyramids for a viewer. Whether anything is left of them is decided by one tile, slide by slide, without a word; the factor is not in the file. `keepFloat=True` keeps all.
# Source: _output_type in large_image_converter/__init__.py. The documentation names keepFloat and not what is done without it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'large-image==1.35.6' 'large-image-converter==1.35.6' 'large-image-source-tiff==1.35.6' 'pyvips==3.2.0' 'pyvips-binary==8.18.7' 'tifffile==2026.3.3' 'imagecodecs==2026.3.6' 'numpy==2.4.6'
cd "$folder"
venv/bin/python - 2> log <<'PYTHON' | grep -v COLORMAP || (tail -3 log; exit 1)
import importlib.metadata

import large_image_converter
import numpy as np
import tifffile

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("large-image-converter", "large-image", "pyvips-binary")))


def levels(name, scores, **how):
    tifffile.imwrite(f"{name}.tif", scores, tile=(256, 256), metadata=None)
    large_image_converter.convert(f"{name}.tif", f"{name}_converted.tiff", **how)
    page = tifffile.TiffFile(f"{name}_converted.tiff").pages[0]
    return page.asarray()


print("expected: 4,096 different scores are 4,096 levels, or nearly so, and the same factor for all slides")
seen = {}
ramp = np.linspace(0, 1, 4096, dtype=np.float32).reshape(4, 1024).repeat(64, 0)
for number, (name, low, high, how) in enumerate((("probability", 0, 1, {}), ("the same, 1.0001 at one end", 0, 1.0001, {}), ("attention", 0, 0.0030, {}), ("attention of another slide", 0, 0.0041, {}), ("logit", -3, 3, {}), ("logit, keepFloat", -3, 3, {"keepFloat": True}), ("contribution", -1, 1, {}), ("the same, -1.0001 at one end", -1.0001, 1, {}))):
    scores = (np.float32(low) + ramp * np.float32(high - low)).astype(np.float32)
    stored = levels(f"map{number}", scores, **how)
    seen[name] = len(np.unique(stored)), round((float(stored.max()) - float(stored.min())) / (high - low))
    print(f"seen:     {name:28s} {low} to {high}: {seen[name][0]:4d} levels of {stored.dtype}, {float(stored.min()):g} to {float(stored.max()):g}, factor {seen[name][1]}")
stated = seen["probability"] == (4096, 65535) and seen["the same, 1.0001 at one end"][0] == 2 and seen["logit"][0] == 7 and seen["logit, keepFloat"] == (4096, 1) and seen["the same, -1.0001 at one end"][0] <= 4
stated = stated and seen["contribution"][0] > 4000 and seen["attention"][1] > 100 * seen["attention of another slide"][1]
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
