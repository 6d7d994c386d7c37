"""Annotations drawn as shapes, read by class: ASAP XML, GeoJSON as QuPath writes it, CAMELYON's polygon JSON."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

import numpy as np
import shapely
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from asmil.errors import AnnotationError
from asmil.files import Facts
from asmil.tiles import repaired

UNCLASSIFIED = "unclassified"


class Drawing:
    """Polygons, and points float64 (points, 2), by class, in the order in which classes are met."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.polygons: dict[str, list[BaseGeometry]] = {}
        self.points: dict[str, list[np.ndarray]] = {}
        self.notes: list[str] = []

    def add_class(self, name: str) -> None:
        """Make a class known, with nothing drawn yet."""
        self.polygons.setdefault(name, [])
        self.points.setdefault(name, [np.empty((0, 2))])

    def add_points(self, name: str, xy: np.ndarray) -> None:
        """Points (points, 2) of a class that is known."""
        self._check_finite(xy)
        self.points[name].append(xy)

    def add_rings(self, name: str, shell: np.ndarray, *holes: np.ndarray) -> None:
        """An outline (corners, 2) with holes; one of fewer than three corners is left out."""
        for ring in (shell, *holes):
            self._check_finite(ring)
        if len(shell) < 3:
            self.notes.append(f"{name}: an outline of {len(shell)} points was left out")
        else:
            self.add_area(name, Polygon(shell, [hole for hole in holes if len(hole) >= 3]))

    def add_area(self, name: str, area: BaseGeometry) -> None:
        """A polygon, or several in one; what crosses itself is repaired."""
        if not area.is_valid:
            self.notes.append(f"{name}: repaired a polygon ({shapely.is_valid_reason(area)})")
            area = repaired(area, self.path, AnnotationError)
        self.polygons[name] += [part for part in shapely.get_parts(area, return_index=False) if _has_area(part)]

    def areas(self) -> dict[str, MultiPolygon]:
        """The union of each class."""
        return {name: _multipolygon(shapely.union_all(parts)) for name, parts in self.polygons.items()}

    def _check_finite(self, xy: np.ndarray) -> None:
        if not np.isfinite(xy).all():
            raise AnnotationError(
                f"{self.path} has coordinates that are not finite numbers",
                found=f"{xy[~np.isfinite(xy).all(-1)][0].tolist()}",
                fix="draw or export it again",
            )


def _has_area(geometry: BaseGeometry) -> bool:
    return geometry.geom_type in ("Polygon", "MultiPolygon") and not geometry.is_empty


def _multipolygon(geometry: BaseGeometry) -> MultiPolygon:
    parts = [geometry] if geometry.geom_type == "Polygon" else getattr(geometry, "geoms", [])
    return MultiPolygon([part for part in parts if part.geom_type == "Polygon" and not part.is_empty])


# ASAP XML: the annotations that CAMELYON and many pathology labs write.

_KINDS = {
    "polygon": "polygon",
    "rectangle": "polygon",
    "spline": "polygon",
    "dot": "points",
    "pointset": "points",
}


def asap_shapes(content: bytes, path: Path) -> Iterator[tuple[str, str, np.ndarray]]:
    """Class, kind ("group" | "polygon" | "points") and level-0 coordinates (points, 2) of each annotation.

    The class is the annotation's group, "Tumor: Necrosis" for a group within another; groups come first, so that a
    group with nothing in it is still known. A spline is read as the polygon of its control points.

    Raises:
        AnnotationError: not XML, a document type declaration (entities could be made to grow without
            bound), not written by ASAP, or an unknown type of annotation.
    """
    root = _parse(content, path)
    if root.tag != "ASAP_Annotations":
        raise AnnotationError(f"{path} was not written by ASAP", found=f"root element <{root.tag}>")
    names = _full_names(root)
    for name in names.values():
        yield name, "group", np.empty((0, 2))
    for annotation in root.iterfind("Annotations/Annotation"):
        label, kind = annotation.get("Name", "?"), annotation.get("Type", "")
        if kind.lower() not in _KINDS:
            raise AnnotationError(f"annotation {label!r} of {path} is of an unknown type", found=repr(kind))
        group_name = annotation.get("PartOfGroup", "None")
        try:
            corners = sorted(annotation.iterfind("Coordinates/Coordinate"), key=lambda c: float(c.get("Order", 0)))
            xy = np.array([[float(c.attrib["X"]), float(c.attrib["Y"])] for c in corners]).reshape(-1, 2)
        except (KeyError, ValueError) as error:
            raise AnnotationError(f"annotation {label!r} of {path} has unreadable coordinates", found=error) from error
        name = UNCLASSIFIED if group_name == "None" else names.get(group_name, group_name)
        yield name, _KINDS[kind.lower()], xy


def _full_names(root: ElementTree.Element) -> dict[str, str]:
    """Groups by name, with the groups they are in before them."""
    parents = {
        group.get("Name", ""): group.get("PartOfGroup", "None") for group in root.iterfind("AnnotationGroups/Group")
    }
    full = {}
    for name in parents:
        line = [name]
        while (parent := parents[line[0]]) in parents and parent not in line:
            line.insert(0, parent)
        full[name] = ": ".join(line)
    return full


def _parse(content: bytes, path: Path) -> ElementTree.Element:
    def refuse(*_) -> None:
        raise AnnotationError(
            f"{path} declares a document type, which no annotation needs and which can exhaust memory",
            fix="remove the DOCTYPE from the file if you trust it",
        )

    guard = expat.ParserCreate()
    guard.StartDoctypeDeclHandler = refuse
    try:
        guard.Parse(content, True)
        return ElementTree.fromstring(content)
    except (expat.ExpatError, ElementTree.ParseError, LookupError, ValueError) as error:
        raise AnnotationError(f"{path} is not valid XML", found=error) from error


# Annotations as JSON: GeoJSON, as QuPath writes it, and the polygons of CAMELYON.

_UNREADABLE = (AttributeError, KeyError, TypeError, ValueError, IndexError, shapely.errors.ShapelyError)


def add_json(content: bytes, drawing: Drawing) -> None:
    """Add what a JSON file holds.

    Raises:
        AnnotationError: not JSON, of another kind, or a feature without readable geometry; it is named by its number.
    """
    path = drawing.path
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:  # among them numbers of more digits than Python reads
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


def _class_name(properties: Facts) -> str:
    found = properties.get("classification") or properties.get("class")
    if isinstance(found, Mapping):  # QuPath: `name`, or in newer versions the `names` of a derived class
        found = found.get("name") or ": ".join(found.get("names") or ())
    return str(found) if found else UNCLASSIFIED


def _add_geometry(drawing: Drawing, name: str, geometry: Facts | None) -> None:
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


def _positions(found: Sequence[Sequence[float]]) -> np.ndarray:
    """Coordinates (points, 2); a third one, a height, is left out."""
    return np.array([(x, y) for x, y, *_ in found], dtype=np.float64).reshape(-1, 2)


def _add_camelyon(content: Facts, drawing: Drawing) -> None:
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
