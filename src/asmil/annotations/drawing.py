"""Annotations drawn as shapes, read by class: XML of ASAP and ImageScope, GeoJSON of QuPath, JSON of CAMELYON."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

import numpy as np
import shapely
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from asmil.errors import AnnotationError
from asmil.files import Facts, composed
from asmil.tiles import Bounds, origin_of, repaired

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

    @property
    def reach(self) -> tuple[float, float]:
        """The largest x and y of what is drawn."""
        parts = [part for several in self.polygons.values() for part in several]
        corners = np.concatenate([shapely.get_coordinates(parts), *(xy for own in self.points.values() for xy in own)])
        return (float(corners[:, 0].max()), float(corners[:, 1].max())) if len(corners) else (0.0, 0.0)

    def shift(self, by: tuple[float, float]) -> None:
        """Move all that is drawn."""
        if any(by):
            self.points = {name: [xy + by for xy in parts] for name, parts in self.points.items()}
            for name, parts in self.polygons.items():
                self.polygons[name] = [shapely.transform(part, lambda xy: xy + by) for part in parts]
            self.notes.append(f"moved by x {by[0]:g}, y {by[1]:g}: drawn on the scanned part of the slide")

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


# XML: of ASAP, as CAMELYON and many pathology labs write it, and of Aperio ImageScope.

_KINDS = {
    "polygon": "polygon",
    "rectangle": "polygon",
    "spline": "polygon",
    "dot": "points",
    "pointset": "points",
    "measurement": "line",
}
_NO_CLASS = re.compile(r"\s*((annotation|layer|region|polygon|rectangle)?[\s_-]*\d*|\?|none)\s*", re.IGNORECASE)
"""Names that a program gave by itself."""


def add_xml(content: bytes, drawing: Drawing) -> None:
    """Add what an XML file holds.

    Raises:
        AnnotationError: not XML, a document type declaration (entities could be made to grow without bound), not of
            ASAP or ImageScope, or something in it that cannot be read.
    """
    root, path = _parse(content, drawing.path), drawing.path
    readers = {"ASAP_Annotations": _add_asap, "Annotations": _add_imagescope}
    if root.tag not in readers:
        fix = "export GeoJSON from the program that drew it"
        raise AnnotationError(f"{path} was not written by ASAP or ImageScope", found=f"root <{root.tag}>", fix=fix)
    readers[root.tag](root, drawing)


def _add_asap(root: ElementTree.Element, drawing: Drawing) -> None:
    """The class is the annotation's group, "Tumor: Necrosis" for a group within another, or without one its name.

    Groups come first, so that a group with nothing in it is still known. A spline is read as the polygon of its
    control points.
    """
    path, names = drawing.path, _full_names(root)
    for name in names.values():
        drawing.add_class(name)
    for annotation in root.iterfind("Annotations/Annotation"):
        label, kind = annotation.get("Name", "?"), annotation.get("Type", "")
        if kind.lower() not in _KINDS:
            raise AnnotationError(f"annotation {label!r} of {path} is of an unknown type", found=repr(kind))
        group_name = annotation.get("PartOfGroup", "None")
        try:
            corners = sorted(annotation.iterfind("Coordinates/Coordinate"), key=lambda c: float(c.get("Order", 0)))
            xy = _vertices(corners)
        except (KeyError, ValueError) as error:
            raise AnnotationError(f"annotation {label!r} of {path} has unreadable coordinates", found=error) from error
        name = _own_name(label) if group_name == "None" else names.get(group_name, _named(group_name))
        if _KINDS[kind.lower()] == "line":
            drawing.notes.append(f"{name}: ignored a {kind.lower()}")
            continue
        drawing.add_class(name)
        if _KINDS[kind.lower()] == "points":
            drawing.add_points(name, xy)
        else:
            drawing.add_rings(name, xy)


def _vertices(elements: Iterable[ElementTree.Element]) -> np.ndarray:
    """Coordinates (points, 2) of elements with X and Y."""
    return np.array([[float(one.attrib["X"]), float(one.attrib["Y"])] for one in elements]).reshape(-1, 2)


def _own_name(*names: str) -> str:
    """The first name that somebody gave; "unclassified" where all were given by the program."""
    return next((_named(name) for name in names if not _NO_CLASS.fullmatch(name)), UNCLASSIFIED)


def _named(name: str) -> str:
    """A class as it is compared: blanks around it, and two characters for one letter, are typed by chance."""
    return composed(name).strip() or UNCLASSIFIED


def _add_imagescope(root: ElementTree.Element, drawing: Drawing) -> None:
    """The class is the layer's name or description, or what is written at a region; negative regions are cut out."""
    if root.find("Annotation") is None and "MicronsPerPixel" not in root.attrib:
        raise AnnotationError(f"{drawing.path} was not written by ASAP or ImageScope", found="no <Annotation> in it")
    for layer in root.iterfind("Annotation"):
        said = [attribute.get("Value") or "" for attribute in layer.iterfind("Attributes/Attribute")]
        named = [layer.get("Name") or "", *said]
        own, holes = Drawing(drawing.path), Drawing(drawing.path)
        if _own_name(*named) != UNCLASSIFIED:
            drawing.add_class(_own_name(*named))
        for region in layer.iterfind("Regions/Region"):
            name = _own_name(*named, region.get("Text") or "")
            try:
                outline = _imagescope_outline(region)
            except (KeyError, ValueError) as error:
                what = f"region {region.get('Id', '?')} of {drawing.path} has unreadable vertices"
                raise AnnotationError(what, found=error) from error
            if outline is None:
                own.notes.append(f"{name}: ignored a line")
                continue
            kind = holes if region.get("NegativeROA") == "1" else own
            kind.add_class(name)
            kind.add_rings(name, outline)
        drawing.notes += own.notes + holes.notes
        _add_layer(drawing, own, holes=list(chain.from_iterable(holes.polygons.values())))


def _add_layer(drawing: Drawing, layer: Drawing, *, holes: list[BaseGeometry]) -> None:
    """Add a layer of ImageScope less its negative regions, which are of the layer, whatever is written at them."""
    for name, parts in layer.polygons.items():
        drawing.add_class(name)
        drawing.polygons[name] += [part.difference(shapely.union_all(holes)) for part in parts] if holes else parts
        drawing.notes += [f"{name}: {len(holes)} negative regions were cut out"] * bool(holes and parts)


def _imagescope_outline(region: ElementTree.Element) -> np.ndarray | None:
    """Corners (points, 2) of a region; None of arrows and rulers. Ellipses, and some rectangles, are two corners."""
    kind, xy = region.get("Type", "0"), _vertices(region.iterfind("Vertices/Vertex"))
    if kind in ("3", "4"):
        return None
    if kind in ("1", "2") and len(xy) == 2:
        middle, half = xy.mean(0), np.abs(xy[1] - xy[0]) / 2
        turn = np.linspace(0, 2 * np.pi, 128, endpoint=False)
        unit = (
            np.stack([np.cos(turn), np.sin(turn)], 1) if kind == "2" else np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])
        )
        return middle + half * unit
    return xy


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
        full[name] = ": ".join(map(_named, line))
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


def add_json(content: bytes, drawing: Drawing, bounds: Bounds | None = None) -> None:
    """Add what a JSON file holds; GeoJSON of a slide with `bounds` where QuPath's frame is.

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
    whole = found
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
            name = class_name(feature.get("properties") or {})
            drawing.add_class(name)
            _add_geometry(drawing, name, feature.get("geometry"))
        except _UNREADABLE as error:
            raise AnnotationError(
                f"feature {number} of {path} has no readable geometry", found=error, fix="remove it, or export it again"
            ) from error
    try:
        drawing.shift(origin_of(whole, bounds, reach=drawing.reach))
    except ValueError as error:
        raise AnnotationError(f"the origin of {path} cannot be read", found=error) from error


def class_name(properties: Facts) -> str:
    """The class that the properties of a GeoJSON feature name, "unclassified" where they name none."""
    found = properties.get("classification") or properties.get("class")
    if not found:
        return _own_name(str(properties.get("name") or ""))
    if isinstance(found, Mapping):  # QuPath: `name`, or in newer versions the `names` of a derived class
        found = found.get("name") or ": ".join(found.get("names") or ())
    return _named(str(found))


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
