"""The words, tables and figures of the report, as plain values for the template."""

from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from asmil.figures import curves
from asmil.figures.export import figure_svg
from asmil.report.inputs import RunFiles
from asmil.report.measures import rate_curve, reliability, split_facts

METRIC_NAMES = {
    "auroc": "AUROC",
    "average_precision": "Average precision",
    "macro_f1": "Macro F1",
    "balanced_accuracy": "Balanced accuracy",
    "accuracy": "Accuracy",
    "mcc": "Matthews correlation",
    "brier": "Brier score (lower is better)",
    "ece": "Calibration error (lower is better)",
}
ATTENTION_NAMES = {
    "jsd_last10": ("JSD, last 10 epochs", "change of the maps from one epoch to the next; 0 is settled"),
    "entropy": ("Entropy", "spread of attention; 1 is uniform when normalised"),
    "effective_tiles": ("Effective tiles", "how many tiles carry the decision"),
    "top1_mass": ("Mass on the top 1 %", "share of attention on the strongest hundredth of tiles"),
    "tile_auroc": ("Tile AUROC", "attention against annotated tiles, within slides; 0.5 is chance"),
    "tile_ap": ("Tile average precision", "the same, stricter where annotated tiles are rare"),
    "tile_ap_chance": ("Chance for that", "share of annotated tiles"),
    "dice": ("Dice", "overlap of the thresholded map with the annotation"),
    "froc": ("FROC", "lesions found at few false positives per slide"),
}


def plural(n: int, word: str) -> str:
    """ "1 slide", "2 slides", "1,200 slides"."""
    return f"{n:,} {word}{'' if n == 1 else 's'}"


def number(value: Any, digits: int = 3) -> str:
    """A number for a table: fixed digits below 10, fewer above; a dash for what is not known."""
    value = pd.to_numeric(value, errors="coerce") if not isinstance(value, dict) else value.get("value")
    if value is None or not np.isfinite(value):
        return "–"
    if float(value).is_integer() and abs(value) >= 1:
        return f"{int(value):,}"
    return f"{value:.{digits}f}" if abs(value) < 10 else f"{value:,.1f}"


def headline(files: RunFiles) -> dict[str, Any]:
    """The result in one figure: metric, value, interval, and a verdict that the interval supports."""
    test = files.metrics.get("test", {})
    name = "auroc" if "auroc" in test else next(iter(test), None)
    table = files.predictions
    cases = table["case"].nunique()
    found = {
        "model": str(files.config.get("model", "model")),
        "encoder": files.config.get("encoder"),
        "stabilized": files.config.get("stabilize"),
        "slides": plural(len(table), "slide"),
        "cases": plural(cases, "patient"),
        "classes": files.classes,
        "metric": None,
    }
    if name is None:
        return found
    value, (low, high) = test[name]["value"], test[name].get("ci95") or (None, None)
    found |= {"metric": METRIC_NAMES.get(name, name), "value": value, "low": low, "high": high}
    if name == "auroc":
        found["verdict"] = verdict(value, low, high, cases=cases)
    return found


def verdict(value: float, low: float | None, high: float | None, *, cases: int) -> str:
    """One sentence that claims no more than the interval allows."""
    if low is None or high is None:
        return "No interval was computed, so the value cannot be told from chance."
    if high < 0.5:
        return "Worse than chance: the ranking is reversed. Check the labels and the order of the classes."
    if low <= 0.5:
        return "Not distinguishable from chance: the 95 % interval contains 0.5."
    sentence = "Better than chance on patients it never saw: the 95 % interval lies above 0.5"
    if high - low > 0.1:
        return f"{sentence}, but it is wide. With {plural(cases, 'patient')} the value is provisional."
    return sentence + "."


def protocol(files: RunFiles) -> dict[str, Any]:
    """How the numbers came about, in sentences made from the files, and the stated facts of metrics.json."""
    metrics, config = files.metrics, files.config
    seeds = metrics.get("seeds") or len({cell.seed for cell in files.cells})
    seeds = len(seeds) if isinstance(seeds, list | dict) else int(seeds or 0)
    says: list[str] = []
    warns: list[str] = []
    if not files.splits.empty and {"slide", "case", "fold", "part"} <= set(files.splits):
        facts = split_facts(files.splits)
        says.append(
            f"{plural(facts['cases'], 'patient')} were divided into {plural(facts['folds'], 'fold')}. "
            "Each fold is the test set once; the other folds are training and validation."
        )
        if facts["shared"]:
            warns.append(f"Patients in two parts of one fold: {facts['shared']}. The results leak.")
        if facts["retested"]:
            warns.append(f"Slides tested in more than one fold: {facts['retested']}.")
        if not (facts["shared"] or facts["retested"]):
            says.append(
                "Checked in the split table while this page was written: all slides of a patient "
                "stay together, no patient is in two parts of a fold, and no slide is tested twice."
            )
    says.append(
        "The epoch of each training was chosen on its validation slides "
        f"({plain(config.get('select', 'validation loss')).replace('_', ' ')}). "
        "Test slides took part in no choice and were predicted once, by the chosen epoch."
    )
    if seeds > 1:
        says.append(f"Each fold was trained with {seeds} seeds; probabilities and attention are means over them.")
    says.append(
        "Intervals are 95 % bootstrap intervals over patients. They hold for patients like these, "
        "not for another hospital or scanner."
    )
    stated = metrics.get("protocol") or {}
    return {
        "says": says,
        "warns": warns,
        "facts": [(k.replace("_", " "), plain(v)) for k, v in stated.items()],
    }


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
    """Every metric with its interval, and its value in each fold."""
    per_fold = files.metrics.get("per_fold") or []
    rows = []
    for name, result in files.metrics.get("test", {}).items():
        low, high = result.get("ci95") or (None, None)
        rows.append(
            {
                "name": METRIC_NAMES.get(name, name.replace("_", " ")),
                "value": number(result.get("value")),
                "interval": f"{number(low)} – {number(high)}",
                "folds": [number(fold.get(name)) for fold in per_fold],
            }
        )
    return {"rows": rows, "folds": [fold.get("fold", i) for i, fold in enumerate(per_fold)]}


def attention_facts(files: RunFiles) -> list[dict[str, str]]:
    """The attention figures of metrics.json with what each one means."""
    facts = files.metrics.get("attention") or {}
    rows = []
    for key, value in facts.items():
        name, meaning = ATTENTION_NAMES.get(key, (key.replace("_", " "), ""))
        if isinstance(value, int | float | dict):
            rows.append({"name": name, "value": number(value), "meaning": meaning})
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
                "entropy": number(row.get("entropy")),
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
