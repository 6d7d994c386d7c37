"""Shapes collected by class while an annotation file is read; what is repaired or left out is noted."""

from pathlib import Path

import numpy as np
import shapely
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from asmil.errors import AnnotationError

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
            area = shapely.make_valid(area)
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
