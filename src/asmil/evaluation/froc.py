"""FROC: lesions found against false findings per slide, by the rules of CAMELYON16 (Bejnordi 2017)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
import shapely.geometry.polygon
from shapely.geometry import Polygon

from asmil.annotations import Annotations
from asmil.errors import MetricError
from asmil.evaluation.intervals import percentile_interval, resample_counts
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


NO_LESIONS = Lesions(np.empty(0, dtype=object), np.empty(0, dtype=bool), np.empty((0, 2)))


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
    lesion, holes are filled, and lesions whose longest extent (major axis of the ellipse of equal moments)
    is below `itc_um` + `merge_um` are isolated tumour cells. The original does this on pixels of 7.8 um, this on
    the outlines themselves. Annotated points are one lesion each.
    """
    grown = annotations.area_of(positive, exclude=exclude).buffer(merge_um / 2 / mpp)
    filled = shapely.union_all([Polygon(part.exterior) for part in shapely.get_parts(grown) if not part.is_empty])
    areas = shapely.get_parts(filled)
    areas = areas[~shapely.is_empty(areas)]
    extents = np.array([_extent(area) for area in areas])
    return Lesions(areas, extents * mpp < itc_um + merge_um, annotations.points_of(positive))


def _extent(area: Polygon) -> float:
    """Major axis of the ellipse with the same second moments, by Green's theorem over the outline."""
    xy = shapely.get_coordinates(shapely.geometry.polygon.orient(area)) - np.array(area.centroid.coords[0])
    (x0, y0), (x1, y1) = xy[:-1].T, xy[1:].T
    cross = x0 * y1 - x1 * y0
    xx, yy = (cross @ (a * a + a * b + b * b) / 12 for a, b in ((x0, x1), (y0, y1)))
    xy_moment = cross @ (x0 * y1 + 2 * x0 * y0 + 2 * x1 * y1 + x1 * y0) / 24
    moments = np.array([[xx, xy_moment], [xy_moment, yy]]) / area.area
    return float(4 * np.sqrt(np.linalg.eigvalsh(moments)[-1]))


def local_maxima(level0_xy: np.ndarray, tile_level0_px: float, scores: np.ndarray) -> np.ndarray:
    """Tiles that no neighbour (sides or corners touching, or overlapping) exceeds: int indices, best first.

    Of equal neighbours the later one stands, so that a plateau gives few detections rather than all of its
    tiles.
    """
    order = np.argsort(scores, kind="stable")
    rank = np.empty(len(order), dtype=int)
    rank[order] = np.arange(len(order))
    from scipy.spatial import cKDTree

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


def froc_curve(
    slides: Sequence[Findings], *, cases: Sequence[str] | None = None, n_boot: int = 0, seed: int = 0
) -> dict:
    """Sensitivity at 1/4, 1/2, 1, 2, 4 and 8 false findings per slide, and their mean, the CAMELYON16 score.

    All slides count, also those without lesions. Between operating points the curve is linear; beyond the
    last one it stays level. With `n_boot` the score has the interval of so many resamples of patients (`cases`, by
    default each slide one); a resample without lesions is left out of it.

    Returns:
        `{"score", "score_ci95": [low, high], "sensitivity": {"0.25": ...}, "n_slides", "n_lesions", "curve":
        {"false_positives_per_slide", "sensitivity"}}`; an interval that is undefined is [None, None].

    Raises:
        MetricError: no lesion on any slide.
    """
    if not sum(len(slide.lesions) for slide in slides):
        raise MetricError("FROC needs at least one lesion", found=f"{len(slides)} slides without one")
    events = _Events.of(slides)
    per_slide, sensitivity = events.curve(np.ones(len(slides)))
    at = np.interp(FALSE_POSITIVES_PER_SLIDE, per_slide, sensitivity)
    steps = np.diff(sensitivity) != 0  # between them the curve is level: as many points as lesions say it all
    corner = np.flatnonzero(np.append(steps, True) | np.append(True, steps))
    groups = np.arange(len(slides)) if cases is None else np.unique(np.asarray(cases), return_inverse=True)[1]
    drawn = resample_counts(groups, n=n_boot, seed=seed)[:, groups]
    scores = np.array([events.score(weights) for weights in drawn])
    return {
        "score": float(at.mean()),
        "score_ci95": percentile_interval(at.mean(), scores).as_dict()["ci95"],
        "sensitivity": {f"{rate:g}": float(s) for rate, s in zip(FALSE_POSITIVES_PER_SLIDE, at, strict=True)},
        "n_slides": len(slides),
        "n_lesions": int(events.lesions.sum()),
        "curve": {"false_positives_per_slide": per_slide[corner].tolist(), "sensitivity": sensitivity[corner].tolist()},
    }


@dataclass(frozen=True)
class _Events:
    """All findings by falling score: their slides, whether they hit a lesion, which is the last of equal scores; and
    the number of lesions of each slide."""

    slide: np.ndarray
    hit: np.ndarray
    last: np.ndarray
    lesions: np.ndarray

    @classmethod
    def of(cls, slides: Sequence[Findings]) -> "_Events":
        hits = [slide.lesions[np.isfinite(slide.lesions)] for slide in slides]
        parts = [(i, kind, own) for i, s in enumerate(slides) for kind, own in ((0, s.false_positives), (1, hits[i]))]
        sizes = [len(own) for *_, own in parts]
        scores = np.concatenate([own for *_, own in parts])
        order = np.argsort(-scores, kind="stable")
        slide, hit = (np.repeat([part[column] for part in parts], sizes)[order] for column in (0, 1))
        last = np.append(np.diff(scores[order]) != 0, True)[: len(order)]
        return cls(slide, hit.astype(bool), np.flatnonzero(last), np.array([len(s.lesions) for s in slides]))

    def curve(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """False findings per slide and sensitivity at every threshold; slides count `weights` (slides,) times."""
        counted = weights[self.slide]
        false, found = (np.cumsum(np.where(self.hit == kind, counted, 0))[self.last] for kind in (False, True))
        return np.append(0.0, false / weights.sum()), np.append(0.0, found / (weights @ self.lesions))

    def score(self, weights: np.ndarray) -> float:
        """The CAMELYON16 score, NaN without lesions."""
        return (
            float(np.interp(FALSE_POSITIVES_PER_SLIDE, *self.curve(weights)).mean())
            if weights @ self.lesions
            else np.nan
        )
