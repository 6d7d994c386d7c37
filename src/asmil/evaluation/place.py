"""Where the attention of a run lies, against annotations: tiles, Dice, lesions, and the slides that were set aside."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from asmil.bags import Problem
from asmil.errors import AsmilError, RunError
from asmil.evaluation._errors import MetricError
from asmil.evaluation.annotations import Annotations
from asmil.evaluation.by_patient import bags_are_patients, own_maps
from asmil.evaluation.froc import NO_LESIONS, Findings, Lesions, find_lesions, froc_curve, local_maxima, score_findings
from asmil.evaluation.localization import best_dice_threshold, dice_at, scaled, tile_metrics, tile_scores
from asmil.evaluation.truth import SlidePlaces, Truth, Wanted, read_truth, stated_size
from asmil.files import write_text
from asmil.training.runs import Run

Maps = dict[str, np.ndarray]
FINDINGS = "findings.csv"

_RULES = (
    "CAMELYON16: outlines grow by 37.5 um and what touches is one lesion; lesions below 275 um in extent are isolated "
    "tumour cells and count neither way; detections are local maxima of attention relative to uniform times the "
    "predicted probability of a class that has lesions; slides without an annotation are free of lesions where their "
    "class is never annotated"
)


@dataclass(frozen=True)
class Places:
    """What annotations are compared with: a run's features, and the um per pixel where features and cohort lack it."""

    features: Path
    slide_mpp: float | None = None

    def of(self, run: Run) -> Callable[[str], SlidePlaces]:
        """A function from a slide's name to its tiles."""
        from asmil.bags import open_features

        store, stated = open_features(self.features), _stated_mpp(run)

        def places(slide: str) -> SlidePlaces:
            info = store.info(slide)
            mpp = info.slide_mpp or stated.get(slide) or self.slide_mpp
            bag = store.stream(slide, slide_mpp=mpp)
            corners = bag.level0_xy
            if corners is None or bag.tile_level0_px is None:
                raise RunError(
                    f"the features of {slide} have no level-0 coordinates, so annotations cannot be compared",
                    fix="use features with coordinates in pixels, or state --slide-mpp",
                )
            return SlidePlaces(corners.numpy(), float(bag.tile_level0_px), stated_size(info), mpp)

        return places


@dataclass(frozen=True)
class _Judged:
    """A slide's part of the FROC, and its detections: (detections, 3) of score and the middle, x and y."""

    slide: str
    case: str
    findings: Findings
    detections: np.ndarray
    itc: int

    @classmethod
    def of(cls, places: SlidePlaces, scores: np.ndarray, lesions: Lesions, *, slide: str, case: str) -> "_Judged":
        corners, side = places.level0_xy, places.tile_level0_px
        findings = score_findings(corners, side, scores, lesions=lesions)
        best = local_maxima(corners, side, scores)
        detections = np.column_stack([scores[best], corners[best] + side / 2])
        return cls(slide, case, findings, detections, int(lesions.itc.sum()))


def localise(
    run: Run, folder: Path, *, slides: pd.DataFrame, wanted: Wanted, places: Places, bootstrap: int, froc: bool
) -> dict[str, Any]:
    """Compare the test attention with the annotations in a folder.

    `slides` (slide, case, label, and prob_<class> where the task is classification) gets columns `tile_auroc` and
    `tile_ap`. With `froc`, detections are written to `findings.csv` of the run, as CAMELYON16 asked for them
    (confidence in [0, 1], and the middle of a tile in level-0 pixels), beside the slide's name.

    Raises:
        MetricError: no annotation can be used, or no slide has a positive tile.
        AnnotationError: no annotation has the positive classes.
    """
    attention, places_of = run.test_attention(), places.of(run)
    attention = own_maps(attention) if bags_are_patients(run) else attention
    truth = read_truth(folder, slides.slide, wanted=wanted, places_of=places_of)
    for slide, labels in truth.tiles.items():
        scores = tile_scores(attention[slide], labels)
        slides.loc[slides.slide == slide, ["tile_auroc", "tile_ap"]] = [scores["auroc"], scores["average_precision"]]
    found, problems = _tile_measures(run, attention, truth, slides=slides, bootstrap=bootstrap), list(truth.problems)
    if froc:
        judged, unusable = _froc(attention, truth, slides=slides, wanted=wanted, places_of=places_of)
        if not any(len(one.findings.lesions) for one in judged):
            itc = sum(one.itc for one in judged)
            raise MetricError(
                "no slide has a lesion that counts for FROC", found=f"{len(judged)} slides, {itc} isolated tumour cells"
            )
        curve = froc_curve([one.findings for one in judged], cases=[one.case for one in judged], n_boot=bootstrap)
        found["froc"] = curve | {"n_itc": sum(one.itc for one in judged), "rules": _RULES}
        _write_findings(run.folder / FINDINGS, judged)
        problems += unusable
    if problems:
        found["annotations_set_aside"] = {problem.slide: str(problem) for problem in problems}
    return found


def _stated_mpp(run: Run) -> dict[str, float]:
    """The um per level-0 pixel that the cohort's table says."""
    path = run.folder / "cohort.csv"
    table = pd.read_csv(path, dtype={"slide": str}, na_filter=True, keep_default_na=False, na_values={"mpp": [""]})
    return dict(zip(table.slide, table.mpp.astype(float), strict=True)) if "mpp" in table else {}


def _tile_measures(run: Run, attention: Maps, truth: Truth, *, slides: pd.DataFrame, bootstrap: int) -> dict[str, Any]:
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
        "dice": _dice(run, truth.tiles),
    }


def _dice(run: Run, truth: Mapping[str, np.ndarray]) -> float:
    """Mean Dice of every cell's test maps at the threshold that is best on the same cell's validation maps."""
    values = []
    for cell in run.cells():
        parts = cell.predictions().set_index("slide").part
        maps = own_maps(cell.attention()) if bags_are_patients(run) else cell.attention()
        known = {part: [s for s in parts.index[parts == part] if s in truth] for part in ("val", "test")}
        pairs = {p: ({s: maps[s] for s in names}, {s: truth[s] for s in names}) for p, names in known.items()}
        if all(any(t.any() for t in truths.values()) for _, truths in pairs.values()):
            values.append(dice_at(*pairs["test"], threshold=best_dice_threshold(*pairs["val"])))
    return float(np.mean(values)) if values else float("nan")


def _froc(
    attention: Maps, truth: Truth, *, slides: pd.DataFrame, wanted: Wanted, places_of: Callable[[str], SlidePlaces]
) -> tuple[list[_Judged], list[Problem]]:
    """Every slide whose lesions are known, judged; and a problem for every other one."""
    judged, problems, aside = list[_Judged](), list[Problem](), {problem.slide for problem in truth.problems}
    drawn = {slide: _has_lesions(annotations, wanted) for slide, annotations in truth.drawn.items()}
    with_lesions = set(slides.label[slides.slide.map(drawn).fillna(False).astype(bool)])
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


def _lesions(annotations: Annotations, places: SlidePlaces, wanted: Wanted) -> Lesions:
    if places.slide_mpp is None:
        raise MetricError(
            "the extent of lesions is in micrometres, and the um per pixel of the slide is unknown",
            fix="state --slide-mpp, or give the labels an mpp column",
        )
    return find_lesions(annotations, mpp=places.slide_mpp, positive=wanted.positive, exclude=wanted.exclude)


def _write_findings(path: Path, judged: list[_Judged]) -> None:
    """One row per detection; the confidence is the score as a share of the largest, which keeps their order."""
    largest = max((one.detections[:, 0].max(initial=0) for one in judged), default=0.0) or 1.0
    tables = [
        pd.DataFrame(one.detections / [largest, 1, 1], columns=["confidence", "x", "y"]).assign(slide=one.slide)
        for one in judged
    ]
    table = pd.concat(tables)[["slide", "confidence", "x", "y"]]
    write_text(path, table.to_csv(index=False, float_format="%.6g"))
