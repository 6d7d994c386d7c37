"""A finished run to numbers: test metrics with intervals, attention statistics, localisation against annotations."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from asmil.annotations import MaskLabels
from asmil.attention import effective_tiles, jsd, normalized_entropy, top_mass
from asmil.bags import FeatureStore, open_features
from asmil.errors import AsmilError
from asmil.evaluation.calibration import against_the_rest, operating_point, slide_thresholds
from asmil.evaluation.place import Wanted, localise
from asmil.evaluation.summary import (
    attention_shares,
    averaged,
    bags_are_patients,
    evaluate_predictions,
    one_row_per_patient,
    own_maps,
    patient_summary,
    test_maps,
)
from asmil.files import Facts
from asmil.runs import Cell, Run, even, model_of

if TYPE_CHECKING:
    from asmil.tasks import Task


def evaluate(
    run: Run,
    *,
    features: Path | None = None,
    features_encoder: str | None = None,
    annotations: Path | None = None,
    positive: Sequence[str] = (),
    exclude: Sequence[str] = (),
    min_coverage: float = 0.5,
    labels: MaskLabels | None = None,
    slide_mpp: float | None = None,
    froc: bool = False,
    min_sensitivity: float | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
    partial: bool = False,
) -> Facts:
    """Write metrics and predictions (one out-of-fold row per slide) into the run and return the metrics.

    Test slides are only read here; nothing is chosen on them. Probabilities and attention of a slide are means over
    seeds of the models that never saw it. Intervals resample patients. Annotations that cannot be used are named under
    `attention: annotations_set_aside`; `froc` writes a table of all detections, other tasks one of patients' means.

    Args:
        features, features_encoder: where the features are and which of those there, if not as the run found them.
        exclude, labels: classes cut out of the positive ones; what label images among the annotations mean.
        min_sensitivity: what the operating point has to find of the positive validation slides (`choose_threshold`).
        slide_mpp: um per level-0 pixel of slides whose features and cohort do not say it.
        partial: of an unfinished run, take its finished models that have the same seeds in each fold, and say so.

    Raises:
        RunError: models are missing or broken without `partial`, or features that are read changed after training.
        AnnotationError, MetricError: no annotation that can be used, or none of the positive classes.
    """
    sentence = run.require_whole(partial=partial, deep=True)
    cells, task = even(run.cells()), run.task
    table = pd.concat([cell.predictions() for cell in cells], ignore_index=True)
    summary = _summary(run, table, task, min_sensitivity=min_sensitivity, bootstrap=bootstrap, seed=seed)
    slides = _slide_rows(run, cells, table[table.part == "test"], task, point=summary.get("operating_point"))
    place, at = Facts(), features or run.settings.features or run.features
    opened = functools.partial(open_features, at, encoder=features_encoder or run.settings.features_encoder)
    if annotations is not None and positive:
        wanted, store = Wanted(positive, exclude, min_coverage, labels or MaskLabels()), opened()
        run.require_features(slides.slide, store=store)
        place = localise(
            run,
            annotations,
            cells=cells,
            slides=slides,
            wanted=wanted,
            store=store,
            slide_mpp=slide_mpp,
            bootstrap=bootstrap,
            froc=froc,
        )
    falls = _deletion(run, cells, slides, features=opened if at.exists() else None)
    attention = _dynamics(run, cells) | {name: float(slides[name].mean()) for name in OF_MAPS} | place | falls
    metrics = _head(run, cells, table, partial=sentence) | summary | {"attention": attention, "seconds": run.seconds}
    run.write_results(metrics, slides, None if task is None else _averaged(slides, "case", task))
    return metrics


def _summary(
    run: Run, table: pd.DataFrame, task: "Task | None", *, min_sensitivity: float | None, bootstrap: int, seed: int
) -> Facts:
    """The metrics of bags, slides or patients; of slides also by patient, where patients have several."""
    options, bags = {"n_boot": bootstrap, "seed": seed}, table
    if bags_are_patients(run):
        bags = one_row_per_patient(table)
    if task is not None:
        from asmil.evaluation.tasks import evaluate_task  # scipy.stats, which takes half as long to import as torch

        return {"target": list(task.columns), **evaluate_task(bags, task, **options)}
    classes = run.classes
    coded = bags.assign(label=bags["label"].map({name: i for i, name in enumerate(classes)}))
    summary = {"classes": classes, **evaluate_predictions(coded, classes, **options)}
    if len(classes) == 2:
        summary["operating_point"] = operating_point(coded, classes, min_sensitivity=min_sensitivity, **options)
    else:
        summary["each_class"] = against_the_rest(coded[coded.part == "test"], classes, **options)
    if bags_are_patients(run):
        return summary | {"n_slides": int(table[table.part == "test"].slide.nunique())}
    patients = patient_summary(coded[coded.part == "test"], classes, **options)
    return summary if patients is None else summary | {"patients": patients}


def _averaged(table: pd.DataFrame, key: str, task: "Task | None") -> pd.DataFrame:
    """One row per slide or case: probabilities, or the values of a task, are means."""
    values = [c for c in map(str, table) if c.startswith("prob_")] if task is None else list(task.value_names)
    targets = [] if task is None else [f"target_{name}" for name in task.target_names]
    first = [name for name in ("case", "label", "fold", *targets) if name != key]
    return averaged(table, [key], first=first, mean=values)


def _slide_rows(
    run: Run, cells: Sequence[Cell], test: pd.DataFrame, task: "Task | None", *, point: Facts | None
) -> pd.DataFrame:
    """One row per test slide: predictions averaged over seeds, and what its attention map is like.

    Of a patient's bag, the map is that of the slide by itself; `attention_share` is what it has of the patient's.
    `threshold` is where the positive class begins by the operating `point`.
    """
    rows, attention = _averaged(test, "slide", task), test_maps(run, cells)
    if bags_are_patients(run):
        shares = attention_shares(run.test_attention(cells), rows.set_index("slide").case)
        rows["attention_share"] = shares.to_numpy()
    if task is None:
        columns = [c for c in map(str, rows) if c.startswith("prob_")]
        rows["predicted"] = [columns[i].removeprefix("prob_") for i in rows[columns].to_numpy().argmax(1)]
    if point is not None:
        rows["threshold"] = slide_thresholds(test, point["thresholds"])[rows.slide].to_numpy()
    statistics: dict[str, Callable[[np.ndarray], np.ndarray | float]] = {
        "tiles": len,
        "entropy": normalized_entropy,
        "effective_tiles": effective_tiles,
        "top1_mass": lambda p: top_mass(p, share=0.01),
    }
    for name, function in statistics.items():
        rows[name] = [float(function(attention[slide])) for slide in rows.slide]
    return rows


OF_MAPS = ("entropy", "effective_tiles", "top1_mass")
"""What is known of the map of each slide, and told as a mean of slides."""
TAKEN = (0.01, 0.02, 0.05, 0.1, 0.2)
"""Shares of the tiles that are taken away."""
TAKEN_FROM = 20
"""Slides at most: each costs three orders times five passes, and one for its evidence."""


def _deletion(
    run: Run, cells: Sequence[Cell], slides: pd.DataFrame, *, features: Callable[[], FeatureStore] | None
) -> Facts:
    """How the predicted class's logit falls when the first tiles by evidence, by attention and by lot are taken away.

    Of some slides, evenly through the table, each by one model that was tested on it; less the mean over the classes.
    """
    if not run.classifies_slides or features is None:
        return {}
    import torch  # with the models: what is kept of their predictions is numbers

    from asmil.models import deletion, evidence
    from asmil.training import predict

    try:
        opened = features()
    except AsmilError as error:
        return {"deletion_missing": str(error)}
    names = [str(slide) for slide in slides.slide if slide in opened]
    chosen = np.unique(np.linspace(0, len(names) - 1, TAKEN_FROM).round().astype(int)) if names else np.empty(0, int)
    run.require_features([names[number] for number in chosen], store=opened)
    read, falls = model_of(run), dict[str, list[np.ndarray]]()
    try:
        for number in chosen:
            slide = names[number]
            cell = next(cell for cell in run.tested_on(slide) if cell in cells)
            bag = opened.load(slide, slide_mpp=run.slide(slide).mpp)
            if len(bag) < 2 or (attention := cell.attention(slide)) is None:
                continue
            model = read(cell, bag.features.shape[1])
            said = predict(model, [bag])[0].probabilities.argmax()
            by = {"evidence": evidence(model, bag).array[:, said], "attention": attention}
            by["random"] = np.random.default_rng(number).random(len(bag))
            for name, values in by.items():
                order = torch.from_numpy(np.argsort(-values, kind="stable"))
                falls.setdefault(name, []).append(deletion(model, bag, order, shares=TAKEN)[:, said].numpy())
    except AsmilError as error:
        return {"deletion_missing": str(error)}
    if not falls:
        return {}
    means: Facts = {name: np.mean(several, axis=0).astype(float).tolist() for name, several in falls.items()}
    return {"deletion": {"share": list(TAKEN), "slides": len(falls["random"])} | means}


def _dynamics(run: Run, cells: Sequence[Cell]) -> dict[str, float]:
    """Mean JSD between successive epochs over the last 10 trained epochs of every cell, and agreement of seeds."""
    logged = [cell.logged("jsd") for cell in cells]
    last = np.array([known[-10:].mean() if len(known := own[np.isfinite(own)]) else np.nan for own in logged])
    by_slide: dict[str, list[np.ndarray]] = {}
    for cell in cells:
        test = cell.predictions().query("part == 'test'").slide
        maps = own_maps(cell.attentions()) if bags_are_patients(run) else cell.attentions()
        for slide in test:
            by_slide.setdefault(slide, []).append(maps[slide])
    pairs = [float(jsd(p, q)) for maps in by_slide.values() for i, p in enumerate(maps) for q in maps[i + 1 :]]
    seeds = {"jsd_between_seeds": float(np.mean(pairs))} if pairs else {}
    return {"jsd_last10": float(np.nanmean(last)) if np.isfinite(last).any() else float("nan")} | seeds


def _head(run: Run, cells: Sequence[Cell], table: pd.DataFrame, *, partial: str) -> dict[str, object]:
    """What the numbers are of; of an unfinished run it is said, and whether all of its finished models are in them."""
    note = f"Numbers are of {len(cells)} of them, which have the same seeds in every fold."
    said = {"partial": partial, "partial_note": note} if partial else {}
    if len(cells) == len(run.cells()):
        said.pop("partial_note", None)
    return {
        "task": run.task_name,
        **said,
        "protocol": _protocol(run, cells, table),
        "folds": sorted({cell.fold for cell in cells}),
        "seeds": sorted({cell.seed for cell in cells}),
    }


def _protocol(run: Run, cells: Sequence[Cell], table: pd.DataFrame) -> dict[str, object]:
    """What was done, in facts the report can put into words."""
    return {
        "folds": len({c.fold for c in cells}),
        "seeds": len({c.seed for c in cells}),
        "slides": int(table.slide.nunique()),
        "patients": int(table.case.nunique()),
        "grouped_by": "patient",
        "bag": "patient" if bags_are_patients(run) else "slide",
        "epoch_selected_on": "inner validation part",
        "refit_on_training_and_validation": run.settings.refit,
        "test_used": "once, after training",
        "seeds_combined": "mean probability" if run.task is None else "mean of the predicted values",
        "intervals": "95 % percentile bootstrap over patients",
        "stabilized": cells[0].stabilized,
    }
