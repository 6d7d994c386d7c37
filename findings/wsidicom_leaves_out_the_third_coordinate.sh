#!/usr/bin/env bash
# What: annotations in the millimetres of the slide, as the README of wsidicom makes them ("volume"), are written as 3D with two coordinates a point and without the common height that DICOM wants then. A reader that goes by the standard takes three: six points become four, outlines lose corners.
# Versions: wsidicom 0.36.1, highdicom 0.28.2, pydicom 3.0.2. Seen 2026-12-01.
# Why it matters: nuclei and outlines in an archive are at other places and fewer, without an error where the number of values is a multiple of three; wsidicom itself reads them as they were meant.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'wsidicom==0.36.1' 'highdicom==0.28.2' 'pydicom==3.0.2' 'numpy==2.4.6'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata
import warnings

import highdicom
import wsidicom.graphical_annotations as wsi
from pydicom import dcmread
from pydicom.uid import generate_uid
from wsidicom.conceptcode import AnnotationCategoryCode, AnnotationTypeCode
from wsidicom.uid import SlideUids

warnings.filterwarnings("ignore")
print(*(f"{name} {importlib.metadata.version(name)}" for name in ("wsidicom", "highdicom")))
uids = SlideUids(generate_uid(), generate_uid(), generate_uid())
points = [(1.0 + k, 10.0 + k) for k in range(6)]
outlines = [[(1.0 + k, 10.0), (2.0 + k, 10.0), (2.0 + k, 20.0), (1.0 + k, 20.0)] for k in range(3)]


def write(name, kind, group, shapes):
    annotations = [wsi.Annotation(shape) for shape in shapes]
    named = group(annotations, "nuclei", AnnotationCategoryCode("Tissue"), AnnotationTypeCode("Nucleus"))
    wsi.AnnotationInstance([named], kind, uids).save(name)


def by_highdicom(name):
    read = highdicom.ann.annread(name)
    parts = read.get_annotation_groups()[0].get_graphic_data(coordinate_type=read.AnnotationCoordinateType)
    return [[tuple(corner) for corner in part.tolist()] for part in parts]


def by_wsidicom(name):
    (read,) = wsi.AnnotationInstance.open([name])
    return [[tuple(corner) for corner in one.geometry.to_coords()] for one in read.groups[0].annotations]


print("expected: six points and three outlines of four corners, as written")
seen = {}
for kind in ("image", "volume"):
    write(f"points_{kind}.dcm", kind, wsi.PointAnnotationGroup, [wsi.Point(*point) for point in points])
    write(f"outlines_{kind}.dcm", kind, wsi.PolygonAnnotationGroup, [wsi.Polygon(outline) for outline in outlines])
    stored = dcmread(f"points_{kind}.dcm")
    common = "CommonZCoordinateValue" in stored.AnnotationGroupSequence[0]
    for read in (by_wsidicom, by_highdicom):
        found, drawn = read(f"points_{kind}.dcm"), read(f"outlines_{kind}.dcm")
        seen[kind, read.__name__] = [len(found), [len(outline) for outline in drawn]], found[1][0], common
        print(f"seen:     {kind:6s} ({stored.AnnotationCoordinateType}, common height {common}) {read.__name__:13s} {len(found)} points, the second at {found[1][0]}; corners {[len(outline) for outline in drawn]}")
right = [[6, [4, 4, 4]], points[1]]
stated = all(list(found[:2]) == right for case, found in seen.items() if case != ("volume", "by_highdicom"))
stated = stated and seen["volume", "by_highdicom"] == ([4, [2, 3, 3]], (11.0, 3.0, 12.0), False)
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
