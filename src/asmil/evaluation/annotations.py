"""Annotations of a slide, whoever wrote them: GeoJSON (QuPath), ASAP XML, and CAMELYON polygon JSON.

Coordinates are level-0 pixels, (x, y). Every file is read into areas and points by class; what had to be
repaired or left out is listed, never silent.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from asmil.evaluation._asap import UNCLASSIFIED, asap_shapes
from asmil.evaluation._errors import AnnotationError

SUFFIXES = (".geojson", ".json", ".xml")
OUTSIDE_MARGIN = 0.01
"""Share of the slide's longer side by which a hand-drawn outline may leave the slide."""


@dataclass(frozen=True)
class Annotations:
    """What is drawn on one slide.

    `areas` holds valid polygons and `points` float64 (points, 2) by class, in level-0 pixels. A class may
    be named with nothing drawn (a negative slide). `notes` says what was repaired or ignored.
    """

    path: Path
    areas: Mapping[str, MultiPolygon] = field(default_factory=dict)
    points: Mapping[str, np.ndarray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names the file uses, in order of appearance."""
        return tuple(self.areas)

    def area_of(self, classes: Sequence[str], *, exclude: Sequence[str] = ()) -> BaseGeometry:
        """Union of the polygons of some classes (any letter case), without those of the excluded classes."""
        inside = shapely.union_all([self.areas[name] for name in self._named(classes)])
        return inside.difference(shapely.union_all([self.areas[name] for name in self._named(exclude)]))

    def points_of(self, classes: Sequence[str]) -> np.ndarray:
        """Points of some classes (any letter case), float64 (points, 2)."""
        return np.concatenate([np.empty((0, 2)), *(self.points[name] for name in self._named(classes))])

    def _named(self, classes: Sequence[str]) -> list[str]:
        wanted = {name.casefold() for name in classes}
        return [name for name in self.classes if name.casefold() in wanted]


def read_annotations(path: str | Path, *, slide_size: tuple[int, int] | None = None) -> Annotations:
    """Read the annotations of one slide; the format is told from the content.

    GeoJSON as QuPath writes it (a FeatureCollection, one Feature or a list of them; the class is
    `classification.name`, a plain string, or `properties.class`), ASAP XML, or the CAMELYON JSON of
    `positive` and `negative` polygons (the negative ones are cut out of the positive). Lines are ignored,
    invalid polygons repaired; both are noted.

    Raises:
        AnnotationError: unreadable or of another format; or, where `slide_size` (width, height in level-0
            pixels) is given, drawn outside the slide by more than 1 % of its longer side.
    """
    path = Path(path)
    drawing = _Drawing(path)
    try:
        content = path.read_bytes()
        if path.suffix.lower() == ".xml":
            for name, kind, xy in asap_shapes(content, path):
                drawing.add_class(name)
                if kind == "points":
                    drawing.add_points(name, xy)
                elif kind == "polygon":
                    drawing.add_ring(name, xy)
        else:
            _read_json(json.loads(content), drawing, path)
    except OSError as error:
        raise AnnotationError(f"cannot read {path}", found=error.strerror or error) from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise AnnotationError(f"{path} is not valid JSON", found=error) from error
    annotations = drawing.finish()
    if slide_size is not None:
        _check_inside(annotations, slide_size)
    return annotations


def find_annotation(folder: str | Path, slide: str) -> Path | None:
    """The annotation file of a slide in a folder (`<slide>.geojson`, `.json`, `.xml`), or None.

    Raises:
        AnnotationError: the slide has more than one.
    """
    found = [path for suffix in SUFFIXES if (path := Path(folder) / f"{slide}{suffix}").is_file()]
    if len(found) > 1:
        raise AnnotationError(
            f"slide {slide} has more than one annotation file",
            found=", ".join(path.name for path in found),
            fix="keep one of them in the folder",
        )
    return found[0] if found else None


def require_classes(annotations: Iterable[Annotations], classes: Sequence[str]) -> None:
    """Check that each class is used by at least one slide of a cohort (a single negative slide may lack it).

    Raises:
        AnnotationError: a class occurs in no file; the message lists the classes that do.
    """
    known = sorted({name for slide in annotations for name in slide.classes})
    folded = {name.casefold() for name in known}
    missing = [name for name in classes if name.casefold() not in folded]
    if missing or not classes:
        raise AnnotationError(
            "no annotation file has the class " + ", ".join(map(repr, missing)) if missing else "no class was named",
            found=f"classes {', '.join(known) or '(none)'}",
            fix="name one of the classes found (letter case does not matter)",
        )


class _Drawing:
    """Collects shapes by class while a file is read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.polygons: dict[str, list[BaseGeometry]] = {}
        self.points: dict[str, list[np.ndarray]] = {}
        self.notes: list[str] = []

    def add_class(self, name: str) -> None:
        self.polygons.setdefault(name, [])
        self.points.setdefault(name, [np.empty((0, 2))])

    def add_points(self, name: str, xy: np.ndarray) -> None:
        self._check_finite(xy)
        self.points[name].append(xy)

    def add_ring(self, name: str, xy: np.ndarray) -> None:
        if len(xy) < 3:
            self.notes.append(f"{name}: an outline of {len(xy)} points was left out")
        else:
            self.add_polygon(name, Polygon(xy))

    def add_polygon(self, name: str, polygon: BaseGeometry) -> None:
        self._check_finite(shapely.get_coordinates(polygon))
        if not polygon.is_valid:
            self.notes.append(f"{name}: repaired a polygon ({shapely.is_valid_reason(polygon)})")
            polygon = shapely.make_valid(polygon)
        self.polygons[name] += [part for part in shapely.get_parts(polygon, return_index=False) if _has_area(part)]

    def _check_finite(self, xy: np.ndarray) -> None:
        if not np.isfinite(xy).all():
            raise AnnotationError(f"{self.path} has coordinates that are not finite numbers")

    def finish(self) -> Annotations:
        areas = {name: _multipolygon(shapely.union_all(parts)) for name, parts in self.polygons.items()}
        points = {name: np.concatenate(parts) for name, parts in self.points.items()}
        return Annotations(self.path, areas, points, tuple(self.notes))


def _has_area(geometry: BaseGeometry) -> bool:
    return geometry.geom_type in ("Polygon", "MultiPolygon") and not geometry.is_empty


def _multipolygon(geometry: BaseGeometry) -> MultiPolygon:
    parts = [geometry] if geometry.geom_type == "Polygon" else getattr(geometry, "geoms", [])
    return MultiPolygon([part for part in parts if part.geom_type == "Polygon" and not part.is_empty])


def _read_json(content: Any, drawing: _Drawing, path: Path) -> None:
    if isinstance(content, dict) and "type" not in content and isinstance(content.get("positive"), list):
        return _read_camelyon(content, drawing, path)
    if isinstance(content, dict) and content.get("type") == "FeatureCollection":
        content = content.get("features")
    features = [content] if isinstance(content, dict) else content
    if not isinstance(features, list) or any(not isinstance(f, dict) or f.get("type") != "Feature" for f in features):
        raise AnnotationError(
            f"{path} is not an annotation file",
            found=sorted(content) if isinstance(content, dict) else type(content).__name__,
            fix="export GeoJSON from QuPath, or pass CAMELYON JSON",
        )
    for number, feature in enumerate(features):
        name = _class_name(feature.get("properties") or {})
        drawing.add_class(name)
        try:
            _add_geometry(drawing, name, feature.get("geometry"))
        except (KeyError, TypeError, ValueError, IndexError, shapely.errors.ShapelyError) as error:
            raise AnnotationError(f"feature {number} of {path} has no readable geometry", found=error) from error


def _class_name(properties: Mapping[str, Any]) -> str:
    found = properties.get("classification") or properties.get("class")
    if isinstance(found, Mapping):  # QuPath: `name`, or in newer versions the `names` of a derived class
        found = found.get("name") or ": ".join(found.get("names") or ())
    return str(found) if found else UNCLASSIFIED


def _add_geometry(drawing: _Drawing, name: str, geometry: Mapping[str, Any] | None) -> None:
    kind = geometry["type"] if geometry else "nothing"
    if geometry and kind == "GeometryCollection":
        for part in geometry["geometries"]:
            _add_geometry(drawing, name, part)
    elif geometry and kind in ("Point", "MultiPoint"):
        xy = [geometry["coordinates"]] if kind == "Point" else geometry["coordinates"]
        drawing.add_points(name, np.array([p[:2] for p in xy], dtype=np.float64).reshape(-1, 2))
    elif geometry and kind in ("Polygon", "MultiPolygon"):
        rings = [geometry["coordinates"]] if kind == "Polygon" else geometry["coordinates"]
        for shell, *holes in (r for r in rings if r):
            drawing.add_polygon(name, Polygon([p[:2] for p in shell], [[p[:2] for p in hole] for hole in holes]))
    elif kind in ("nothing", "LineString", "MultiLineString"):
        drawing.notes.append(f"{name}: ignored {kind}")
    else:
        raise ValueError(f"unknown geometry type {kind!r}")


def _read_camelyon(content: Mapping[str, Any], drawing: _Drawing, path: Path) -> None:
    try:
        for name in ("positive", "negative"):
            drawing.add_class(name)
            for polygon in content.get(name) or []:
                drawing.add_ring(name, np.array(polygon["vertices"], dtype=np.float64).reshape(-1, 2))
    except (KeyError, TypeError, ValueError) as error:
        raise AnnotationError(f"{path} has a polygon without readable vertices", found=error) from error
    if drawing.polygons["negative"]:
        holes = shapely.union_all(drawing.polygons["negative"])
        drawing.polygons["positive"] = [p.difference(holes) for p in drawing.polygons["positive"]]
        drawing.notes.append(f"positive: {len(content['negative'])} negative polygons were cut out")


def _check_inside(annotations: Annotations, slide_size: tuple[int, int]) -> None:
    margin = OUTSIDE_MARGIN * max(slide_size)
    shapes = [*annotations.areas.values(), *map(shapely.multipoints, annotations.points.values())]
    bounds = shapely.total_bounds(np.array(shapes, dtype=object)) if shapes else np.full(4, np.nan)
    if (bounds[:2] < -margin).any() or (bounds[2:] > np.add(slide_size, margin)).any():
        raise AnnotationError(
            f"{annotations.path} is drawn outside its slide",
            found=f"x {bounds[0]:.0f} to {bounds[2]:.0f}, y {bounds[1]:.0f} to {bounds[3]:.0f} "
            f"on a slide of {slide_size[0]} x {slide_size[1]} level-0 pixels",
            fix="check that it is of this slide and in level-0 pixels, not micrometres or another level",
        )
