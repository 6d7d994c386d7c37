#!/usr/bin/env bash
# What: boxes of cells in a whole slide, converted to YOLO's shares of the picture: pylabel writes four decimals and supervision five, so a slide of 98304 px has a grid of 9.8 and .98 px. Cells of 20 to 50 px are up to 7 px elsewhere by pylabel, their sides are multiples of 9.8 and 7.4 px. globox writes all digits.
# Versions: pylabel 0.1.55, supervision 0.31.2, globox 2.9.0. Seen 2026-12-01.
# Why it matters: with pictures of 640 px nobody sees it; lymphocytes of a slide become boxes of four sizes, and counts of cells within an outline and overlaps with other annotations change.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'pylabel==0.1.55' 'supervision==0.31.2' 'globox==2.9.0' 'opencv-python-headless==5.0.0.93' 'numpy==2.4.6'
cd "$folder"
venv/bin/python - 2>errors <<'PYTHON' || { cat errors >&2; exit 1; }
import importlib.metadata
import json
import pathlib
import warnings

import numpy as np

warnings.filterwarnings("ignore")
import globox
import supervision
from pylabel import importer
from supervision.dataset.formats.yolo import detections_to_yolo_annotations

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("pylabel", "supervision", "globox")))
WIDTH, HEIGHT, CELLS = 98304, 73728, 1000
random = np.random.default_rng(0)
corner = np.stack([random.uniform(0, WIDTH - 60, CELLS), random.uniform(0, HEIGHT - 60, CELLS)], 1)
size = random.uniform(20, 50, (CELLS, 2))
annotations = [{"id": row + 1, "image_id": 1, "category_id": 0, "bbox": [*corner[row].tolist(), *size[row].tolist()], "area": float(size[row].prod()), "iscrowd": 0} for row in range(CELLS)]
coco = {"images": [{"id": 1, "file_name": "slide.png", "width": WIDTH, "height": HEIGHT}], "annotations": annotations, "categories": [{"id": 0, "name": "lymphocyte"}]}
pathlib.Path("coco.json").write_text(json.dumps(coco))


def by_pylabel():
    importer.ImportCoco("coco.json").export.ExportToYoloV5("pylabel/labels", copy_images=False)
    return pathlib.Path("pylabel/labels/slide.txt").read_text().splitlines()


def by_supervision():
    detections = supervision.Detections(xyxy=np.concatenate([corner, corner + size], 1), class_id=np.zeros(CELLS, int))
    return detections_to_yolo_annotations(detections=detections, image_shape=(HEIGHT, WIDTH, 3))


def by_globox():
    globox.AnnotationSet.from_coco("coco.json").save_yolo_v5("globox", label_to_id={"lymphocyte": 0})
    return pathlib.Path("globox/slide.txt").read_text().splitlines()


scale = np.array([WIDTH, HEIGHT])
stated = True
print(f"expected: {CELLS} cells of 20 to 50 px in a slide of {WIDTH} x {HEIGHT} px, at their places")
for name, convert, place, kinds in (("globox", by_globox, (0, 1e-6), None), ("supervision", by_supervision, (0.5, 1), (20, 40)), ("pylabel", by_pylabel, (6, 15), (3, 5))):
    shares = np.array([[float(text) for text in line.split()[1:]] for line in convert()])
    sides, middle = shares[:, 2:] * scale, shares[:, :2] * scale
    first = middle - sides / 2
    off = np.abs(first - corner).max()
    overlap = np.prod(np.clip(np.minimum(first + sides, corner + size) - np.maximum(first, corner), 0, None), 1)
    iou = overlap / (sides.prod(1) + size.prod(1) - overlap)
    widths = len(np.unique(shares[:, 2]))
    print(f"seen:     {name:11s} up to {off:.2g} px off, overlap with the true box {iou.mean():.2f} in the mean, {iou.min():.2f} at worst, {widths} widths among {CELLS} cells")
    stated = stated and place[0] <= off <= place[1] and (kinds is None or kinds[0] <= widths <= kinds[1])
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
