#!/usr/bin/env bash
# What: SimpleITK and ITK read a TIFF with n numbers per pixel that are no colours as a grey picture of the right width: each row holds the numbers of its left n-th pixels, one after the other, and the rest of the slide is left out. No message. tifffile and libvips read all.
# Versions: SimpleITK 2.5.7, itk-io 5.4.7, against tifffile 2026.3.3, libvips 8.18.7 (pyvips 3.2.0). Seen 2026-12-01.
# Why it matters: maps of two classes, of several heads, and markers are stored so. The answer has the size of one map, and a focus in the right half is not in it; one in the left half lies at twice its distance from the edge.
# Source: https://github.com/InsightSoftwareConsortium/ITK/pull/6636 of July 2026 changes the lines that copy a grey row; it is not in these releases.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'SimpleITK==2.5.7' 'itk-io==5.4.7' 'tifffile==2026.3.3' 'pyvips==3.2.0' 'pyvips-binary==8.18.7' 'numpy==2.4.6'
cd "$folder"
venv/bin/python - 2>errors <<'PYTHON' || { cat errors >&2; exit 1; }
import importlib.metadata

import itk
import numpy as np
import pyvips
import SimpleITK
import tifffile

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("SimpleITK", "itk-io", "tifffile", "pyvips-binary")))
HEIGHT, WIDTH = 40, 60
READERS = {
    "tifffile": tifffile.imread,
    "libvips": lambda path: pyvips.Image.new_from_file(path).numpy(),
    "SimpleITK": lambda path: SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path)),
    "itk": lambda path: itk.array_from_image(itk.imread(path)),
}
stated = True
for classes in (2, 5):
    for kind in (np.uint8, np.uint16, np.float32):
        maps = np.zeros((HEIGHT, WIDTH, classes), kind)
        maps[10:20, 20:25, 1] = 100  # a focus left of the middle, of the second class
        maps[10:20, 50:55, 1] = 200  # a stronger one on the right
        path = f"maps_{classes}_{np.dtype(kind)}.tif"
        tifffile.imwrite(path, maps, photometric="minisblack", planarconfig="contig")
        print(f"expected: {HEIGHT} x {WIDTH} x {classes}, {np.dtype(kind)}, highest 200 at column 50")
        for name, reader in READERS.items():
            answer = np.asarray(reader(path))
            highest = answer.max()
            columns = np.unique(np.nonzero(answer == highest)[1]).tolist() if highest else []
            print(f"seen:     {name:9s} {' x '.join(map(str, answer.shape))}, highest {highest:g} at columns {columns}")
            if name in ("tifffile", "libvips"):
                stated = stated and np.array_equal(answer, maps)
            else:
                stated = stated and np.array_equal(answer, maps.reshape(HEIGHT, -1)[:, :WIDTH])
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
echo "messages of SimpleITK and ITK on standard error: $(grep -c -i itk errors || true)"
