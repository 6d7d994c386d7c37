"""What another task than single-label classification adds to the page of a run."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from asmil.evaluation import SurvivalCurve, kaplan_meier
from asmil.figures import agreement_figure, confusion_figure, kaplan_meier_figure, predicted_survival_figure
from asmil.report.pages import Entry, Figure, Section, Table, TaskPart, entries, figure, scored
from asmil.report.words import number, paragraphs, sentence, span
from asmil.runs import Run

NAMES = {
    "c_index": "Concordance index (Harrell)",
    "uno_c_index": "Concordance index (Uno)",
    "integrated_brier": "Integrated Brier score (lower is better)",
    "brier_skill": "Brier skill (0 is one curve for all)",
    "r2": "R² (0 is always saying the mean)",
    "mae": "Mean absolute error (lower is better)",
    "rmse": "Root mean squared error (lower is better)",
    "pearson": "Pearson correlation",
    "spearman": "Spearman rank correlation",
    "quadratic_kappa": "Quadratic weighted kappa",
    "mae_levels": "Mean distance in levels (lower is better)",
    "accuracy": "Accuracy",
    "adjacent_accuracy": "At most one level off",
    "macro_auroc": "AUROC, mean of labels",
    "macro_average_precision": "Average precision, mean of labels",
    "macro_f1": "F1 at one half, mean of labels",
    "micro_auroc": "AUROC, all labels together",
    "micro_average_precision": "Average precision, all labels together",
    "micro_f1": "F1 at one half, all labels together",
}
FEW_EVENTS = 50
UNITS = ("days", "weeks", "months", "years")


def task_part(run: Run) -> TaskPart:
    """The headline, the names of the metrics and the sections of the run's task; what was not recorded is left out."""
    metric, chance, sections = _PARTS.get(run.task_name, ("", None, lambda _: ()))
    test = run.metrics.get("test") or {}
    return TaskPart(metric if metric in test else next(iter(test), ""), chance, NAMES, sections(run))


def _survival(run: Run) -> tuple[Section, ...]:
    metrics, unit = run.metrics, _time_unit(run)
    groups = metrics.get("risk_groups")
    events, patients = metrics.get("n_events"), metrics.get("n_patients")
    counted = events is not None and patients is not None
    values = {"groups": groups, "events": events, "patients": patients, "counted": counted, "few_events": FEW_EVENTS}
    says, warns = (paragraphs("tasks", part, **values) for part in ("survival", "survival warns"))
    figures, tables = [], []
    if groups:
        drawing = kaplan_meier_figure(groups["groups"], xlabel=unit)
        title = "Kaplan-Meier curves of low and high predicted risk, with the numbers at risk"
        figures.append(figure(drawing, title, caption=sentence("tasks", "risk groups"), wide=True))
        tables.append(_group_table(groups["groups"], unit))
    figures += _predicted_survival(run, unit)
    title = "Survival by predicted risk"
    return (Section("survival", title, says=says, warns=warns, figures=tuple(figures), tables=tuple(tables)),)


def _group_table(groups: list[SurvivalCurve], unit: str) -> Table:
    """Patients, events, and survival at the middle times of the table below the curves."""
    ticks = [tick for tick, _ in max((group["at_risk"] for group in groups), key=len)][1:4]
    rows = []
    for group in groups:
        at = [int(np.searchsorted(group["times"], tick, side="right")) - 1 for tick in ticks]
        last = group["times"][-1]
        survival = [
            Entry(number(group["survival"][i]), span(group["low"][i], group["high"][i])) if tick <= last else Entry("–")
            for tick, i in zip(ticks, at, strict=True)
        ]
        rows.append((*entries(group["name"], group["n"], group["events"]), *survival))
    columns = ("group", "patients", "events", *(f"alive at {tick:g} {unit}" for tick in ticks))
    return Table("Survival of the groups", columns, tuple(rows), note=sentence("tasks", "table"))


def _predicted_survival(run: Run, unit: str) -> list[Figure]:
    times = [time for time in run.metrics.get("times") or () if f"survival_{time:g}" in run.predictions]
    wanted = ["target_time", "target_event", *(f"survival_{time:g}" for time in times)]
    if not times or not set(wanted) <= set(run.predictions):
        return []
    rows = _numbers(run.predictions, ["case", *wanted]).groupby("case").mean()
    drawing = predicted_survival_figure(
        np.array(times),
        rows[wanted[2:]].mean().to_numpy(),
        observed=kaplan_meier(rows[wanted[:2]].to_numpy()),
        xlabel=unit,
    )
    caption = sentence("tasks", "predicted survival")
    return [figure(drawing, "Predicted and observed survival of all patients", caption=caption)]


def _time_unit(run: Run) -> str:
    """The unit in the name of the time column; "time" where it says none."""
    column = run.task.columns[0].lower() if run.task and run.task.columns else ""
    return next((unit for unit in UNITS if unit[:-1] in column), "time")


def _regression(run: Run) -> tuple[Section, ...]:
    target = next((column for column in map(str, run.predictions) if column.startswith("target_")), None)
    if target is None or "value" not in run.predictions:
        return ()
    rows, name = _numbers(run.predictions, [target, "value"]), target.removeprefix("target_")
    drawing = agreement_figure(rows[target].to_numpy(), rows["value"].to_numpy(), name=name)
    shown = figure(drawing, f"Predicted against true {name}", caption=sentence("tasks", "agreement"))
    says = paragraphs("tasks", "regression", name=name, mean=rows[target].mean(), sd=rows[target].std())
    return (Section("agreement", "Predicted and true values", says=says, figures=(shown,)),)


def _ordinal(run: Run) -> tuple[Section, ...]:
    confusion, levels = run.metrics.get("confusion"), run.metrics.get("levels")
    if not confusion or not levels:
        return ()
    title = "True and predicted levels"
    drawn = figure(confusion_figure(np.array(confusion), levels), title, caption=sentence("tasks", "levels"))
    return (Section("levels", title, says=paragraphs("tasks", "ordinal"), figures=(drawn,)),)


def _multilabel(run: Run) -> tuple[Section, ...]:
    rows = []
    for name, own in (run.metrics.get("per_label") or {}).items():
        scores = [own.get(metric) or {} for metric in ("auroc", "average_precision", "f1")]
        rows.append((*entries(name, own["known"], own["positive"]), *map(scored, scores)))
    if not rows:
        return ()
    columns = ("label", "known", "positive", "AUROC", "average precision", "F1 at one half")
    table = Table("Each label", columns, tuple(rows), note=sentence("tasks", "labels"))
    return (Section("labels", "Labels", tables=(table,)),)


def _numbers(table: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Columns of the predictions as numbers, the case as it is."""
    return table[columns].assign(**{c: pd.to_numeric(table[c], errors="coerce") for c in columns if c != "case"})


_PARTS: dict[str, tuple[str, float | None, Callable[[Run], tuple[Section, ...]]]] = {
    "survival": ("c_index", 0.5, _survival),
    "survival_cox": ("c_index", 0.5, _survival),
    "regression": ("r2", 0.0, _regression),
    "ordinal": ("quadratic_kappa", 0.0, _ordinal),
    "multilabel": ("macro_auroc", 0.5, _multilabel),
}
"""Of each task: the metric at the top, its value without skill, and what makes its sections."""
