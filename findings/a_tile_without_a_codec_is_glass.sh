#!/usr/bin/env bash
# What: tiles that the software cannot decode are read without an exception: as white glass by fastslide (an Aperio slide, not compressed or in WebP), as black by libvips (Zstandard).
# Versions: fastslide 0.8.1, pyvips-binary 8.18.7, openslide-bin 4.0.1.2, tifffile 2026.3.3. Seen 2026-12-01.
# Why it matters: white is what a tissue mask leaves out, so the slide becomes an empty or small bag, or one whose features are of glass; only lines on standard error say so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'fastslide==0.8.1' 'pyvips[binary]==3.2.0' 'pyvips-binary==8.18.7' 'openslide-python==1.4.7' 'openslide-bin==4.0.1.2' 'tifffile==2026.3.3' 'imagecodecs==2026.3.6' 'numpy==2.4.6'
cd "$folder"
venv/bin/python - 2> said <<'PYTHON' || { cat said >&2; exit 1; }
import importlib.metadata

import fastslide
import numpy as np
import openslide
import pyvips
import tifffile

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("openslide-bin", "fastslide", "pyvips-binary", "tifffile")))
picture = np.random.default_rng(0).integers(80, 200, (512, 512, 3)).astype(np.uint8)
aperio = "Aperio Image Library v10|AppMag = 20|MPP = 0.5"
files = {
    "aperio, not compressed": ("plain.svs", aperio, {}),
    "aperio, WebP": ("webp.svs", aperio, {"compression": "webp", "compressionargs": {"lossless": True}}),
    "tiff, not compressed": ("plain.tif", None, {}),
    "tiff, Zstandard": ("zstd.tif", None, {"compression": "zstd"}),
}
readers = {
    "OpenSlide": lambda path: np.asarray(openslide.OpenSlide(path).read_region((0, 0), 0, (512, 512)))[..., :3],
    "fastslide": lambda path: fastslide.FastSlide.from_file_path(path).read_region((0, 0), 0, (512, 512)).numpy()[..., :3],
    "libvips": lambda path: pyvips.Image.tiffload(path).numpy()[..., :3],
}
print("expected: the pixels, or an exception")
seen = {}
for kind, (path, description, how) in files.items():
    tifffile.imwrite(path, picture, tile=(256, 256), photometric="rgb", description=description, metadata=None, **how)
    for reader, read in readers.items():
        try:
            found = read(path)
        except Exception as error:
            seen[path, reader] = f"exception, {type(error).__name__}"
        else:
            flat = found.reshape(-1, 3)
            seen[path, reader] = "right" if np.array_equal(found, picture) else f"all {flat[0].tolist()}" if (flat == flat[0]).all() else "other pixels"
        print(f"seen:     {kind:22s} {reader:9s} {seen[path, reader]}")
white, black = "all [255, 255, 255]", "all [0, 0, 0]"
stated = seen["plain.svs", "fastslide"] == seen["webp.svs", "fastslide"] == white and seen["plain.tif", "fastslide"].startswith("exception")
stated &= seen["zstd.tif", "libvips"] == black and seen["plain.svs", "OpenSlide"] == "right"
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
grep -om1 'Failed to read/decode tile' said | sed 's/^/said on standard error: /'
