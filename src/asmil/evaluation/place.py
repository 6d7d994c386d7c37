"""Where the attention of a run lies, against annotations: tiles, Dice, lesions, and the slides that were set aside."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import comb
from pathlib import Path

import numpy as np
import pandas as pd
import shapely

from asmil.annotations import (
    Annotations,
    MaskLabels,
    bounds_of,
    find_annotation,
    read_annotations,
    require_classes,
)
from asmil.bags import FeatureStore, Problem
from asmil.errors import AsmilError, MetricError, RunError
from asmil.evaluation.froc import NO_LESIONS, Findings, Lesions, find_lesions, froc_curve, local_maxima, score_findings
from asmil.evaluation.localization import (
    best_dice_threshold,
    dice_at,
    scaled,
    slide_metrics,
    tile_metrics,
    tile_scores,
    tile_truth,
)
from asmil.evaluation.summary import bags_are_patients, own_maps, test_maps
from asmil.runs import Cell, Run, TilePlaces, mean_evidence, model_of, tiles_of

# The annotations of many slides, each fitted to its slide: what does not fit one is a problem of that slide only.

SCALES = (2, 4, 8, 16, 32, 64)
"""Downsamples of usual levels, in which an outline may have been drawn by mistake."""
CHANCE = 1e-4
"""Of marks anywhere on the tiles to lie so often in an upper left part of them: rarer ones are in another unit."""
MOST = 0.9
"""Share of the slides on which it is so; on some, tiles are few and near the corner themselves."""
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
    places: Mapping[str, TilePlaces]
    tiles: dict[str, np.ndarray]
    problems: tuple[Problem, ...]


def read_truth(
    folder: str | Path, slides: Iterable[str], *, wanted: Wanted, places_of: Callable[[str], TilePlaces]
) -> Truth:
    """The annotations in a folder of these slides; a slide without a file is in none of the results.

    Raises:
        MetricError: no slide has an annotation, or none that can be used.
        AnnotationError: no file has one of the classes looked for.
    """
    drawn, places, problems = dict[str, Annotations](), dict[str, TilePlaces](), list[Problem]()
    for slide in slides:
        path = None
        try:
            path = find_annotation(folder, slide)
            if path is not None:
                known = places_of(slide)
                drawn[slide] = read_annotations(
                    path,
                    slide_size=known.stated_size,
                    slide_mpp=known.slide_mpp,
                    bounds=known.bounds,
                    labels=wanted.labels,
                )
                places[slide] = known
        except AsmilError as error:
            found = "" if error.found is None else f" ({error.found})"
            problems.append(Problem(slide, f"{error.what}{found}", error.fix or "", path))
    if not drawn:
        raise MetricError(
            "no slide of the run has an annotation" if not problems else "no annotation of the run can be used",
            found=problems[0] if problems else folder,
            fix=None
            if problems
            else "name the files <slide>.geojson, <slide>.xml or <slide>_mask.tif, in this spelling",
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


def other_scale(annotations: Annotations, places: TilePlaces) -> tuple[str, str] | None:
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


def upper_left(truth: Truth) -> str:
    """What is odd where nothing of nearly all slides is drawn beyond a corner of its tiles; else empty.

    In micrometres, or in pixels of a level, all is nearer to the corner than it should be, and may still lie on tiles.
    """
    reaches = list[float]()
    for slide, drawn in truth.drawn.items():
        last, places = bounds_of(drawn)[2:], truth.places[slide]
        if np.isfinite(last).all():
            reaches.append(float((last / (places.level0_xy.max(0) + places.tile_level0_px)).max()))
    for part in (0.1, 0.3, 0.5, 0.7):
        within = sum(reach <= part for reach in reaches)
        if within >= MOST * len(reaches) and comb(len(reaches), within) * part ** (2 * within) < CHANCE:
            return (
                f"on {within} of {len(reaches)} slides nothing is drawn beyond the upper left {part:.0%} of the tiles' "
                "width and height: is it in level-0 pixels, not in micrometres or pixels of another level?"
            )
    return ""


Maps = dict[str, np.ndarray]

_RULES = (
    "CAMELYON16: outlines grow by 37.5 um and what touches is one lesion; lesions below 275 um in extent are isolated "
    "tumour cells and count neither way; detections are local maxima of attention relative to uniform times the "
    "predicted probability of a class that has lesions; slides without an annotation are free of lesions where their "
    "class is never annotated"
)


def _tiles_by_name(run: Run, store: FeatureStore, *, slide_mpp: float | None = None) -> Callable[[str], TilePlaces]:
    """A function from a slide's name to its tiles, in the features that a run learned from.

    `slide_mpp` is for slides whose features and cohort do not say it.
    """
    cohort = run.cohort
    stated = dict(zip(cohort["slide"], cohort["mpp"], strict=True)) if "mpp" in cohort else {}

    def tiles(slide: str) -> TilePlaces:
        known = (store.info(slide).slide_mpp, stated.get(slide), slide_mpp)
        mpp = next((float(value) for value in known if value and np.isfinite(value)), None)
        found = tiles_of(store, slide, slide_mpp=mpp)
        if found is None or store.stream(slide, slide_mpp=mpp).tile_level0_px is None:
            raise RunError(
                f"the features of {slide} have no level-0 coordinates, so annotations cannot be compared",
                fix="use features with coordinates in pixels, or state --slide-mpp",
            )
        return found

    return tiles


@dataclass(frozen=True)
class _Judged:
    """A slide's part of the FROC, and its detections: (detections, 3) of score and the middle, x and y."""

    slide: str
    case: str
    findings: Findings
    detections: np.ndarray
    itc: int

    @classmethod
    def of(cls, places: TilePlaces, scores: np.ndarray, lesions: Lesions, *, slide: str, case: str) -> "_Judged":
        corners, side = places.level0_xy, places.tile_level0_px
        findings = score_findings(corners, side, scores, lesions=lesions)
        best = local_maxima(corners, side, scores)
        detections = np.column_stack([scores[best], corners[best] + side / 2])
        return cls(slide, case, findings, detections, int(lesions.itc.sum()))


def localise(
    run: Run,
    folder: Path,
    *,
    cells: Sequence[Cell],
    slides: pd.DataFrame,
    wanted: Wanted,
    store: FeatureStore,
    slide_mpp: float | None = None,
    bootstrap: int,
    froc: bool,
) -> dict[str, object]:
    """Compare the test attention with the annotations in a folder.

    `slides` (slide, case, label, and prob_<class> where the task is classification) gets columns `tile_auroc` and
    `tile_ap`. With `froc`, detections are written to `findings.csv` of the run, as CAMELYON16 asked for them
    (confidence in [0, 1], and the middle of a tile in level-0 pixels), beside the slide's name.

    Raises:
        MetricError: no annotation can be used, or no slide has a positive tile.
        AnnotationError: no annotation has the positive classes.
    """
    attention, places_of = test_maps(run, cells), _tiles_by_name(run, store, slide_mpp=slide_mpp)
    truth = read_truth(folder, slides.slide, wanted=wanted, places_of=places_of)
    for slide, labels in truth.tiles.items():
        scores = tile_scores(attention[slide], labels)
        slides.loc[slides.slide == slide, ["tile_auroc", "tile_ap"]] = [scores["auroc"], scores["average_precision"]]
    found = _tile_measures(run, cells, attention, truth, slides=slides, bootstrap=bootstrap)
    found |= _of_evidence(run, cells, truth, slides=slides, store=store, bootstrap=bootstrap)
    if odd := upper_left(truth):
        found["annotations_odd"] = odd
    problems = list(truth.problems)
    if froc:
        judged, unusable = _froc(attention, truth, slides=slides, wanted=wanted, places_of=places_of)
        if not any(len(one.findings.lesions) for one in judged):
            itc = sum(one.itc for one in judged)
            raise MetricError(
                "no slide has a lesion that counts for FROC", found=f"{len(judged)} slides, {itc} isolated tumour cells"
            )
        curve = froc_curve([one.findings for one in judged], cases=[one.case for one in judged], n_boot=bootstrap)
        found["froc"] = curve | {"n_itc": sum(one.itc for one in judged), "rules": _RULES}
        run.write_findings(_findings(judged))
        problems += unusable
    if problems:
        found["annotations_set_aside"] = {problem.slide: str(problem) for problem in problems}
    return found


def _tile_measures(
    run: Run, cells: Sequence[Cell], attention: Maps, truth: Truth, *, slides: pd.DataFrame, bootstrap: int
) -> dict[str, object]:
    """Tile AUROC, AP and Dice of the test attention; Dice at the threshold of each cell's validation slides."""
    cases = dict(zip(slides.slide, slides.case.astype(str), strict=True))
    maps = {slide: attention[slide] for slide in truth.tiles}
    scores = tile_metrics(maps, truth.tiles, cases=cases, n_boot=bootstrap)
    macro, pooled = scores["macro"], scores["pooled"]
    return {
        "tile_auroc": macro["auroc"]["value"],
        "tile_auroc_ci95": macro["auroc"]["ci95"],
        "tile_ap": macro["average_precision"]["value"],
        "tile_ap_ci95": macro["average_precision"]["ci95"],
        "tile_ap_chance": macro["average_precision"]["chance"],
        "tile_slides": macro["n_slides"],
        "tile_auroc_pooled": pooled["auroc"]["value"],
        "tile_ap_pooled": pooled["average_precision"]["value"],
        "tile_ap_pooled_chance": pooled["average_precision"]["chance"],
        "dice": _dice(run, cells, truth.tiles),
    }


def _of_evidence(
    run: Run, cells: Sequence[Cell], truth: Truth, *, slides: pd.DataFrame, store: FeatureStore, bootstrap: int
) -> dict[str, object]:
    """Tile AUROC and AP of the evidence for the class that a slide is of, beside those of attention; or why not."""
    maps, own, model = Maps(), slides.set_index("slide"), model_of(run)
    try:
        for slide in truth.tiles:
            column = run.classes.index(str(own.label[slide])) if run.classes else 0
            maps[slide] = mean_evidence(run, slide, cells=cells, store=store, model=model)[:, column]
    except AsmilError as error:
        return {"evidence_missing": str(error)}
    cases = {str(slide): str(case) for slide, case in own.case.items()}
    scores = slide_metrics(maps, truth.tiles, cases=cases, n_boot=bootstrap)
    for slide, values in maps.items():
        slides.loc[slides.slide == slide, "evidence_tile_ap"] = tile_scores(values, truth.tiles[slide])[
            "average_precision"
        ]
    return {
        "evidence_tile_auroc": scores["auroc"]["value"],
        "evidence_tile_auroc_ci95": scores["auroc"]["ci95"],
        "evidence_tile_ap": scores["average_precision"]["value"],
        "evidence_tile_ap_ci95": scores["average_precision"]["ci95"],
    }


def _dice(run: Run, cells: Sequence[Cell], truth: Mapping[str, np.ndarray]) -> float:
    """Mean Dice of every cell's test maps at the threshold that is best on the same cell's validation maps."""
    values = []
    for cell in cells:
        parts = cell.predictions().set_index("slide").part
        maps = own_maps(cell.attentions()) if bags_are_patients(run) else cell.attentions()
        known = {part: [s for s in parts.index[parts == part] if s in truth] for part in ("val", "test")}
        pairs = {p: ({s: maps[s] for s in names}, {s: truth[s] for s in names}) for p, names in known.items()}
        if all(any(t.any() for t in truths.values()) for _, truths in pairs.values()):
            values.append(dice_at(*pairs["test"], threshold=best_dice_threshold(*pairs["val"])))
    return float(np.mean(values)) if values else float("nan")


def _froc(
    attention: Maps, truth: Truth, *, slides: pd.DataFrame, wanted: Wanted, places_of: Callable[[str], TilePlaces]
) -> tuple[list[_Judged], list[Problem]]:
    """Every slide whose lesions are known, judged; and a problem for every other one."""
    judged, problems, aside = list[_Judged](), list[Problem](), {problem.slide for problem in truth.problems}
    drawn = {slide: _has_lesions(annotations, wanted) for slide, annotations in truth.drawn.items()}
    with_lesions = set(slides.label[[bool(drawn.get(slide)) for slide in slides.slide]])
    columns = [f"prob_{label}" for label in sorted(with_lesions) if f"prob_{label}" in slides]
    chance = slides[columns].sum(axis=1) if columns else pd.Series(1.0, slides.index)
    if "attention_share" in slides:  # relative to even attention over the patient, not over the slide
        chance = chance * slides.attention_share / (slides.tiles / slides.groupby("case").tiles.transform("sum"))
    for row, weight in zip(slides.itertuples(), chance, strict=True):
        slide = str(row.slide)
        if slide in aside:
            continue
        if slide not in drawn and row.label in with_lesions:
            what = f"has no annotation, so its lesions are unknown (others of class {row.label} have some)"
            problems.append(Problem(slide, what, "annotate it, or give a file without features if it has none"))
            continue
        try:
            places = truth.places[slide] if slide in drawn else places_of(slide)
            lesions = _lesions(truth.drawn[slide], places, wanted) if drawn.get(slide) else NO_LESIONS
        except AsmilError as error:
            problems.append(Problem(slide, error.what, error.fix or ""))
            continue
        scores = scaled(attention[slide]) * weight
        judged.append(_Judged.of(places, scores, lesions, slide=slide, case=str(row.case)))
    return judged, problems


def _has_lesions(annotations: Annotations, wanted: Wanted) -> bool:
    area = annotations.area_of(wanted.positive, exclude=wanted.exclude)
    return not area.is_empty or len(annotations.points_of(wanted.positive)) > 0


def _lesions(annotations: Annotations, places: TilePlaces, wanted: Wanted) -> Lesions:
    if places.slide_mpp is None:
        raise MetricError(
            "the extent of lesions is in micrometres, and the um per pixel of the slide is unknown",
            fix="state --slide-mpp, or give the labels an mpp column",
        )
    return find_lesions(annotations, mpp=places.slide_mpp, positive=wanted.positive, exclude=wanted.exclude)


def _findings(judged: list[_Judged]) -> pd.DataFrame:
    """One row per detection; the confidence is the score as a share of the largest, which keeps their order."""
    largest = max((one.detections[:, 0].max(initial=0) for one in judged), default=0.0) or 1.0
    tables = [
        pd.DataFrame(one.detections / [largest, 1, 1], columns=["confidence", "x", "y"]).assign(slide=one.slide)
        for one in judged
    ]
    return pd.concat(tables)[["slide", "confidence", "x", "y"]]
