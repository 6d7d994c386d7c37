"""Whether the probabilities can be acted on: calibration, decision curves, and values by subgroup."""

from typing import Any

import numpy as np
import pandas as pd

from asmil.evaluation.calibration import Calibration, calibrate
from asmil.evaluation.decision import DecisionCurve, decision_curve, net_benefit
from asmil.evaluation.subgroups import FEW_PATIENTS, Share, Subgroup, by_subgroup
from asmil.figures import Curve, decision_figure, reliability_figure
from asmil.report.blocks import Entry, Section, Table, entries, figure
from asmil.report.inputs import RunFiles
from asmil.report.measures import reliability
from asmil.report.words import listed, number, percent, signed, span

CALIBRATION_NAMES = {"ece": "Calibration error", "brier": "Brier score", "log_loss": "Log loss"}
NARROW = 0.05
"""Runs of thresholds shorter than this are not put into words."""


def calibration_of(files: RunFiles, *, n_boot: int = 1000) -> Calibration | None:
    """Test predictions before and after temperature scaling; None where no validation predictions were kept."""
    rows = files.cell_rows
    parts = rows.groupby(["fold", "seed"])["part"].agg(set) if len(rows) else pd.Series(dtype=object)
    if not files.classes or not len(parts) or not all({"val", "test"} <= has for has in parts):
        return None
    labels = {name: i for i, name in enumerate(files.classes)}
    rows = rows[rows["label"].isin(labels)].drop_duplicates(["fold", "seed", "part", files.unit])
    return calibrate(rows.assign(label=rows["label"].map(labels)), files.classes, n_boot=n_boot)


def shown_classes(files: RunFiles) -> list[str]:
    """The classes that curves are drawn for: the second of two, each of more, if it occurs and is not alone."""
    label = files.predictions["label"]
    classes = files.classes[1:] if len(files.classes) == 2 else files.classes
    return [c for c in classes if 0 < (label == c).sum() < len(label)]


def decisions_of(files: RunFiles) -> dict[str, DecisionCurve]:
    """The decision curve of each class that curves are drawn for."""
    table = known(files)
    prob, cases = files.probabilities(table), table["case"].to_numpy(str)
    label = table["label"].to_numpy(str)
    return {
        name: decision_curve(label == name, prob[:, files.classes.index(name)], groups=cases)
        for name in shown_classes(files)
    }


def known(files: RunFiles) -> pd.DataFrame:
    """The predictions whose label is one of the classes, each once: of slides, or of patients where bags are those."""
    table = files.predictions
    return table[table["label"].isin(files.classes)].drop_duplicates(files.unit)


def calibration_section(files: RunFiles, found: Calibration | None) -> Section:
    """Reliability before and after scaling, the errors with intervals, the temperature of each model."""
    if found is None:
        words = "The run keeps no validation predictions of its models, so no temperature was fitted."
        return Section("calibration", "Calibration", says=(words,))
    binary = len(files.classes) == 2
    y = found.slides["label"].to_numpy()
    bins = {name: reliability(*_sureness(y, prob, binary)) for name, prob in
            (("as predicted", found.before), ("after scaling", found.after))}  # fmt: skip
    of = f"of class {files.classes[1]}" if binary else "of the predicted class"
    drawn = figure(
        reliability_figure(bins), "Reliability before and after temperature scaling",
        caption=f"Probability {of} in groups of equally many slides, pooled over folds, against how often it came "
        "true, with 95 % intervals. On the dashed line a predicted 70 % comes true 70 % of the time.",
    )  # fmt: skip
    rows = tuple(
        (Entry(CALIBRATION_NAMES[name]), _estimate(before), _estimate(after), _estimate(change, sign=True))
        for name, (before, after, change) in found.values.items()
    )
    errors = Table(
        "Lower is better", ("Measure", "As predicted", "After scaling", "Difference"), rows,
        note="Pooled over folds; 95 % intervals from resampling patients. The calibration error of few slides is above "
        "zero even for a perfect model: read it beside the other two.",
    )  # fmt: skip
    says = (
        "Each trained model got one temperature, fitted on its own validation slides and applied to its test slides; "
        "test slides had no part in it. Above 1 means that the model was too sure of itself. All other numbers of this "
        "page are those without scaling.",
    )
    return Section("calibration", "Calibration", says=says, figures=(drawn,), tables=(errors, _temperatures(found)),
                   notes=_calibration_notes(files, found))  # fmt: skip


def _sureness(y: np.ndarray, prob: np.ndarray, binary: bool) -> tuple[np.ndarray, np.ndarray]:
    return (y == 1, prob[:, 1]) if binary else (prob.argmax(axis=1) == y, prob.max(axis=1))


def _temperatures(found: Calibration) -> Table:
    """A row per fold, a column per seed."""
    seeds = sorted({cell.seed for cell in found.cells})
    by_place = {(cell.fold, cell.seed): cell for cell in found.cells}
    rows = []
    for fold in sorted({cell.fold for cell in found.cells}):
        own = [by_place.get((fold, seed)) for seed in seeds]
        texts = ["–" if c is None else number(c.temperature, 2) if c.determined else "not determined" for c in own]
        rows.append(entries(f"Fold {fold}", *texts, next(c.n_val for c in own if c is not None)))
    return Table("Temperature of each model", ("", *(f"Seed {s}" for s in seeds), "Validation slides"), tuple(rows))


def _calibration_notes(files: RunFiles, found: Calibration) -> tuple[str, ...]:
    notes = []
    if files.config.get("refit") and str(files.config.get("select")) != "last":
        notes.append(
            "The tested models were trained anew on training and validation slides together. Their temperatures come "
            "from the trainings before that, because no slides remained that they had not seen."
        )
    if not all(cell.determined for cell in found.cells):
        notes.append(
            "Where validation slides are all predicted right, or no better than by chance, no finite temperature is "
            "the best one; such a model keeps its probabilities."
        )
    if min(cell.n_val for cell in found.cells) < 50:
        notes.append("With so few validation slides a temperature is itself uncertain.")
    return tuple(notes)


def decision_section(files: RunFiles, found: dict[str, DecisionCurve], scaled: Calibration | None) -> Section:
    """Net benefit of acting on the prediction, for the positive class or for each class against the rest."""
    several = len(found) > 1
    figures, says = [], [
        "A threshold says how sure one wants to be before acting: at 10 %, one missed case weighs as much as nine "
        "needless actions. Net benefit counts true positives per slide and takes off false ones at that rate. A model "
        "is of use where its curve is above both others: acting on all slides, and acting on none (zero).",
    ]  # fmt: skip
    for name, curve in found.items():
        others = {}
        if scaled is not None:
            y = scaled.slides["label"].to_numpy() == files.classes.index(name)
            after = net_benefit(y, scaled.after[:, files.classes.index(name)], curve.thresholds)
            others["after temperature scaling"] = Curve(curve.thresholds, after)
        drawing = decision_figure(
            Curve(curve.thresholds, curve.model, "model", low=curve.low, high=curve.high),
            Curve(curve.thresholds, curve.treat_all, "act on all"), others=others,
        )  # fmt: skip
        title = f"Decision curve of class {name}" + (" against the rest" if several else "")
        figures.append(figure(drawing, title, caption=f"{title}. Band: pointwise 95 %, patients resampled."))
        says.append(useful_words(name, curve))
    return Section("decisions", "Is acting on it worth it?", says=tuple(says), figures=tuple(figures))


def useful_words(name: str, curve: DecisionCurve) -> str:
    """At which thresholds the model surely does more good than acting on all or none."""
    runs = [f"{percent(a)} to {percent(b)}" for a, b in curve.useful if b - a >= NARROW]
    if not runs:
        return (
            f"Class {name}: at no range of thresholds is the model surely better than acting on all slides or on none."
        )
    return (
        f"Class {name}: acting on the prediction is surely better than acting on all slides or on none at thresholds "
        f"from {listed(runs)} (by the 95 % interval of the gain at each threshold by itself)."
    )


def subgroups_of(files: RunFiles, values: dict[str, pd.Series]) -> dict[str, list[Subgroup]]:
    """By column the groups of its values; `values` maps a column to one value per slide name."""
    table = known(files)
    y = table["label"].map({name: i for i, name in enumerate(files.classes)}).to_numpy()
    prob, cases = files.probabilities(table), table["case"].to_numpy(str)
    return {
        column: by_subgroup(y, prob, [_named(of_slide.get(slide)) for slide in table["slide"]], groups=cases)
        for column, of_slide in values.items()
    }


def _named(value: Any) -> str:
    text = "" if value is None or value != value else str(value)
    return text or "(not stated)"


def subgroup_section(files: RunFiles, found: dict[str, list[Subgroup]]) -> Section:
    """A table for each column, with every group, and what may be read from it."""
    if not found:
        words = "The cohort names no site, and no column was asked for with --subgroup, so no groups are compared."
        return Section("subgroups", "Subgroups", says=(words,))
    tables = tuple(_subgroup_table(files, column, groups) for column, groups in found.items())
    rows = sum(len(groups) for groups in found.values())
    says = (
        f"{rows} groups are listed, each by itself. Of many groups some look worse by chance alone: about one interval "
        "in twenty misses its true value. A difference between groups is a question for new data, not a finding.",
    )
    notes = (
        f"“Few” marks groups with fewer than {FEW_PATIENTS} patients of some class. AUROC needs every class and pools "
        "folds; its interval resamples patients. Other intervals are Wilson's, with the patients as trials. Decisions "
        "are for the most probable class.",
    )
    return Section("subgroups", "Subgroups", says=says, tables=tables, notes=notes)


def _subgroup_table(files: RunFiles, column: str, groups: list[Subgroup]) -> Table:
    binary = len(files.classes) == 2
    names = (f"Specificity (of {files.classes[0]})", f"Sensitivity (of {files.classes[1]})") if binary else tuple(
        f"Found of {name}" for name in files.classes
    )  # fmt: skip
    table = known(files)
    y = table["label"].map({name: i for i, name in enumerate(files.classes)}).to_numpy()
    whole = by_subgroup(y, files.probabilities(table), ["all slides"] * len(y), groups=table["case"].to_numpy(str))
    rows = []
    for group in (*groups, *whole):
        auroc = Entry("one class only") if group.auroc is None else _estimate(group.auroc)
        sizes = entries(group.n_slides, group.n_patients, "few" if group.few else "")
        rows.append((Entry(group.name), *sizes, auroc, *(_share(share) for share in reversed(group.recalls))))
    columns = (column[0].upper() + column[1:], "Slides", "Patients", "Size", "AUROC", *reversed(names))
    return Table(f"By {column}", columns, tuple(rows))


def _estimate(interval: Any, *, sign: bool = False) -> Entry:
    text = signed(interval.value) if sign else number(interval.value)
    return Entry(text, span(interval.low, interval.high))


def _share(share: Share) -> Entry:
    if not share.n:
        return Entry("–", "no such slides")
    return Entry(percent(share.value), f"{percent(share.low)} – {percent(share.high)}, of {share.n}")
