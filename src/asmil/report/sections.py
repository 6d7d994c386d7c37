"""The tables and figures of the report, as plain values for the template."""

from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from asmil.figures import curves
from asmil.figures.export import figure_svg
from asmil.report.inputs import RunFiles
from asmil.report.measures import rate_curve, reliability

METRIC_NAMES = {
    "auroc": "AUROC",
    "average_precision": "Average precision",
    "macro_f1": "Macro F1",
    "balanced_accuracy": "Balanced accuracy",
    "accuracy": "Accuracy",
    "mcc": "Matthews correlation",
    "brier": "Brier score (lower is better)",
    "ece": "Calibration error (lower is better)",
    "log_loss": "Log loss (lower is better)",
}
ATTENTION_NAMES = {
    "jsd_last10": (
        "JSD, last 10 epochs",
        "change of a map from one epoch to the next; 0 is settled, ln 2 = 0.693 most",
    ),
    "jsd_between_seeds": ("JSD between seeds", "difference of the maps of two trainings on the same slide; 0 is none"),
    "entropy": ("Normalised entropy", "spread of attention over a slide; 1 is even on all tiles, 0 is on one tile"),
    "effective_tiles": ("Effective tiles", "as many tiles with even attention would be as spread out; mean of slides"),
    "top1_mass": ("Mass on the top 1 %", "share of attention on the strongest hundredth of tiles; 0.01 would be even"),
    "tile_auroc": ("Tile AUROC", "ranking of annotated tiles first, within slides, mean of slides; 0.5 is chance"),
    "tile_ap": ("Tile average precision", "the same, stricter where annotated tiles are rare; mean of slides"),
    "tile_ap_chance": ("Chance for that", "share of annotated tiles, mean of slides"),
    "tile_slides": ("Slides in these", "annotated slides that have tiles inside and outside of the annotation"),
    "tile_auroc_pooled": ("Tile AUROC, pooled", "the tiles of all annotated slides in one ranking"),
    "tile_ap_pooled": ("Tile average precision, pooled", "the tiles of all annotated slides in one ranking"),
    "tile_ap_pooled_chance": ("Chance for that", "share of annotated tiles among all tiles"),
    "dice": ("Dice", "overlap of the thresholded map with the annotation; the threshold is from validation slides"),
    "froc": ("FROC", "lesions found at few false positives per slide"),
}


def plural(n: int, word: str) -> str:
    """ "1 slide", "2 slides", "1,200 slides"."""
    return f"{n:,} {word}{'' if n == 1 else 's'}"


def number(value: Any, digits: int = 3) -> str:
    """A number for a table: fixed digits below 10, fewer above; a dash for what is not known.

    What fixed digits would show as 0 is written as 3.2e-06.
    """
    value = pd.to_numeric(value, errors="coerce") if not isinstance(value, dict) else value.get("value")
    if value is None or not np.isfinite(value):
        return "–"
    if float(value).is_integer() and abs(value) >= 1:
        return f"{int(value):,}"
    if 0 < abs(value) < 0.5 * 10**-digits:
        return f"{value:.1e}"
    return f"{value:.{digits}f}" if abs(value) < 10 else f"{value:,.1f}"


def near_one(value: Any) -> str:
    """`number` with up to 6 digits where 3 would show 1: the entropy of nearly even attention."""
    short = number(value)
    return number(value, 6).rstrip("0").rstrip(".") if short == "1.000" else short


def plain(value: Any) -> str:
    """A setting as text: lists with commas, nothing as a dash."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(plain(v) for v in value)
    if isinstance(value, dict):
        return ", ".join(f"{k} {plain(v)}" for k, v in value.items())
    return str(value)


def failures(files: RunFiles) -> list[dict[str, str]]:
    """Slides that are not in the results: name, result (skipped, failed), stage, reason."""
    table = files.failures.rename(columns={"slide": "name"})
    return [{str(k): str(v) for k, v in row.items()} for row in table.to_dict("records")]


def cohort(files: RunFiles) -> list[dict[str, Any]]:
    """Slides and patients by class."""
    table = files.cohort if not files.cohort.empty else files.predictions
    tested = files.predictions["label"].value_counts()
    rows = []
    for label, group in table.groupby("label", sort=True):
        cases = group["case"].nunique() if "case" in group else len(group)
        rows.append({"label": label, "slides": len(group), "cases": cases, "tested": int(tested.get(label, 0))})
    return rows


def metric_table(files: RunFiles) -> dict[str, Any]:
    """Every metric with its interval, the pooled value, what a single seed reaches, and its value in each fold."""
    metrics = files.metrics
    per_fold = metrics.get("per_fold") or []
    pooled = metrics.get("pooled") if metrics.get("test_is") == "mean_of_folds" else None
    seeds = metrics.get("per_seed") or {}
    spread = seeds.get("spread") if len(seeds.get("values") or ()) > 1 else None
    test = metrics.get("test", {})
    rows = []
    for name in sorted(test, key=lambda name: [*METRIC_NAMES, name].index(name)):
        low, high = test[name].get("ci95") or (None, None)
        single = (spread or {}).get(name) or {}
        rows.append(
            {
                "name": METRIC_NAMES.get(name, name.replace("_", " ")),
                "value": number(test[name].get("value")),
                "interval": f"{number(low)} – {number(high)}",
                "pooled": number((pooled or {}).get(name)),
                "single": f"{number(single.get('mean'))} ± {number(single.get('sd'))}",
                "folds": [number(fold.get(name)) for fold in per_fold],
            }
        )
    return {
        "rows": rows,
        "folds": [fold.get("fold", i) for i, fold in enumerate(per_fold)],
        "has_pooled": pooled is not None,
        "has_single": spread is not None,
    }


def attention_facts(files: RunFiles) -> list[dict[str, str]]:
    """The attention figures of metrics.json with what each one means."""
    facts = files.metrics.get("attention") or {}
    rows = []
    for key, value in facts.items():
        name, meaning = ATTENTION_NAMES.get(key, (key.replace("_", " "), ""))
        if isinstance(value, int | float | dict):
            rows.append({"name": name, "value": near_one(value), "meaning": meaning})
    return rows


def prediction_figures(files: RunFiles) -> dict[str, Markup]:
    """ROC, precision-recall, calibration, confusion and probability histogram."""
    table = files.predictions[files.predictions["label"].isin(files.classes)]
    probability, label = files.probabilities(table), table["label"].to_numpy(str)
    if len(table) == 0:
        return {}
    binary = len(files.classes) == 2
    shown = files.classes[1:] if binary else files.classes
    cases = table["case"].to_numpy(str)
    folds = table["fold"].to_numpy() if binary and "fold" in table else None
    figures = {}
    scored = [c for c in shown if 0 < (label == c).sum() < len(label)]
    for kind, draw in (("roc", curves.roc_figure), ("pr", curves.precision_recall_figure)):
        lines = [
            rate_curve(kind, label == c, probability[:, files.classes.index(c)], cases=cases, folds=folds,
                       label=("area" if binary else c))
            for c in scored
        ]  # fmt: skip
        chance = {"prevalence": float((label == shown[0]).mean())} if kind == "pr" and binary else {}
        if lines:
            figures[kind] = draw(lines, **chance)
    if binary:
        correct, sure = label == shown[0], probability[:, 1]
        groups = {f"true {c}": probability[label == c, 1] for c in files.classes}
        xlabel = f"predicted probability of {shown[0]}"
    else:
        right = label == np.array(files.classes)[probability.argmax(axis=1)]
        correct, sure = right, probability.max(axis=1)
        groups, xlabel = {"right": sure[right], "wrong": sure[~right]}, "probability of the predicted class"
    figures["calibration"] = curves.calibration_figure(**reliability(correct, sure))
    figures["histogram"] = curves.score_histogram_figure(groups, xlabel=xlabel)
    if files.metrics.get("confusion"):
        figures["confusion"] = curves.confusion_figure(np.array(files.metrics["confusion"]), files.classes)
    return {name: Markup(figure_svg(figure, title=FIGURE_TITLES[name])) for name, figure in figures.items()}


FIGURE_TITLES = {
    "roc": "ROC curve",
    "pr": "Precision-recall curve",
    "calibration": "Calibration",
    "histogram": "Predicted probabilities by true class",
    "confusion": "Confusion matrix",
    "dynamics": "Attention change and loss by epoch",
    "effective_tiles": "Effective tiles by epoch",
    "entropy": "Entropy of attention by epoch",
    "weights": "Weights of softmax and of the anchor's NSF",
    "tile_auroc": "Tile AUROC by slide",
}


def attention_figures(files: RunFiles) -> dict[str, Markup]:
    """Dynamics and concentration by epoch, weights, tile AUROC by slide; each only where recorded."""
    figures = {}
    jsd, train, val = (files.logged(c) for c in ("jsd", "train_loss", "val_loss"))
    if jsd:
        figures["dynamics"] = curves.dynamics_figure(jsd, train_loss=train, val_loss=val)
    elif train or val:
        losses = {"validation": val, "training": train}
        figures["dynamics"] = curves.epochs_figure({k: v for k, v in losses.items() if v}, ylabel="loss")
    for column, ylabel in (("effective_tiles", "effective tiles"), ("entropy", "entropy of attention")):
        runs = files.logged(column)
        if runs:
            figures[column] = curves.epochs_figure({ylabel: runs}, ylabel=ylabel)
    samples = files.weight_samples()
    if samples:
        names = {"softmax": "online softmax", "nsf": "anchor NSF"}
        figures["weights"] = curves.weights_figure({names[k]: v for k, v in samples.items()})
    if "tile_auroc" in files.predictions:
        by_slide = pd.to_numeric(files.predictions["tile_auroc"], errors="coerce").dropna().to_numpy()
        if len(by_slide):
            groups = {"slides with annotation": by_slide}
            figures["tile_auroc"] = curves.score_histogram_figure(groups, xlabel="tile AUROC within the slide")
    return {name: Markup(figure_svg(figure, title=FIGURE_TITLES[name])) for name, figure in figures.items()}


def slide_rows(files: RunFiles) -> list[dict[str, Any]]:
    """One row per slide for the table at the end."""
    probability = files.probabilities(files.predictions).max(axis=1)
    rows = []
    for (_, row), sure in zip(files.predictions.iterrows(), probability, strict=True):
        rows.append(
            {
                "slide": row["slide"],
                "case": row["case"],
                "label": row["label"],
                "predicted": row["predicted"],
                "probability": number(sure),
                "right": row["label"] == row["predicted"],
                "entropy": near_one(row.get("entropy")),
                "tile_ap": number(row.get("tile_ap")),
                "links": list(files.figure_files(row["slide"])),
            }
        )
    return rows


def stages(files: RunFiles) -> list[dict[str, Any]]:
    """Wall time by stage with its share of the longest."""
    longest = max(files.seconds.values(), default=0.0) or 1.0
    return [{"name": k, "text": duration(s), "percent": 100 * s / longest} for k, s in files.seconds.items()]


def duration(seconds: float) -> str:
    """ "0.4 s", "12 s", "3 min 20 s", "2 h 5 min"."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
