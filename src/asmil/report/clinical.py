"""Whether the probabilities can be acted on: calibration, decision curves, and values by subgroup."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from asmil.bags import read_cohort, table_file
from asmil.errors import CohortError, RunError
from asmil.evaluation import (
    FEW_PATIENTS,
    RATES,
    Calibration,
    DecisionCurve,
    Interval,
    Share,
    Subgroup,
    by_subgroup,
    calibrate,
    decision_curve,
    net_benefit,
    wilson,
)
from asmil.figures import Curve, decision_figure, reliability_figure
from asmil.report.pages import Entry, Section, Table, entries, figure, scored
from asmil.report.slides import decided
from asmil.report.words import listed, number, paragraphs, percent, sentence, signed, span
from asmil.runs import Run
from asmil.settings import table_options

RATE_NAMES = {
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "ppv": "Positive predictive value (PPV)",
    "npv": "Negative predictive value (NPV)",
}
CALIBRATION_NAMES = {"ece": "Calibration error", "brier": "Brier score", "log_loss": "Log loss"}
NARROW = 0.05
"""Runs of thresholds shorter than this are not put into words."""
FEW_VALIDATED = 50
"""With fewer validation slides a temperature is itself uncertain."""


def calibration_of(run: Run, *, n_boot: int = 1000) -> Calibration | None:
    """Test predictions before and after temperature scaling; None where no validation predictions were kept."""
    rows = run.cell_predictions
    parts = rows.groupby(["fold", "seed"])["part"].agg(set) if len(rows) else pd.Series(dtype=object)
    if not run.classes or not len(parts) or not all({"val", "test"} <= has for has in parts):
        return None
    labels = {name: i for i, name in enumerate(run.classes)}
    rows = rows[rows["label"].isin(labels)].drop_duplicates(["fold", "seed", "part", run.unit])
    return calibrate(rows.assign(label=rows["label"].map(labels)), run.classes, n_boot=n_boot)


def shown_classes(run: Run) -> list[str]:
    """The classes that curves are drawn for: the second of two, each of more, if it occurs and is not alone."""
    label = run.predictions["label"]
    classes = run.classes[1:] if len(run.classes) == 2 else run.classes
    return [c for c in classes if 0 < (label == c).sum() < len(label)]


def decisions_of(run: Run) -> dict[str, DecisionCurve]:
    """The decision curve of each class that curves are drawn for."""
    table = known(run)
    prob, cases = run.probabilities(table), table["case"].to_numpy(str)
    label = table["label"].to_numpy(str)
    return {
        name: decision_curve(label == name, prob[:, run.classes.index(name)], groups=cases)
        for name in shown_classes(run)
    }


def known(run: Run) -> pd.DataFrame:
    """The decided predictions whose label is one of the classes, each once: of slides, or of patients where bags are
    those."""
    table = decided(run) if run.classes else run.predictions
    return table[table["label"].isin(run.classes)].drop_duplicates(run.unit)


def rate_tables(run: Run) -> tuple[Table, ...]:
    """What decisions at the operating point are worth, or of more than two classes each against the rest."""
    point, each = run.metrics.get("operating_point"), run.metrics.get("each_class") or {}
    if each:
        columns = ("Class", "AUROC", "Sensitivity", "Specificity", "PPV", "NPV")
        rows = [(Entry(name), *(scored(own[rate]) for rate in ("auroc", *RATES))) for name, own in each.items()]
        note = sentence("clinical", "each class note")
        return (Table("Each class against the rest", columns, tuple(rows), note=note),)
    if not point:
        return ()
    rows = []
    for rate, name in RATE_NAMES.items():
        hits, misses = (point["counts"][kind] for kind in RATES[rate])
        value, (low, high) = point[rate].get("value"), point[rate].get("ci95") or (None, None)
        rows.append(
            (Entry(name), Entry(number(value), strong=True), *entries(span(low, high), f"{hits} of {hits + misses}"))
        )
    at = [
        (
            *entries(f"Fold {one['fold']}", number(one["threshold"]) + ("" if one["chosen"] else ", not chosen")),
            Entry(str(one["n_val"])),
        )
        for one in point["thresholds"]
    ]
    note = sentence("clinical", "operating note")
    title = f"At the operating point; positive is {point['positive']}"
    return (
        Table(title, ("Rate", "Value", "95 % interval", "Slides" if run.unit == "slide" else "Patients"), tuple(rows)),
        Table("Where it lies", ("", "Threshold", "Validation slides"), tuple(at), note=note),
    )


def calibration_section(run: Run, found: Calibration | None) -> Section:
    """Reliability before and after scaling, the errors with intervals, the temperature of each model."""
    if found is None:
        return Section("calibration", "Calibration", says=paragraphs("clinical", "no calibration"))
    binary = len(run.classes) == 2
    y = found.slides["label"].to_numpy()
    bins = {
        name: reliability(*_sureness(y, prob, binary))
        for name, prob in (("as predicted", found.before), ("after scaling", found.after))
    }
    drawn = figure(
        reliability_figure(bins),
        "Reliability before and after temperature scaling",
        caption=sentence("clinical", "reliability", run=run),
    )
    rows = tuple(
        (Entry(CALIBRATION_NAMES[name]), _estimate(before), _estimate(after), _estimate(change, sign=True))
        for name, (before, after, change) in found.values.items()
    )
    columns = ("Measure", "As predicted", "After scaling", "Difference")
    errors = Table("Lower is better", columns, rows, note=sentence("clinical", "errors"))
    notes = paragraphs(
        "clinical",
        "calibration notes",
        run=run,
        undetermined=not all(cell.determined for cell in found.cells),
        few=min(cell.n_val for cell in found.cells) < FEW_VALIDATED,
    )
    return Section(
        "calibration",
        "Calibration",
        says=paragraphs("clinical", "calibration"),
        figures=(drawn,),
        tables=(errors, _temperatures(found)),
        notes=notes,
    )


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


def decision_section(run: Run, found: dict[str, DecisionCurve], scaled: Calibration | None) -> Section:
    """Net benefit of acting on the prediction, for the positive class or for each class against the rest."""
    several = len(found) > 1
    figures = []
    for name, curve in found.items():
        others = {}
        if scaled is not None:
            y = scaled.slides["label"].to_numpy() == run.classes.index(name)
            after = net_benefit(y, scaled.after[:, run.classes.index(name)], curve.thresholds)
            others["after temperature scaling"] = Curve(curve.thresholds, after)
        drawing = decision_figure(
            Curve(curve.thresholds, curve.model, "model", low=curve.low, high=curve.high),
            Curve(curve.thresholds, curve.treat_all, "act on all"),
            others=others,
        )
        title = f"Decision curve of class {name}" + (" against the rest" if several else "")
        figures.append(figure(drawing, title, caption=f"{title}. Band: pointwise 95 %, patients resampled."))
    says = paragraphs("clinical", "decisions", decisions=[(name, useful_ranges(c)) for name, c in found.items()])
    return Section("decisions", "Is acting on it worth it?", says=says, figures=tuple(figures), short="Decisions")


def useful_ranges(curve: DecisionCurve) -> dict[str, object]:
    """Whether there are thresholds at which the model surely does more good than acting on all or none, and which."""
    texts = [f"{percent(low)} to {percent(high)}" for low, high in curve.useful if high - low >= NARROW]
    return {"useful": bool(curve.useful), "texts": texts}


def group_columns(run: Run, names: Sequence[str] = (), *, labels: Path | None = None) -> dict[str, pd.Series]:
    """For each column, its value by slide: `site` where the cohort has it, then the columns asked for.

    cohort.csv keeps slide, case, label, site, mpp and fold; any other column is read from the table of labels that the
    run was made from.

    Args:
        names: columns of cohort.csv or of the table of labels.
        labels: that table, where it is not (or no longer) at the place that the settings name.

    Raises:
        RunError: the run is not of classification, or the table is not at hand or does not fit the run.
        CohortError: the table cannot be read, or has no such column.
    """
    if names and not run.classes:
        raise RunError(
            "subgroups are compared for classification only",
            found=f"task {run.task_name}",
            fix="leave out --subgroup; docs/tasks.md shows how to compare groups of such a run",
        )
    cohort = run.cohort
    asked = list(dict.fromkeys([*(["site"] if "site" in cohort and run.classes else []), *names]))
    return {name: _own(cohort, name) if name in cohort else _of_table(run, name, labels) for name in asked}


def _own(cohort: pd.DataFrame, name: str) -> pd.Series:
    return cohort.set_index("slide")[name].astype(str)


def _of_table(run: Run, name: str, labels: Path | None) -> pd.Series:
    """A column of the table of labels for the run's slides; the labels must be those of the run."""
    settings = run.settings
    path = labels or settings.labels
    if path is None or not table_file(path)[0].is_file():
        columns = listed([str(column) for column in run.cohort], 12)
        raise RunError(
            f"column {name!r} is not in the cohort, and the table of labels is not at hand",
            found=f"{path or 'no table named in the settings'}; the cohort has {columns}",
            fix="give the table with --labels FILE",
        )
    options = table_options(settings)
    options["site_column"] = name
    try:
        cohort = read_cohort(path, **options)
    except CohortError as error:  # which calls it the column of the site
        fix = (
            (error.fix or "").replace("the site column with", "one of them with").replace("--site-column", "--subgroup")
        )
        raise CohortError(error.what, found=error.found, fix=fix) from error
    table = cohort.match(run.predictions["slide"]).table.set_index("slide")
    own = run.predictions.set_index("slide")["label"].reindex(table.index)
    if (own != table["label"]).any():
        wrong = list(own.index[own != table["label"]])
        raise RunError(
            f"{path} has other labels than the run",
            found=f"{len(wrong)} slides differ: {listed(wrong)}",
            fix="give the table that the run was made from",
        )
    return table["site"]


def subgroups_of(run: Run, values: dict[str, pd.Series]) -> dict[str, list[Subgroup]]:
    """By column the groups of its values; `values` maps a column to one value per slide name."""
    table = known(run)
    return {
        column: _by(run, table, [_named(of_slide.get(slide)) for slide in table["slide"]])
        for column, of_slide in values.items()
    }


def _by(run: Run, table: pd.DataFrame, names: Sequence[str]) -> list[Subgroup]:
    """The groups that the rows of a table have these names of, by what was decided."""
    places = {name: i for i, name in enumerate(run.classes)}
    y, called = (table[column].map(places).to_numpy() for column in ("label", "called"))
    cases = table["case"].to_numpy(str)
    return by_subgroup(y, run.probabilities(table), names, groups=cases, called=called)


def _named(value: object) -> str:
    text = "" if value is None or value != value else str(value)
    return text or "(not stated)"


def subgroup_section(run: Run, found: dict[str, list[Subgroup]]) -> Section:
    """A table for each column, with every group, and what may be read from it."""
    if not found:
        return Section("subgroups", "Subgroups", says=paragraphs("clinical", "no subgroups"))
    tables = tuple(_subgroup_table(run, column, groups) for column, groups in found.items())
    says = paragraphs("clinical", "subgroups", groups=sum(len(groups) for groups in found.values()))
    notes = paragraphs("clinical", "subgroups notes", few_below=FEW_PATIENTS)
    return Section("subgroups", "Subgroups", says=says, tables=tables, notes=notes)


def _subgroup_table(run: Run, column: str, groups: list[Subgroup]) -> Table:
    binary = len(run.classes) == 2
    names = (
        (f"Specificity (of {run.classes[0]})", f"Sensitivity (of {run.classes[1]})")
        if binary
        else tuple(f"Found of {name}" for name in run.classes)
    )
    table, rows = known(run), []
    whole = _by(run, table, ["all slides"] * len(table))
    for group in (*groups, *whole):
        auroc = Entry("one class only") if group.auroc is None else _estimate(group.auroc)
        sizes = entries(group.n_slides, group.n_patients, "few" if group.few else "")
        rows.append((Entry(group.name), *sizes, auroc, *(_share(share) for share in reversed(group.recalls))))
    columns = (column[0].upper() + column[1:], "Slides", "Patients", "Size", "AUROC", *reversed(names))
    return Table(f"By {column}", columns, tuple(rows))


def _estimate(interval: Interval, *, sign: bool = False) -> Entry:
    text = signed(interval.value) if sign else number(interval.value)
    return Entry(text, span(interval.low, interval.high))


def _share(share: Share) -> Entry:
    if not share.n:
        return Entry("–", "no such slides")
    return Entry(percent(share.value), f"{percent(share.low)} – {percent(share.high)}, of {share.n}")


def reliability(correct: np.ndarray, probability: np.ndarray, *, bins: int = 8) -> dict[str, np.ndarray]:
    """Mean prediction and observed frequency in bins of equal count, with 95 % Wilson intervals.

    Args:
        correct: (slides,) bool, what was predicted came true.
        probability: (slides,) its predicted probability.

    Returns:
        predicted, observed, low, high, counts: each (bins,), without empty bins.
    """
    order = np.argsort(probability, kind="stable")
    groups = [group for group in np.array_split(order, min(bins, max(len(order) // 5, 1))) if len(group)]
    shares = [wilson(correct[group]) for group in groups]
    return {
        "predicted": np.array([probability[group].mean() for group in groups]),
        "observed": np.array([share.value for share in shares]),
        "low": np.array([share.low for share in shares]),
        "high": np.array([share.high for share in shares]),
        "counts": np.array([share.n for share in shares]),
    }
