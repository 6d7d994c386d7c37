"""The sections of every run: cohort, metrics with their figures, attention and where it lies, the time it took."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from asmil.evaluation import of_folds
from asmil.figures import (
    Curve,
    confusion_figure,
    deletion_figure,
    dynamics_figure,
    epochs_figure,
    froc_figure,
    precision_recall_figure,
    roc_figure,
    score_histogram_figure,
    weights_figure,
)
from asmil.files import Facts
from asmil.report.clinical import known, rate_tables, shown_classes
from asmil.report.pages import Entry, Figure, Section, Table, entries, figure
from asmil.report.words import duration, interval_of, number, paragraphs, sentence, span
from asmil.runs import Run

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
}
_LOCAL = ("tile_", "evidence_", "dice", "froc")
GRID = np.linspace(0, 1, 201)


def cohort_section(run: Run) -> Section:
    """Slides and patients by class (or by stratum, where the task has no classes)."""
    table = run.cohort
    tested = run.predictions["label"].value_counts()
    rows = []
    for label, group in table.groupby("label", sort=True):
        cases = group["case"].nunique() if "case" in group else len(group)
        rows.append(entries(label, *(f"{n:,}" for n in (len(group), cases, int(tested.get(label, 0))))))
    lost, columns = len(run.failures), ("Class" if run.classes else "Stratum", "Slides", "Patients", "Slides tested")
    says, notes = (paragraphs("sections", part, lost=lost) for part in ("cohort", "cohort notes"))
    return Section("cohort", "Cohort", says=says, tables=(Table("", columns, tuple(rows)),), notes=notes)


def metrics_section(run: Run, names: dict[str, str]) -> Section:
    """Every metric with its interval, the pooled value, what a single seed reaches, and its value in each fold."""
    metrics = run.metrics
    per_fold = metrics.get("per_fold") or []
    pooled = metrics.get("pooled") if metrics.get("test_is") == "mean_of_folds" else None
    seeds = metrics.get("per_seed") or {}
    spread = seeds.get("spread") if len(seeds.get("values") or ()) > 1 else None
    test = metrics.get("test", {})
    rows = []
    for name in sorted(test, key=lambda name: [*names, name].index(name)):
        single = (spread or {}).get(name) or {}
        called = Entry(names.get(name, name.replace("_", " ")), of_folds(test[name]))
        row = [called, Entry(number(test[name].get("value")), strong=True)]
        row += entries(interval_of(test[name]))
        row += entries(number(pooled.get(name))) if pooled is not None else ()
        row += entries(f"{number(single.get('mean'))} ± {number(single.get('sd'))}") if spread is not None else ()
        row += [Entry(number(fold.get(name)), mark="quiet") for fold in per_fold]
        rows.append(tuple(row))
    columns = [
        "Metric",
        "Value",
        "95 % interval",
        *(["Pooled"] if pooled is not None else []),
        *(["One seed"] if spread is not None else []),
        *(f"Fold {fold.get('fold', i)}" for i, fold in enumerate(per_fold)),
    ]
    lead = sentence("sections", "metrics", pooled=pooled, spread=spread, per_fold=per_fold)
    tables = [Table("", tuple(columns), tuple(rows))] if rows else []
    return Section(
        "metrics",
        "Metrics",
        lead,
        tables=(*tables, *rate_tables(run), *_by_patient(run, names)),
        figures=prediction_figures(run),
    )


def _by_patient(run: Run, names: dict[str, str]) -> list[Table]:
    """The metrics with the mean over a patient's slides as its prediction, where the run has them."""
    found = run.metrics.get("patients") or {}
    test = found.get("test") or {}
    rows = tuple(
        (
            Entry(names.get(name, name)),
            Entry(number(value.get("value")), strong=True),
            Entry(interval_of(value)),
        )
        for name, value in sorted(test.items(), key=lambda item: [*names, item[0]].index(item[0]))
    )
    said = {"n_patients": None, "how": None} | found
    title, note = (sentence("sections", part, patients=said) for part in ("patients", "patients note"))
    return [Table(title, ("Metric", "Value", "95 % interval"), rows, note=note)] if rows else []


def prediction_figures(run: Run) -> tuple[Figure, ...]:
    """ROC, precision-recall, probability histogram and confusion of a run of classification."""
    table = known(run)
    if not run.classes or len(table) == 0:
        return ()
    probability, label = run.probabilities(table), table["label"].to_numpy(str)
    binary = len(run.classes) == 2
    cases = table["case"].to_numpy(str)
    folds = table["fold"].to_numpy() if binary and "fold" in table else None
    drawn = []
    scored = shown_classes(run)
    for kind, draw, title in (
        ("roc", roc_figure, "ROC curve"),
        ("pr", precision_recall_figure, "Precision-recall curve"),
    ):
        lines = [
            rate_curve(
                kind,
                label == c,
                probability[:, run.classes.index(c)],
                cases=cases,
                folds=folds,
                label=("area" if binary else c),
            )
            for c in scored
        ]
        chance = {"prevalence": float((label == scored[0]).mean())} if kind == "pr" and binary and scored else {}
        if lines:
            drawn.append(figure(draw(lines, **chance), title, caption=sentence("sections", kind)))
    drawn.append(_histogram(run, label, probability))
    pairs = table.groupby(["label", "called"]).size()
    counts = pairs.unstack(fill_value=0).reindex(index=run.classes, columns=run.classes, fill_value=0).to_numpy()
    drawn.append(
        figure(confusion_figure(counts, run.classes), "Confusion matrix", caption=sentence("sections", "confusion"))
    )
    return tuple(drawn)


def _histogram(run: Run, label: np.ndarray, probability: np.ndarray) -> Figure:
    if len(run.classes) == 2:
        groups = {f"true {c}": probability[label == c, 1] for c in run.classes}
        xlabel = f"predicted probability of class {run.classes[1]}"
    else:
        right, sure = label == np.array(run.classes)[probability.argmax(axis=1)], probability.max(axis=1)
        groups, xlabel = {"right": sure[right], "wrong": sure[~right]}, "probability of the predicted class"
    drawing = score_histogram_figure(groups, xlabel=xlabel)
    return figure(drawing, "Predicted probabilities by true class", caption=sentence("sections", "histogram"))


def stages(run: Run) -> list[dict[str, object]]:
    """Wall time by stage with its share of the longest."""
    known = (run.metrics.get("seconds") or {}) | run.seconds
    seconds = {stage: value for stage, value in known.items() if stage != "report"}  # known only when it is written
    longest = max(seconds.values(), default=0.0) or 1.0
    return [{"name": k, "text": duration(s), "percent": 100 * s / longest} for k, s in seconds.items()]


def attention_section(run: Run) -> Section:
    """Dynamics and concentration by epoch, weights, and the figures of metrics.json with what each one means."""
    figures = _attention_figures(run)
    rows = []
    for key, value in (run.metrics.get("attention") or {}).items():
        name, meaning = ATTENTION_NAMES.get(key, (key.replace("_", " "), ""))
        if isinstance(value, int | float) and not key.startswith(_LOCAL):
            rows.append((Entry(name), Entry(number(value), strong=True), Entry(meaning)))
    tables = (Table("", ("Measure", "Value", "Meaning"), tuple(rows), wrap=("Meaning",)),) if rows else ()
    by_epoch = any(f.wide for f in figures)
    lead = sentence("sections", "attention") if by_epoch else ""
    notes = () if figures or tables else paragraphs("sections", "no attention")
    if missing := (run.metrics.get("attention") or {}).get("deletion_missing"):
        notes = (*notes, str(missing))
    return Section("attention", "Attention", lead, figures=figures, tables=tables, notes=notes)


def _attention_figures(run: Run) -> tuple[Figure, ...]:
    drawn = []
    jsd, train, val = (_logged(run, column) for column in ("jsd", "train_loss", "val_loss"))
    title, caption = "Attention change and loss by epoch", sentence("sections", "by epoch", jsd=jsd)
    if jsd:
        drawing = dynamics_figure(jsd, train_loss=train, val_loss=val)
        drawn.append(figure(drawing, title, caption=caption, wide=True))
    elif train or val:
        losses = {name: runs for name, runs in (("validation", val), ("training", train)) if runs}
        drawn.append(figure(epochs_figure(losses, ylabel="loss"), title, caption=caption, wide=True))
    samples = _weight_samples(run)
    if samples:
        names = {"softmax": "online softmax", "nsf": "anchor NSF"}
        drawing = weights_figure({names[k]: v for k, v in samples.items()})
        caption = sentence("sections", "weights")
        drawn.append(figure(drawing, "Weights of softmax and of the anchor's NSF", caption=caption, wide=True))
    for column, ylabel in (("effective_tiles", "effective tiles"), ("entropy", "entropy of attention")):
        runs = _logged(run, column)
        if runs:
            drawing = epochs_figure({ylabel: runs}, ylabel=ylabel, ends=(0, 1 if column == "entropy" else np.inf))
            title = f"{ylabel[0].upper()}{ylabel[1:]} by epoch"
            drawn.append(figure(drawing, title, caption=sentence("sections", column)))
    taken = (run.metrics.get("attention") or {}).get("deletion")
    if isinstance(taken, dict):
        falls = {name: taken[name] for name in ("evidence", "attention", "random") if name in taken}
        caption = sentence("sections", "deletion", slides=taken.get("slides"))
        drawn.append(figure(deletion_figure(taken["share"], falls), "Tiles taken away", caption=caption))
    return tuple(drawn)


def _logged(run: Run, column: str) -> list[np.ndarray]:
    """A column of the log of every model that has it, float (epochs,)."""
    return [values for cell in run.cells() if np.isfinite(values := cell.logged(column)).any()]


def _weight_samples(run: Run) -> dict[str, np.ndarray]:
    """Weight times tiles of softmax and NSF, pooled over the models; empty where none were kept."""
    samples = [own for cell in run.cells() if (own := cell.score_samples())]
    return {name: np.concatenate([own[name] for own in samples]) for name in (samples[0] if samples else ())}


def localisation_section(run: Run) -> Section | None:
    """Tile metrics against chance, Dice, and the FROC curve; None where nothing was compared with annotations."""
    facts = run.metrics.get("attention") or {}
    rows = _tile_rows(facts)
    froc = facts.get("froc") if isinstance(facts.get("froc"), dict) else None
    figures = _tile_figures(run)
    notes: tuple[str, ...] = ()
    if froc:
        figures.append(_froc_figure(froc))
        meaning = sentence("sections", "froc meaning", froc=froc)
        rows.append((Entry("FROC score"), *_with_interval(froc, "score"), *entries("–", meaning)))
        notes = paragraphs("sections", "localisation notes", rules=froc.get("rules"))
    if not rows and not figures:
        return None
    missing = facts.get("evidence_missing")
    says = paragraphs("sections", "localisation", slides=facts.get("tile_slides"), missing=missing)
    table = Table("", ("Measure", "Value", "95 % interval", "Chance", "Meaning"), tuple(rows), wrap=("Meaning",))
    return Section(
        "localisation",
        "Does attention lie on the annotation?",
        short="Annotation",
        says=says,
        figures=tuple(figures),
        tables=(table,) if rows else (),
        notes=notes,
    )


def _tile_rows(facts: Facts) -> list[tuple[Entry, ...]]:
    """The tile measures that were computed, each with its interval and what chance would give."""
    even = 0.5
    said = (
        ("tile_auroc", "Tile AUROC", even, "ranking of annotated tiles first, within slides, mean of slides"),
        (
            "tile_ap",
            "Tile average precision",
            facts.get("tile_ap_chance"),
            "the same, stricter where annotated tiles are rare; chance is their share",
        ),
        (
            "evidence_tile_auroc",
            "Tile AUROC of evidence",
            even,
            "the same by the evidence for the class that the slide is of",
        ),
        (
            "evidence_tile_ap",
            "Tile average precision of evidence",
            facts.get("tile_ap_chance"),
            "beside that of attention: what decides, not what is read",
        ),
        ("dice", "Dice", None, "overlap of the thresholded map with the annotation; threshold from validation slides"),
        ("tile_auroc_pooled", "Tile AUROC, pooled", even, "the tiles of all annotated slides in one ranking"),
        (
            "tile_ap_pooled",
            "Tile average precision, pooled",
            facts.get("tile_ap_pooled_chance"),
            "the tiles of all annotated slides in one ranking",
        ),
    )
    return [
        (Entry(name), *_with_interval(facts, key), *entries(number(chance), meaning))
        for key, name, chance, meaning in said
        if _is_number(facts.get(key))
    ]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and bool(np.isfinite(value))


def _with_interval(facts: Facts, key: str) -> tuple[Entry, Entry]:
    return Entry(number(facts[key]), strong=True), Entry(span(*(facts.get(f"{key}_ci95") or (None, None))))


def _froc_figure(froc: Facts) -> Figure:
    at = {float(rate): float(value) for rate, value in froc["sensitivity"].items()}
    curve = froc.get("curve") or {"false_positives_per_slide": list(at), "sensitivity": list(at.values())}
    drawing = froc_figure(np.array(curve["false_positives_per_slide"]), np.array(curve["sensitivity"]), at=at)
    return figure(drawing, "FROC curve", caption=sentence("sections", "froc"))


def _tile_figures(run: Run) -> list[Figure]:
    if "tile_auroc" not in run.predictions:
        return []
    by_slide = pd.to_numeric(run.predictions["tile_auroc"], errors="coerce").dropna().to_numpy()
    if not len(by_slide):
        return []
    drawing = score_histogram_figure({"slides with annotation": by_slide}, xlabel="tile AUROC within the slide")
    return [figure(drawing, "Tile AUROC by slide", caption=sentence("sections", "tiles"))]


def rates(
    kind: str, y: np.ndarray, score: np.ndarray, *, weights: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Per row of `weights` (samples, slides), the x and y of the curve, one point per distinct score."""
    order = np.argsort(-score, kind="stable")
    last = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))  # tied slides are called positive together
    hits = np.cumsum(weights[:, order] * y[order], axis=1)[:, last]
    alarms = np.cumsum(weights[:, order] * ~y[order], axis=1)[:, last]
    for hit, alarm in zip(hits, alarms, strict=True):
        if hit[-1] == 0 or alarm[-1] == 0:  # one class only: no curve
            continue
        recall = np.append(0.0, hit / hit[-1])
        if kind == "roc":
            yield np.append(0.0, alarm / alarm[-1]), recall
        else:
            found = hit > 0  # before the first hit recall stays 0: the curve starts at the first hit's precision
            precision = hit[found] / (hit[found] + alarm[found])
            yield np.append(0.0, recall[1:][found]), np.append(precision[0], precision)


def rate_curve(
    kind: str,
    y: np.ndarray,
    score: np.ndarray,
    *,
    cases: np.ndarray,
    folds: np.ndarray | None,
    label: str = "",
) -> Curve:
    """One ROC ("roc") or precision-recall ("pr") curve, with a 95 % band and the folds' own curves behind it.

    The band resamples patients with replacement (400 times, fixed seed) and reads each curve at 201 places.

    Args:
        y: (slides,) bool.
        score: (slides,) predicted probability of the positive class.
        cases: (slides,) patient of each slide.
        folds: (slides,) fold of each slide; None draws no curves of folds.
    """
    case_of = np.unique(cases, return_inverse=True)[1]
    n_cases = case_of.max() + 1
    drawn = np.random.default_rng(0).multinomial(n_cases, np.full(n_cases, 1 / n_cases), size=400)
    samples = [np.interp(GRID, *curve) for curve in rates(kind, y, score, weights=drawn[:, case_of])]
    low, high = np.percentile(samples, [2.5, 97.5], axis=0) if samples else (None, None)
    of_folds = (folds == fold for fold in pd.unique(folds)) if folds is not None else ()
    single = np.ones((1, len(y)), dtype=int)
    faint = [c for rows in of_folds for c in rates(kind, y[rows], score[rows], weights=single[:, rows])]
    x, height = next(rates(kind, y, score, weights=single))
    # trapezoids are right for ROC; average precision is the sum of steps, as scikit-learn defines it
    level = (height[1:] + height[:-1]) / 2 if kind == "roc" else height[1:]
    area = float(np.sum(np.diff(x) * level))
    return Curve(GRID, np.interp(GRID, x, height), f"{label} {area:.3f}".strip(), low=low, high=high, faint=faint)
