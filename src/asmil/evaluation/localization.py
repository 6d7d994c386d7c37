"""Whether attention lies where the tumour is: which tiles are positive, and how well it ranks them.

Attention sums to one over a slide, so its values depend on the number of tiles. Wherever slides are put
together it is taken relative to uniform attention, `attention * tiles` (1 = as much as any other tile);
`rank` is the percentile among the slide's tiles.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from asmil.annotations import Annotations
from asmil.errors import MetricError
from asmil.evaluation.intervals import Interval, bootstrap_ci, percentile_interval, resample_counts
from asmil.evaluation.metrics import auroc, average_precision
from asmil.tasks import mean_ranks

Maps = Mapping[str, np.ndarray]

_BOXES_AT_ONCE = 32


def tile_truth(
    level0_xy: np.ndarray,
    tile_level0_px: float,
    annotations: Annotations,
    *,
    positive: Sequence[str],
    exclude: Sequence[str] = (),
    min_coverage: float = 0.5,
) -> np.ndarray:
    """Which tiles are positive, bool (tiles,).

    A tile is positive when the polygons of the positive classes cover at least `min_coverage` of its area
    (exactly, not by sampling), or when a point of a positive class lies in it. Tiles are half-open boxes,
    so that a point on a shared edge belongs to one of two neighbours; overlapping tiles each count.
    Polygons of the classes in `exclude` are cut out first (CAMELYON16 calls such holes group `_2`). Class
    names match in any letter case; a class that this slide lacks is no error here, see `require_classes`.

    Raises:
        MetricError: positions that are not (tiles, 2), or a share outside (0, 1].
    """
    level0_xy = np.asarray(level0_xy, dtype=np.float64)
    if level0_xy.ndim != 2 or level0_xy.shape[1] != 2 or not 0 < min_coverage <= 1:
        raise MetricError(
            "tile truth needs positions (tiles, 2) and a coverage in (0, 1]",
            found=f"positions {level0_xy.shape}, coverage {min_coverage}",
        )
    boxes = shapely.box(*level0_xy.T, *(level0_xy + tile_level0_px).T)
    covered = _covered_area(boxes, annotations.area_of(positive, exclude=exclude)) / tile_level0_px**2
    truth = covered >= min_coverage - 1e-9  # clipping moves corners by a rounding error
    truth[points_in_tiles(level0_xy, tile_level0_px, annotations.points_of(positive))[0]] = True
    return truth


def points_in_tiles(level0_xy: np.ndarray, tile_level0_px: float, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every pair of a tile and a point in it (half-open boxes): int tiles (pairs,) and points (pairs,)."""
    boxes = shapely.box(*np.asarray(level0_xy).T, *(np.asarray(level0_xy) + tile_level0_px).T)
    tile, point = shapely.STRtree(shapely.points(points)).query(boxes)
    offset = points[point] - np.asarray(level0_xy)[tile]
    inside = ((offset >= 0) & (offset < tile_level0_px)).all(axis=1)
    return tile[inside], point[inside]


def _covered_area(boxes: np.ndarray, area: BaseGeometry) -> np.ndarray:
    """Area (boxes,) of each box inside `area`: halves both, box by box, until they are small.

    Cutting an outline of V corners by each of n boxes would cost n * V; this costs about V log n.
    """
    if area.is_empty or not len(boxes):
        return np.zeros(len(boxes))
    if len(boxes) <= _BOXES_AT_ONCE:
        return shapely.area(shapely.intersection(boxes, area))
    bounds = shapely.bounds(boxes)
    left, top, right, bottom = shapely.total_bounds(boxes)
    order = np.argsort(bounds[:, 0 if right - left > bottom - top else 1], kind="stable")
    result = np.empty(len(boxes))
    for half in np.array_split(order, 2):
        result[half] = _covered_area(boxes[half], shapely.make_valid(_clip(area, boxes[half])))
    return result


def _clip(area: BaseGeometry, boxes: np.ndarray) -> BaseGeometry:
    return shapely.intersection(area, shapely.box(*shapely.total_bounds(boxes)))


def scaled(attention: np.ndarray, *, scale: str = "relative") -> np.ndarray:
    """Attention (tiles,) made comparable: `relative` to uniform, or percentile `rank` in (0, 1].

    Raises:
        MetricError: another scale, or attention that is negative, not finite or zero everywhere.
    """
    attention = np.asarray(attention, dtype=np.float64)
    if not (np.isfinite(attention).all() and (attention >= 0).all() and attention.any()):
        raise MetricError(
            "attention must be finite, not negative, and not zero everywhere",
            found=f"{len(attention)} tiles, min {attention.min(initial=0):.4g}, sum {attention.sum():.4g}",
            fix="pass normalised attention, not scores",
        )
    if scale == "relative":
        return attention / attention.mean()
    if scale == "rank":
        return mean_ranks(attention) / len(attention)
    raise MetricError(f"unknown scale {scale!r} of attention", fix="relative or rank")


def tile_scores(attention: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Tile AUROC and average precision of one slide, the prevalence, and the average precision of chance.

    AUROC and average precision are nan where the slide's tiles are all of one class.
    """
    prob = _two_columns(np.asarray(attention, dtype=np.float64))
    y = np.asarray(truth).astype(int)
    return {
        "auroc": auroc(y, prob),
        "average_precision": average_precision(y, prob),
        "prevalence": float(y.mean()),
        "chance_average_precision": chance_average_precision(len(y), int(y.sum())),
    }


def chance_average_precision(n_tiles: int, n_positive: int) -> float:
    """Expected average precision of a random order of tiles, exact (Bestgen 2015).

    It exceeds the prevalence, and by much on small slides: 20 tiles with 4 positive have .309, not .2.
    (Constant attention, all tied, has exactly the prevalence.)
    """
    if n_tiles < 2:
        return float(n_positive > 0)
    harmonic = float((1 / np.arange(1, n_tiles + 1)).sum())
    return (harmonic + (n_positive - 1) / (n_tiles - 1) * (n_tiles - harmonic)) / n_tiles if n_positive else 0.0


def tile_metrics(
    attention: Maps,
    truth: Maps,
    *,
    cases: Mapping[str, str] | None = None,
    n_boot: int = 1000,
    seed: int = 0,
) -> dict[str, dict]:
    """Tile AUROC and average precision of many slides, in both definitions in use, beside chance.

    `attention` and `truth` map slides to (tiles,) arrays. `macro`: the score of each slide that has tiles
    of both classes, averaged. `pooled`: all tiles of the positive slides together, attention relative to
    uniform. The two differ, and so do their prevalences and chance levels (`chance_average_precision`).
    Intervals resample patients (`cases`, by default each slide one).

    Returns:
        `{"macro"|"pooled": {"auroc"|"average_precision": {"value", "ci95", "chance"}, "prevalence",
        "n_slides", "n_tiles"}}`; undefined numbers are None.

    Raises:
        MetricError: slides or lengths that do not match, or no slide with a positive tile.
    """
    slides = _positive_slides(attention, truth)
    macro = slide_metrics(attention, truth, cases=cases, n_boot=n_boot, seed=seed)
    y = np.concatenate([np.asarray(truth[s]).astype(int) for s in slides])
    prob = _two_columns(np.concatenate([scaled(attention[s]) for s in slides]))
    case = np.repeat([str(cases[s]) if cases else s for s in slides], [len(truth[s]) for s in slides])
    pooled: dict = {"prevalence": float(y.mean()), "n_slides": len(slides), "n_tiles": len(y)}
    for name, chance in (("auroc", 0.5), ("average_precision", chance_average_precision(len(y), int(y.sum())))):
        whole = bootstrap_ci(name, y, prob, groups=case, n=n_boot, seed=seed)
        pooled[name] = whole.as_dict() | {"chance": chance}
    return {"macro": macro, "pooled": pooled}


def slide_metrics(
    scores: Maps,
    truth: Maps,
    *,
    cases: Mapping[str, str] | None = None,
    n_boot: int = 1000,
    seed: int = 0,
) -> dict:
    """The `macro` part of `tile_metrics`: for scores (tiles,) of any kind, as slides are not put together.

    Raises:
        MetricError: as `tile_metrics`.
    """
    slides = _positive_slides(scores, truth)
    case = np.array([str(cases[s]) if cases else s for s in slides])
    per_slide = [tile_scores(scores[s], truth[s]) for s in slides]
    mixed = np.array([np.isfinite(one["auroc"]) for one in per_slide])
    prevalence, chance = (
        np.array([one[key] for one in per_slide])[mixed] for key in ("prevalence", "chance_average_precision")
    )
    macro: dict = {"prevalence": _mean(prevalence), "n_slides": int(mixed.sum())}
    macro["n_tiles"] = int(np.array([len(truth[s]) for s in slides])[mixed].sum())
    for name, level in (("auroc", 0.5), ("average_precision", _mean(chance))):
        values = np.array([one[name] for one in per_slide])[mixed]
        macro[name] = _mean_interval(values, case[mixed], n_boot=n_boot, seed=seed).as_dict() | {"chance": level}
    return macro


def dice_at(attention: Maps, truth: Maps, *, threshold: float, scale: str = "relative") -> float:
    """Dice of the tiles with scaled attention >= `threshold`, averaged over slides with a positive tile.

    Raises:
        MetricError: as `tile_metrics`.
    """
    return float(_dice(attention, truth, np.array([threshold]), scale=scale)[0])


def best_dice_threshold(attention: Maps, truth: Maps, *, scale: str = "relative") -> float:
    """The threshold of largest mean Dice among 200 quantiles of the attention: VALIDATION slides only.

    Raises:
        MetricError: as `tile_metrics`.
    """
    values = np.concatenate([scaled(attention[s], scale=scale) for s in _positive_slides(attention, truth)])
    candidates = np.unique(np.quantile(values, np.linspace(0, 1, 200)))
    return float(candidates[_dice(attention, truth, candidates, scale=scale).argmax()])


def _dice(attention: Maps, truth: Maps, thresholds: np.ndarray, *, scale: str) -> np.ndarray:
    total = np.zeros(len(thresholds))
    slides = _positive_slides(attention, truth)
    for slide in slides:
        values, y = scaled(attention[slide], scale=scale), np.asarray(truth[slide]).astype(bool)
        chosen = len(values) - np.searchsorted(np.sort(values), thresholds)
        hits = y.sum() - np.searchsorted(np.sort(values[y]), thresholds)
        total += 2 * hits / (chosen + y.sum())
    return total / len(slides)


def _positive_slides(attention: Maps, truth: Maps) -> list[str]:
    different = sorted(set(attention) ^ set(truth))
    if different:
        raise MetricError("attention and truth are of different slides", found=", ".join(different[:5]))
    for slide in attention:
        if np.shape(attention[slide]) != np.shape(truth[slide]) or np.ndim(attention[slide]) != 1:
            raise MetricError(
                f"attention and truth of slide {slide} have different tiles",
                found=f"{np.shape(attention[slide])} and {np.shape(truth[slide])}",
            )
    slides = sorted(slide for slide in truth if np.any(truth[slide]))
    if not slides:
        fix = "smaller tiles, or a lower --min-coverage: the share of a tile that has to be annotated"
        raise MetricError("no slide has a positive tile", found=f"{len(truth)} slides without one", fix=fix)
    return slides


def _two_columns(scores: np.ndarray) -> np.ndarray:
    return np.stack([-scores, scores], axis=1)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _mean_interval(values: np.ndarray, case: np.ndarray, *, n_boot: int, seed: int) -> Interval:
    if not len(values):
        return Interval(np.nan, np.nan, np.nan, 0, n_boot)
    weights = resample_counts(case, n=n_boot, seed=seed)[:, np.unique(case, return_inverse=True)[1]]
    return percentile_interval(_mean(values), weights @ values / weights.sum(1))
