"""Annotations as JSON: GeoJSON, as QuPath writes it, and the polygons of CAMELYON."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import shapely

from asmil.errors import AnnotationError
from asmil.evaluation._drawing import UNCLASSIFIED, Drawing

_UNREADABLE = (AttributeError, KeyError, TypeError, ValueError, IndexError, shapely.errors.ShapelyError)


def add_json(content: bytes, drawing: Drawing) -> None:
    """Add what a JSON file holds.

    Raises:
        AnnotationError: not JSON, of another kind, or a feature without readable geometry; it is named by its number.
    """
    path = drawing.path
    try:
        found = json.loads(content)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise AnnotationError(f"{path} is not valid JSON", found=error, fix="export it again") from error
    if isinstance(found, dict) and "type" not in found and isinstance(found.get("positive"), list):
        return _add_camelyon(found, drawing)
    if isinstance(found, dict) and found.get("type") == "FeatureCollection":
        found = found.get("features")
    features = [found] if isinstance(found, dict) else found
    if not isinstance(features, list) or any(not isinstance(f, dict) or f.get("type") != "Feature" for f in features):
        raise AnnotationError(
            f"{path} is not an annotation file",
            found=sorted(found) if isinstance(found, dict) else type(found).__name__,
            fix="export GeoJSON from QuPath, or pass CAMELYON JSON",
        )
    for number, feature in enumerate(features):
        try:
            name = _class_name(feature.get("properties") or {})
            drawing.add_class(name)
            _add_geometry(drawing, name, feature.get("geometry"))
        except _UNREADABLE as error:
            raise AnnotationError(
                f"feature {number} of {path} has no readable geometry", found=error, fix="remove it, or export it again"
            ) from error


def _class_name(properties: Mapping[str, Any]) -> str:
    found = properties.get("classification") or properties.get("class")
    if isinstance(found, Mapping):  # QuPath: `name`, or in newer versions the `names` of a derived class
        found = found.get("name") or ": ".join(found.get("names") or ())
    return str(found) if found else UNCLASSIFIED


def _add_geometry(drawing: Drawing, name: str, geometry: Mapping[str, Any] | None) -> None:
    kind = geometry["type"] if geometry else "nothing"
    if geometry and kind == "GeometryCollection":
        for part in geometry["geometries"]:
            _add_geometry(drawing, name, part)
    elif geometry and kind in ("Point", "MultiPoint"):
        drawing.add_points(name, _positions([geometry["coordinates"]] if kind == "Point" else geometry["coordinates"]))
    elif geometry and kind in ("Polygon", "MultiPolygon"):
        polygons = [geometry["coordinates"]] if kind == "Polygon" else geometry["coordinates"]
        for rings in (r for r in polygons if r):
            drawing.add_rings(name, *map(_positions, rings))
    elif kind in ("nothing", "LineString", "MultiLineString"):
        drawing.notes.append(f"{name}: ignored {kind}")
    else:
        raise ValueError(f"unknown geometry type {kind!r}")


def _positions(found: Any) -> np.ndarray:
    """Coordinates (points, 2); a third one, a height, is left out."""
    return np.array([(x, y) for x, y, *_ in found], dtype=np.float64).reshape(-1, 2)


def _add_camelyon(content: Mapping[str, Any], drawing: Drawing) -> None:
    try:
        for name in ("positive", "negative"):
            drawing.add_class(name)
            for polygon in content.get(name) or []:
                drawing.add_rings(name, _positions(polygon["vertices"]))
    except _UNREADABLE as error:
        raise AnnotationError(f"{drawing.path} has a polygon without readable vertices", found=error) from error
    if drawing.polygons["negative"]:
        holes = shapely.union_all(drawing.polygons["negative"])
        drawing.polygons["positive"] = [p.difference(holes) for p in drawing.polygons["positive"]]
        drawing.notes.append(f"positive: {len(content['negative'])} negative polygons were cut out")
