"""Tissue as GeoJSON that QuPath opens, edits and exports."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import shapely
from shapely.geometry import mapping, shape

from asmil.errors import AsmilError, TissueError, blaming
from asmil.files import write_text

if TYPE_CHECKING:
    from asmil.tiles.tissue import Tissue

CLASS, IGNORED = "Tissue", "Ignore*"
EDITED = {"method": "file"}
"""The settings of tissue that was drawn or edited elsewhere."""

_COLOUR = [160, 90, 160]
_DETECTIONS = ("detection", "cell", "tile", "tma_core", "root")
Bounds: TypeAlias = tuple[int, int, int, int]
"""The scanned part of a slide: x, y, width and height in level-0 pixels."""
ORIGIN, CONTENT = "origin", "content"
MARGIN = 0.01
"""Share of the longer side of the scanned part by which a hand-drawn outline may leave it."""
_OUTSIDE_PX = 1.0  # level-0 pixels that a hand-drawn edge may overshoot the slide


def write_tissue(tissue: "Tissue", path: str | Path) -> None:
    """Write one feature per polygon; the slide and the settings are kept under the key "asmil"."""
    polygons = _moved(tissue.polygons, -tissue.origin[0], -tissue.origin[1])
    features = [
        {
            "type": "Feature",
            "geometry": mapping(polygon),
            "properties": {
                "objectType": "annotation",
                "classification": {"name": CLASS, "color": _COLOUR},
                "isLocked": False,
            },
        }
        for polygon in polygons.geoms
    ]
    slide = {
        "slide_size": list(tissue.slide_size),
        "slide_mpp": tissue.slide_mpp,
        "settings": tissue.settings,
        "outline": _digest(polygons),
    } | ({ORIGIN: list(tissue.origin)} if any(tissue.origin) else {})
    slide |= {CONTENT: tissue.content} if tissue.content else {}
    text = json.dumps({"type": "FeatureCollection", "features": features, "asmil": slide})
    write_text(path, text + "\n")


def read_tissue(
    path: str | Path, *, slide_size: tuple[int, int], slide_mpp: float, bounds: Bounds | None = None
) -> "Tissue":
    """Read the tissue of a slide; see `Tissue.load`."""
    with blaming(TissueError, f"{path} is not a readable GeoJSON file", fix="export it from QuPath again"):
        return _read(path, slide_size=slide_size, slide_mpp=slide_mpp, bounds=bounds)


def _read(path: str | Path, *, slide_size: tuple[int, int], slide_mpp: float, bounds: Bounds | None) -> "Tissue":
    from asmil.tiles.tissue import Tissue

    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TissueError(f"{path} is not a readable GeoJSON file", found=str(error)) from error
    features = _features(data, path)
    polygons = _union([_areas(feature, path) for feature in _of_tissue(features, path)])
    if features and polygons.is_empty:
        raise TissueError(f"{path} holds no area", found="points, lines or detections only", fix="draw areas in QuPath")
    ignored = [_areas(feature, path) for feature in features if _class_name(feature) == IGNORED]
    if ignored:
        polygons = _union([polygons.difference(shapely.union_all(ignored))])
    try:
        origin = origin_of(data, bounds, reach=polygons.bounds[2:] if not polygons.is_empty else (0.0, 0.0))
    except ValueError as error:
        raise TissueError(f"the origin of {path} cannot be read", found=error) from error
    drawn, polygons = polygons, _moved(polygons, *origin)
    _check_inside(polygons, slide_size, path)
    made = data.get("asmil", {}) if isinstance(data, dict) else {}
    if tuple(made.get("slide_size", slide_size)) != tuple(slide_size):
        found = f"{made['slide_size']} px in the file, {list(slide_size)} px in the slide"
        fix = "put that slide back, or delete the outlines: they are found again"
        raise TissueError(f"{path} is the tissue of another slide", found=found, fix=fix)
    untouched = made.get("outline") == _digest(drawn)
    settings = made["settings"] if untouched and "settings" in made else dict(EDITED)
    corner = (int(bounds[0]), int(bounds[1])) if bounds else (0, 0)
    size, content = (int(slide_size[0]), int(slide_size[1])), str(made.get(CONTENT, ""))
    return Tissue(polygons, size, float(slide_mpp), settings, corner, content)


def origin_of(content: object, bounds: Bounds | None, *, reach: Sequence[float]) -> tuple[float, float]:
    """Where on its slide the point (0, 0) of a GeoJSON file lies, in level-0 pixels.

    A file of ours says it. QuPath shows only the scanned part of a slide (`bounds`) and counts from its corner; what
    reaches beyond the sides of that part (`reach`, the largest x and y) was drawn on the whole slide.

    Raises:
        ValueError: what the file says is no pair of numbers.
    """
    said = content.get("asmil") if isinstance(content, dict) else None
    if isinstance(said, dict):
        try:
            x, y = map(float, said.get(ORIGIN, (0, 0)))
        except TypeError as error:
            raise ValueError(said[ORIGIN]) from error
        if not np.isfinite([x, y]).all():
            raise ValueError(said[ORIGIN])
        return x, y
    if bounds is None:
        return 0.0, 0.0
    margin = MARGIN * max(bounds[2:])
    fits = reach[0] <= bounds[2] + margin and reach[1] <= bounds[3] + margin
    return (float(bounds[0]), float(bounds[1])) if fits else (0.0, 0.0)


def _moved(polygons: shapely.MultiPolygon, x: float, y: float) -> shapely.MultiPolygon:
    return shapely.transform(polygons, lambda xy: xy + np.array([x, y])) if x or y else polygons


def _features(data: object, path: str | Path) -> list[dict]:
    """The features of a FeatureCollection, a plain list (older QuPath), or a single feature or geometry."""
    if isinstance(data, dict) and data.get("type") == "FeatureCollection":
        data = data.get("features")
    if isinstance(data, dict) and "type" in data:
        data = [data]
    if not isinstance(data, list) or not all(isinstance(item, dict) for item in data):
        raise TissueError(f"{path} is not GeoJSON", fix="export annotations from QuPath as GeoJSON")
    return [item if item.get("type") == "Feature" else {"geometry": item} for item in data]


def _of_tissue(features: list[dict], path: str | Path) -> list[dict]:
    features = [f for f in features if (f.get("properties") or {}).get("objectType") not in _DETECTIONS]
    names = [_class_name(feature) for feature in features]
    for wanted in (CLASS, ""):
        chosen = [f for f, name in zip(features, names, strict=True) if name.lower() == wanted.lower()]
        if chosen:
            return chosen
    if features:
        raise TissueError(
            f"{path} has no annotation of class {CLASS}",
            found=", ".join(sorted(set(names))),
            fix=f'give the tissue the class "{CLASS}" in QuPath, or no class',
        )
    return []


def _class_name(feature: dict) -> str:
    """The base class: "Tissue" of "Tissue: Fat", which QuPath writes as one name or (since 0.4) as a list of names."""
    value = (feature.get("properties") or {}).get("classification") or ""
    if isinstance(value, dict):
        names = value.get("names") or [value.get("name") or ""]
        value = names[0] if isinstance(names, list) else names
    return str(value).partition(":")[0].strip()


def _digest(polygons: shapely.MultiPolygon) -> str:
    """Tells outlines as they were found from edited ones."""
    return hashlib.sha256(shapely.to_wkb(polygons)).hexdigest()[:16]


def _areas(feature: dict, path: str | Path) -> shapely.Geometry:
    try:
        geometry = shapely.force_2d(shape(feature["geometry"]))
    except (
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
        IndexError,
        shapely.errors.ShapelyError,
    ) as error:
        raise TissueError(f"{path} has a feature without a usable geometry", found=repr(error)) from error
    if not np.isfinite(shapely.get_coordinates(geometry)).all():
        raise TissueError(f"{path} has coordinates that are not numbers")
    return repaired(geometry, path, TissueError)


MOST_CROSSINGS = 500
"""Of an outline with itself: no hand draws as many, and the time to repair it grows with their square."""


def repaired(area: shapely.Geometry, path: str | Path, kind: type[AsmilError]) -> shapely.Geometry:
    """The area without crossings of its outline; raises a `kind` of error where there are too many."""
    if area.is_valid:
        return area
    crossings = _crossings(area)
    if crossings > MOST_CROSSINGS:
        found = f"some {crossings:,} crossings of {len(shapely.get_coordinates(area)):,} corners"
        raise kind(f"an outline in {path} crosses itself too often", found=found, fix="draw it again, or simplify it")
    return shapely.make_valid(area)


def _crossings(area: shapely.Geometry) -> int:
    """How often the lines of an area cross, estimated from some of them where they are many."""
    corners, line = shapely.get_coordinates(shapely.get_parts(shapely.boundary(area)), return_index=True)
    same = line[1:] == line[:-1]
    start, step = corners[:-1][same], np.diff(corners, axis=0)[same]
    asked = np.unique(np.linspace(0, len(start) - 1, min(len(start), max(50, 10**6 // len(start)))).astype(int))
    found = 0
    for at in asked:
        here = _side(start[at], step[at], start) * _side(start[at], step[at], start + step) < 0
        found += int((here & (_side(start, step, start[at]) * _side(start, step, start[at] + step[at]) < 0)).sum())
    return round(found * len(start) / len(asked) / 2)


def _side(start: np.ndarray, step: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Negative on the one side of a line, positive on the other."""
    way = point - start
    return np.sign(step[..., 0] * way[..., 1] - step[..., 1] * way[..., 0])


def _union(geometries: list[shapely.Geometry]) -> shapely.MultiPolygon:
    """One MultiPolygon of all areas; pieces that do not overlap are kept to the last coordinate."""
    parts = shapely.get_parts(geometries)
    while any(part.geom_type == "GeometryCollection" for part in parts):
        parts = shapely.get_parts(parts)
    polygons = [p for p in shapely.get_parts(parts) if p.geom_type == "Polygon" and not p.is_empty]
    together = shapely.MultiPolygon(polygons)
    if together.is_valid:
        return together
    merged = shapely.get_parts(shapely.union_all(polygons))
    return shapely.MultiPolygon([part for part in merged if part.geom_type == "Polygon"])


def _check_inside(polygons: shapely.MultiPolygon, slide_size: tuple[int, int], path: str | Path) -> None:
    if polygons.is_empty:
        return
    left, top, right, bottom = polygons.bounds
    width, height = slide_size
    if min(left, top) < -_OUTSIDE_PX or right > width + _OUTSIDE_PX or bottom > height + _OUTSIDE_PX:
        raise TissueError(
            f"{path} reaches outside the slide",
            found=f"x {left:g} to {right:g}, y {top:g} to {bottom:g}; the slide is {width} x {height} px",
            fix="coordinates are level-0 pixels of this slide; were they drawn on another slide or level?",
        )
