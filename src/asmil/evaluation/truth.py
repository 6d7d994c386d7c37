"""The annotations of many slides, each fitted to its slide: what does not fit one is a problem of that slide only."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import shapely

from asmil.bags import Problem
from asmil.errors import AsmilError, MetricError
from asmil.evaluation.annotations import (
    Annotations,
    MaskLabels,
    bounds_of,
    find_annotation,
    read_annotations,
    require_classes,
)
from asmil.evaluation.localization import tile_truth
from asmil.runs import SlideTiles

SCALES = (2, 4, 8, 16, 32, 64)
"""Downsamples of usual levels, in which an outline may have been drawn by mistake."""
MOSTLY = 0.5
"""Share of what is drawn that must lie on tiles for another scale to be believed."""


@dataclass(frozen=True)
class Wanted:
    """What is looked for in annotations: positive classes, classes cut out of them, the share of a tile that must be
    covered, and what label images mean."""

    positive: Sequence[str]
    exclude: Sequence[str] = ()
    min_coverage: float = 0.5
    labels: MaskLabels = field(default_factory=MaskLabels)


@dataclass(frozen=True)
class Truth:
    """By slide: annotations, places, and which tiles are positive, bool (tiles,); `problems` name those set aside."""

    drawn: Mapping[str, Annotations]
    places: Mapping[str, SlideTiles]
    tiles: dict[str, np.ndarray]
    problems: tuple[Problem, ...]


def read_truth(
    folder: str | Path, slides: Iterable[str], *, wanted: Wanted, places_of: Callable[[str], SlideTiles]
) -> Truth:
    """The annotations in a folder of these slides; a slide without a file is in none of the results.

    Raises:
        MetricError: no slide has an annotation, or none that can be used.
        AnnotationError: no file has one of the classes looked for.
    """
    drawn, places, problems = dict[str, Annotations](), dict[str, SlideTiles](), list[Problem]()
    for slide in slides:
        path = None
        try:
            path = find_annotation(folder, slide)
            if path is not None:
                known = places_of(slide)
                drawn[slide] = read_annotations(
                    path, slide_size=known.stated_size, slide_mpp=known.slide_mpp, labels=wanted.labels
                )
                places[slide] = known
        except AsmilError as error:
            found = "" if error.found is None else f" ({error.found})"
            problems.append(Problem(slide, f"{error.what}{found}", error.fix or "", path))
    if not drawn:
        raise MetricError(
            "no slide of the run has an annotation" if not problems else "no annotation of the run can be used",
            found=problems[0] if problems else folder,
            fix="name the files <slide>.geojson, <slide>.xml or <slide>_mask.tif",
        )
    require_classes(drawn.values(), wanted.positive)
    for slide, annotations in list(drawn.items()):
        if wrong := other_scale(annotations, places[slide]):
            problems.append(Problem(slide, *wrong, annotations.path))
            del drawn[slide], places[slide]
    if not drawn:
        raise MetricError("no annotation of the run can be used", found=problems[0])
    tiles = {
        slide: tile_truth(
            places[slide].level0_xy,
            places[slide].tile_level0_px,
            annotations,
            positive=wanted.positive,
            exclude=wanted.exclude,
            min_coverage=wanted.min_coverage,
        )
        for slide, annotations in drawn.items()
    }
    return Truth(drawn, places, tiles, tuple(problems))


def other_scale(annotations: Annotations, places: SlideTiles) -> tuple[str, str] | None:
    """What is wrong, and what to do, where nothing drawn lies on a tile but most would in micrometres or on a level.

    Tumour without any tile is possible (and then missed by every model); that it would fit in another scale is not
    likely by chance.
    """
    tiles = shapely.STRtree(shapely.box(*places.level0_xy.T, *(places.level0_xy + places.tile_level0_px).T))
    areas, points = annotations.areas.values(), annotations.points.values()
    shapes = np.concatenate([np.empty(0, dtype=object), *map(shapely.get_parts, areas), *map(shapely.points, points)])
    if not len(shapes) or not len(tiles) or len(tiles.query(shapes, predicate="intersects")[0]):
        return None
    marks = shapely.get_coordinates(shapely.point_on_surface(shapes))
    micrometres = [] if places.slide_mpp is None else [(1 / places.slide_mpp, "micrometres")]
    for factor, unit in [*micrometres, *((scale, f"pixels of a level {scale} times smaller") for scale in SCALES)]:
        hit, _ = tiles.query(shapely.points(marks * factor), predicate="intersects")
        if len(np.unique(hit)) >= MOSTLY * len(marks):
            x0, y0, x1, y1 = bounds_of(annotations)
            found = f"x {x0:.0f} to {x1:.0f}, y {y0:.0f} to {y1:.0f} touch no tile; as {unit} they would"
            return (
                f"is not drawn in level-0 pixels ({found})",
                f"multiply the coordinates by {factor:.6g}, or export them in level-0 pixels",
            )
    return None
