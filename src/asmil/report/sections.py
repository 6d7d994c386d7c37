"""The sections of every run: cohort, metrics with their figures, the table of all slides, the time it took."""

from typing import Any

import numpy as np

from asmil.figures import confusion_figure, precision_recall_figure, roc_figure, score_histogram_figure
from asmil.report.blocks import Entry, Figure, Section, Table, entries, figure
from asmil.report.clinical import known, shown_classes
from asmil.report.inputs import RunFiles
from asmil.report.measures import rate_curve
from asmil.report.words import duration, near_one, number, plural, span

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


def cohort_section(files: RunFiles) -> Section:
    """Slides and patients by class (or by stratum, where the task has no classes)."""
    table = files.cohort if not files.cohort.empty else files.predictions
    tested = files.predictions["label"].value_counts()
    rows = []
    for label, group in table.groupby("label", sort=True):
        cases = group["case"].nunique() if "case" in group else len(group)
        rows.append(entries(label, *(f"{n:,}" for n in (len(group), cases, int(tested.get(label, 0))))))
    lost = len(files.failures)
    says = (f"{plural(lost, 'slide')} did not get into the results: see above.",) if lost else ()
    columns = ("Class" if files.classes else "Stratum", "Slides", "Patients", "Slides tested")
    notes = () if lost else ("No slide failed at any stage.",)
    return Section("cohort", "Cohort", says=says, tables=(Table("", columns, tuple(rows)),), notes=notes)


def metrics_section(files: RunFiles, names: dict[str, str]) -> Section:
    """Every metric with its interval, the pooled value, what a single seed reaches, and its value in each fold."""
    metrics = files.metrics
    per_fold = metrics.get("per_fold") or []
    pooled = metrics.get("pooled") if metrics.get("test_is") == "mean_of_folds" else None
    seeds = metrics.get("per_seed") or {}
    spread = seeds.get("spread") if len(seeds.get("values") or ()) > 1 else None
    test = metrics.get("test", {})
    rows = []
    for name in sorted(test, key=lambda name: [*names, name].index(name)):
        single = (spread or {}).get(name) or {}
        row = [Entry(names.get(name, name.replace("_", " "))), Entry(number(test[name].get("value")), strong=True)]
        row += entries(span(*(test[name].get("ci95") or (None, None))))
        row += entries(number(pooled.get(name))) if pooled is not None else ()
        row += entries(f"{number(single.get('mean'))} ± {number(single.get('sd'))}") if spread is not None else ()
        row += [Entry(number(fold.get(name)), mark="quiet") for fold in per_fold]
        rows.append(tuple(row))
    columns = ["Metric", "Value", "95 % interval", *(["Pooled"] if pooled is not None else []),
               *(["One seed"] if spread is not None else []),
               *(f"Fold {fold.get('fold', i)}" for i, fold in enumerate(per_fold))]  # fmt: skip
    lead = "On test slides."
    if pooled is not None:
        lead += " The value is the mean of the folds; pooled, all slides stand in one ranking."
    if spread is not None:
        lead += " One seed: mean ± standard deviation of the seeds alone."
    lead += " The folds show how much the value moves." if per_fold else ""
    tables = [Table("", tuple(columns), tuple(rows))] if rows else []
    return Section("metrics", "Metrics", lead, tables=(*tables, *_by_patient(files, names)),
                   figures=prediction_figures(files))  # fmt: skip


def _by_patient(files: RunFiles, names: dict[str, str]) -> list[Table]:
    """The metrics with the mean over a patient's slides as its prediction, where the run has them."""
    found = files.metrics.get("patients") or {}
    test = found.get("test") or {}
    rows = tuple(
        (Entry(names.get(name, name)), Entry(number(value.get("value")), strong=True),
         Entry(span(*(value.get("ci95") or (None, None)))))
        for name, value in sorted(test.items(), key=lambda item: [*names, item[0]].index(item[0]))
    )  # fmt: skip
    note = str(found.get("how") or "The prediction of a patient is the mean over the patient's slides.")
    count = found.get("n_patients")
    title = "By patient" + (f": {plural(int(count), 'patient')}" if count else "")
    return [Table(title, ("Metric", "Value", "95 % interval"), rows, note=note)] if rows else []


def prediction_figures(files: RunFiles) -> tuple[Figure, ...]:
    """ROC, precision-recall, probability histogram and confusion of a run of classification."""
    table = known(files)
    if not files.classes or len(table) == 0:
        return ()
    probability, label = files.probabilities(table), table["label"].to_numpy(str)
    binary = len(files.classes) == 2
    cases = table["case"].to_numpy(str)
    folds = table["fold"].to_numpy() if binary and "fold" in table else None
    drawn = []
    scored = shown_classes(files)
    for kind, draw, title, caption in (
        ("roc", roc_figure, "ROC curve",
         "ROC. Bold: all folds pooled, with 95 % band; faint: each fold. Dashed: chance."),
        ("pr", precision_recall_figure, "Precision-recall curve",
         "Precision and recall. Dashed: the share of positive slides."),
    ):  # fmt: skip
        lines = [
            rate_curve(kind, label == c, probability[:, files.classes.index(c)], cases=cases, folds=folds,
                       label=("area" if binary else c))
            for c in scored
        ]  # fmt: skip
        chance = {"prevalence": float((label == scored[0]).mean())} if kind == "pr" and binary and scored else {}
        if lines:
            drawn.append(figure(draw(lines, **chance), title, caption=caption))
    drawn.append(_histogram(files, label, probability))
    if files.metrics.get("confusion"):
        counts = confusion_figure(np.array(files.metrics["confusion"]), files.classes)
        caption = "Confusion. Slides by true class (row) and predicted class (column)."
        drawn.append(figure(counts, "Confusion matrix", caption=caption))
    return tuple(drawn)


def _histogram(files: RunFiles, label: np.ndarray, probability: np.ndarray) -> Figure:
    if len(files.classes) == 2:
        groups = {f"true {c}": probability[label == c, 1] for c in files.classes}
        xlabel = f"predicted probability of class {files.classes[1]}"
    else:
        right, sure = label == np.array(files.classes)[probability.argmax(axis=1)], probability.max(axis=1)
        groups, xlabel = {"right": sure[right], "wrong": sure[~right]}, "probability of the predicted class"
    drawing = score_histogram_figure(groups, xlabel=xlabel)
    caption = "Predicted probabilities. Separated colours mean separated classes."
    return figure(drawing, "Predicted probabilities by true class", caption=caption)


def slides_section(files: RunFiles) -> Section:
    """One row per slide, with links to its pictures."""
    table = files.predictions
    links = [list(files.figure_files(slide)) for slide in table["slide"]]
    if files.classes:
        sure = files.probabilities(table).max(axis=1)
        columns = ["Slide", "Patient", "True", "Predicted", "Probability", "Right"]
    else:
        columns = ["Slide", "Patient", "Stratum", *(name.replace("_", " ") for name in files.values)]
    measured = [c for c in ("entropy", "tile_ap") if c in table]
    titles = {"entropy": "Entropy", "tile_ap": "Tile AP"}
    suffixes = [suffix for suffix in (".png", ".geojson") if any(x.endswith(suffix) for own in links for x in own)]
    rows = []
    for i, (_, row) in enumerate(table.iterrows()):
        cells = [*entries(row["slide"], row["case"], row["label"])]
        if files.classes:
            right = row["label"] == row["predicted"]
            cells += entries(row["predicted"], number(sure[i]))
            cells.append(Entry("✓" if right else "✗ wrong", mark="good" if right else "bad"))
        else:
            cells += entries(*(number(row[name]) for name in files.values))
        cells += entries(*(near_one(row[c]) if c == "entropy" else number(row[c]) for c in measured))
        cells += [_link(links[i], suffix) for suffix in suffixes]
        rows.append(tuple(cells))
    heads = [*columns, *(titles[c] for c in measured), *({".png": "Map", ".geojson": "Tiles"}[s] for s in suffixes)]
    ids = tuple(f"slide-{i}" for i in range(1, len(rows) + 1))
    whole = Table("", tuple(heads), tuple(rows), left=4 if files.classes else 3, ids=ids, sorts=True)
    return Section(
        "slides", "All slides", "Out-of-fold prediction of every slide. A column title sorts.", tables=(whole,)
    )


def _link(links: list[str], suffix: str) -> Entry:
    found = next((link for link in links if link.endswith(suffix)), "")
    return Entry({".png": "picture", ".geojson": "QuPath"}[suffix] if found else "", link=found)


def stages(files: RunFiles) -> list[dict[str, Any]]:
    """Wall time by stage with its share of the longest."""
    longest = max(files.seconds.values(), default=0.0) or 1.0
    return [{"name": k, "text": duration(s), "percent": 100 * s / longest} for k, s in files.seconds.items()]
