"""FROC: lesions found against false findings per slide, by the rules of CAMELYON16 (Bejnordi 2017)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from scipy.spatial import cKDTree
from shapely.geometry import Polygon

from asmil.evaluation._errors import MetricError
from asmil.evaluation.annotations import Annotations
from asmil.evaluation.localization import points_in_tiles

FALSE_POSITIVES_PER_SLIDE = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
MERGE_UM = 75.0
"""Outlines closer than this are one lesion: each grows by half of it."""
ITC_UM = 200.0
"""Lesions of a smaller extent are isolated tumour cells, neither required nor false."""


@dataclass(frozen=True)
class Lesions:
    """What is to be found on one slide.

    `areas` are polygons and `points` float64 (points, 2), in level-0 pixels; `itc` bool (areas,) marks
    isolated tumour cells.
    """

    areas: np.ndarray
    itc: np.ndarray
    points: np.ndarray

    @property
    def n_required(self) -> int:
        """Lesions that count for the sensitivity."""
        return int((~self.itc).sum()) + len(self.points)


@dataclass(frozen=True)
class Findings:
    """One slide's part of a FROC: scores of false findings; best score at each lesion (-inf: missed)."""

    false_positives: np.ndarray
    lesions: np.ndarray


def find_lesions(
    annotations: Annotations,
    *,
    mpp: float,
    positive: Sequence[str],
    exclude: Sequence[str] = (),
    merge_um: float = MERGE_UM,
    itc_um: float = ITC_UM,
) -> Lesions:
    """The lesions of a slide of `mpp` micrometres per level-0 pixel.

    As the official CAMELYON16 evaluation: outlines grow by half of `merge_um`, what then touches is one
    lesion, holes are filled, and lesions whose longest extent (longer side of the smallest rotated
    rectangle; the original takes the major axis of an ellipse of equal moments) is below `itc_um` +
    `merge_um` are isolated tumour cells. Annotated points are one lesion each.
    """
    grown = annotations.area_of(positive, exclude=exclude).buffer(merge_um / 2 / mpp)
    filled = shapely.union_all([Polygon(part.exterior) for part in shapely.get_parts(grown) if not part.is_empty])
    areas = shapely.get_parts(filled)
    areas = areas[~shapely.is_empty(areas)]
    extents = np.array([_extent(area) for area in areas])
    return Lesions(areas, extents * mpp < itc_um + merge_um, annotations.points_of(positive))


def _extent(area: Polygon) -> float:
    corners = shapely.get_coordinates(shapely.minimum_rotated_rectangle(area))
    return float(np.hypot(*np.diff(corners[:3], axis=0).T).max())


def local_maxima(level0_xy: np.ndarray, tile_level0_px: float, scores: np.ndarray) -> np.ndarray:
    """Tiles that no neighbour (sides or corners touching, or overlapping) exceeds: int indices, best first.

    Of equal neighbours the later one stands, so that a plateau gives few detections rather than all of its
    tiles.
    """
    order = np.argsort(scores, kind="stable")
    rank = np.empty(len(order), dtype=int)
    rank[order] = np.arange(len(order))
    pairs = cKDTree(np.asarray(level0_xy)).query_pairs(tile_level0_px * 1.01, p=np.inf, output_type="ndarray")
    exceeded = np.zeros(len(rank), dtype=bool)
    first_loses = rank[pairs[:, 0]] < rank[pairs[:, 1]]
    exceeded[np.where(first_loses, pairs[:, 0], pairs[:, 1])] = True
    return order[~exceeded[order]][::-1]


def score_findings(level0_xy: np.ndarray, tile_level0_px: float, scores: np.ndarray, *, lesions: Lesions) -> Findings:
    """Judge the local maxima of a slide's tile scores.

    A lesion is hit when the centre of a detection's tile lies in it, a point when it lies in the tile; hits
    on isolated tumour cells count neither way; every other detection is false. Scores must mean the same on
    all slides: attention relative to uniform, best multiplied by the slide's predicted probability, because
    on a negative slide attention has to point somewhere.
    """
    level0_xy, scores = np.asarray(level0_xy, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    found = local_maxima(level0_xy, tile_level0_px, scores)
    corners, scores = level0_xy[found], scores[found]
    detection, area = shapely.STRtree(lesions.areas).query(
        shapely.points(corners + tile_level0_px / 2), predicate="intersects"
    )
    tile, point = points_in_tiles(corners, tile_level0_px, lesions.points)
    best_of_area, best_of_point = np.full(len(lesions.areas), -np.inf), np.full(len(lesions.points), -np.inf)
    np.maximum.at(best_of_area, area, scores[detection])
    np.maximum.at(best_of_point, point, scores[tile])
    is_false = np.ones(len(found), dtype=bool)
    is_false[detection] = is_false[tile] = False
    return Findings(scores[is_false], np.concatenate([best_of_area[~lesions.itc], best_of_point]))


def froc_curve(slides: Sequence[Findings]) -> dict:
    """Sensitivity at 1/4, 1/2, 1, 2, 4 and 8 false findings per slide, and their mean, the CAMELYON16 score.

    All slides count, also those without lesions. Between operating points the curve is linear; beyond the
    last one it stays level.

    Returns:
        `{"score", "sensitivity": {"0.25": ...}, "n_slides", "n_lesions", "curve":
        {"false_positives_per_slide", "sensitivity"}}`.

    Raises:
        MetricError: no lesion on any slide.
    """
    false = np.sort(np.concatenate([np.empty(0), *(slide.false_positives for slide in slides)]))
    hits = np.sort(np.concatenate([np.empty(0), *(slide.lesions for slide in slides)]))
    if not len(hits):
        raise MetricError("FROC needs at least one lesion", found=f"{len(slides)} slides without one")
    thresholds = np.unique(np.concatenate([false, hits[np.isfinite(hits)]]))[::-1]
    per_slide = np.r_[0.0, (len(false) - np.searchsorted(false, thresholds)) / len(slides)]
    sensitivity = np.r_[0.0, (len(hits) - np.searchsorted(hits, thresholds)) / len(hits)]
    at = np.interp(FALSE_POSITIVES_PER_SLIDE, per_slide, sensitivity)
    return {
        "score": float(at.mean()),
        "sensitivity": {f"{rate:g}": float(s) for rate, s in zip(FALSE_POSITIVES_PER_SLIDE, at, strict=True)},
        "n_slides": len(slides),
        "n_lesions": len(hits),
        "curve": {"false_positives_per_slide": per_slide.tolist(), "sensitivity": sensitivity.tolist()},
    }
