"""A finished run to numbers: test metrics with intervals, attention statistics, localisation against annotations."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from asmil.attention import diagnostics
from asmil.errors import RunError
from asmil.evaluation._errors import MetricError
from asmil.evaluation.annotations import find_annotation, read_annotations, require_classes
from asmil.evaluation.localization import best_dice_threshold, dice_at, tile_metrics, tile_scores, tile_truth
from asmil.evaluation.summary import evaluate_predictions
from asmil.files import write_json, write_text
from asmil.training.runs import Run

Maps = dict[str, np.ndarray]


def evaluate(
    run: Run,
    *,
    features: Path,
    annotations: Path | None = None,
    positive: Sequence[str] = (),
    min_coverage: float = 0.5,
    bootstrap: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Write `metrics.json` and `predictions.csv` (one out-of-fold row per slide) into the run and return the metrics.

    Test slides are only read here; nothing is chosen on them. Probabilities and attention of a slide are means over
    seeds of the models that never saw it. Intervals resample patients.

    Raises:
        RunError: no finished fold.
        AnnotationError, MetricError: annotations that are unreadable, or that name none of the positive classes.
    """
    table = run.predictions()
    classes = [c.removeprefix("prob_") for c in table.columns if c.startswith("prob_")]
    table["label"] = table["label"].astype(str).map({name: i for i, name in enumerate(classes)})
    summary = evaluate_predictions(table[table.part == "test"], classes, n_boot=bootstrap, seed=seed)
    attention = run.test_attention()
    slides = _slide_rows(table[table.part == "test"], classes, attention)
    dynamics = _dynamics(run)
    place: dict[str, Any] = {}
    if annotations is not None and positive:
        tiles = _tile_reader(features)
        truth = _truth(slides.slide, tiles, annotations=annotations, positive=positive, min_coverage=min_coverage)
        place = _localise(run, attention, truth, slides=slides, bootstrap=bootstrap)
        for slide, labels in truth.items():
            scores = tile_scores(attention[slide], labels)
            row = slides.slide == slide
            slides.loc[row, ["tile_auroc", "tile_ap"]] = [scores["auroc"], scores["average_precision"]]
    metrics = {
        "task": "classification",
        "protocol": _protocol(run, table),
        "folds": sorted({c.fold for c in run.cells()}),
        "seeds": sorted({c.seed for c in run.cells()}),
        "classes": classes,
        **summary,
        "attention": dynamics | _map_statistics(slides) | place,
        "seconds": run.seconds,
    }
    write_json(run.folder / "metrics.json", metrics)
    write_text(run.folder / "predictions.csv", slides.to_csv(index=False))
    return metrics


def _slide_rows(test: pd.DataFrame, classes: list[str], attention: Maps) -> pd.DataFrame:
    """One row per test slide: probabilities averaged over seeds, and what its attention map is like."""
    columns = [f"prob_{name}" for name in classes]
    rows = test.groupby("slide", sort=True).agg(
        {"case": "first", "label": "first", "fold": "first"} | dict.fromkeys(columns, "mean")
    )
    rows = rows.reset_index()
    rows["predicted"] = [classes[i] for i in rows[columns].to_numpy().argmax(1)]
    rows["label"] = [classes[i] for i in rows["label"]]
    statistics: dict[str, Callable[[np.ndarray], Any]] = {
        "tiles": len,
        "entropy": diagnostics.normalized_entropy,
        "effective_tiles": diagnostics.effective_tiles,
        "top1_mass": lambda p: diagnostics.top_mass(p, share=0.01),
    }
    for name, function in statistics.items():
        rows[name] = [float(function(attention[slide])) for slide in rows.slide]
    return rows


def _map_statistics(slides: pd.DataFrame) -> dict[str, float]:
    return {name: float(slides[name].mean()) for name in ("entropy", "effective_tiles", "top1_mass")}


def _dynamics(run: Run) -> dict[str, float]:
    """Mean JSD between successive epochs over the last 10 trained epochs of every cell, and agreement of seeds."""
    last = [cell.log().get("jsd", pd.Series(dtype=float)).dropna().tail(10).mean() for cell in run.cells()]
    by_slide: dict[str, list[np.ndarray]] = {}
    for cell in run.cells():
        test = cell.predictions().query("part == 'test'").slide
        maps = cell.attention()
        for slide in test:
            by_slide.setdefault(slide, []).append(maps[slide])
    pairs = [
        float(diagnostics.jsd(p, q)) for maps in by_slide.values() for i, p in enumerate(maps) for q in maps[i + 1 :]
    ]
    seeds = {"jsd_between_seeds": float(np.mean(pairs))} if pairs else {}
    return {"jsd_last10": float(np.nanmean(last)) if np.isfinite(last).any() else float("nan")} | seeds


def _tile_reader(features: Path) -> Callable[[str], tuple[np.ndarray, float]]:
    """A function from a slide's name to its tiles' corners (level-0 px) and side (level-0 px)."""
    from asmil.bags import open_features

    store = open_features(features)

    def tiles(slide: str) -> tuple[np.ndarray, float]:
        bag = store.load(slide)
        if bag.level0_xy is None or bag.tile_level0_px is None:
            raise RunError(
                f"the features of {slide} have no level-0 coordinates, so annotations cannot be compared",
                fix="leave out --annotations, or use features with coordinates in pixels",
            )
        return bag.level0_xy.numpy(), float(bag.tile_level0_px)

    return tiles


def _truth(
    slides: pd.Series, tiles: Callable[[str], tuple[np.ndarray, float]], *, annotations: Path,
    positive: Sequence[str], min_coverage: float,
) -> Maps:  # fmt: skip
    """Which tiles of each annotated slide are positive."""
    files = {slide: path for slide in slides if (path := find_annotation(annotations, slide)) is not None}
    read = {slide: read_annotations(path) for slide, path in files.items()}
    if not read:
        raise MetricError(
            "no slide of the run has an annotation",
            found=str(annotations),
            fix="name the files <slide>.geojson or <slide>.xml",
        )
    require_classes(read.values(), positive)
    return {
        slide: tile_truth(*tiles(slide), drawn, positive=positive, min_coverage=min_coverage)
        for slide, drawn in read.items()
    }


def _localise(run: Run, attention: Maps, truth: Maps, *, slides: pd.DataFrame, bootstrap: int) -> dict[str, Any]:
    """Tile AUROC, AP and Dice of the test attention; Dice at the threshold of each cell's validation slides."""
    cases = dict(zip(slides.slide, slides.case.astype(str), strict=True))
    maps = {slide: attention[slide] for slide in truth}
    scores = tile_metrics(maps, truth, cases=cases, n_boot=bootstrap)
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
        "dice": _dice(run, truth),
    }


def _dice(run: Run, truth: Maps) -> float:
    """Mean Dice of every cell's test maps at the threshold that is best on the same cell's validation maps."""
    values = []
    for cell in run.cells():
        parts = cell.predictions().set_index("slide").part
        maps = cell.attention()
        known = {part: [s for s in parts.index[parts == part] if s in truth] for part in ("val", "test")}
        pairs = {p: ({s: maps[s] for s in names}, {s: truth[s] for s in names}) for p, names in known.items()}
        if all(any(t.any() for t in truths.values()) for _, truths in pairs.values()):
            values.append(dice_at(*pairs["test"], threshold=best_dice_threshold(*pairs["val"])))
    return float(np.mean(values)) if values else float("nan")


def _protocol(run: Run, table: pd.DataFrame) -> dict[str, Any]:
    """What was done, in facts the report can put into words."""
    cells = run.cells()
    with_anchor = (cells[0].folder / "anchor.safetensors").exists()
    return {
        "folds": len({c.fold for c in cells}),
        "seeds": len({c.seed for c in cells}),
        "slides": int(table.slide.nunique()),
        "patients": int(table.case.nunique()),
        "grouped_by": "patient",
        "epoch_selected_on": "inner validation part",
        "refit_on_training_and_validation": bool(run.identity.get("refit")),
        "test_used": "once, after training",
        "seeds_combined": "mean probability",
        "intervals": "95 % percentile bootstrap over patients",
        "stabilized": with_anchor,
    }
