"""What another task than single-label classification adds to the page of a run."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from asmil.evaluation.survival import kaplan_meier
from asmil.figures import agreement_figure, confusion_figure, kaplan_meier_figure, predicted_survival_figure
from asmil.report.blocks import Entry, Figure, Section, Table, TaskPart, entries, figure
from asmil.report.inputs import RunFiles
from asmil.report.words import number, plural, span

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


def task_part(files: RunFiles) -> TaskPart:
    """The headline, the names of the metrics and the sections of the run's task; what was not recorded is left out."""
    metric, chance, sections = _PARTS.get(str(files.metrics.get("task")), ("", None, lambda _: ()))
    test = files.metrics.get("test") or {}
    return TaskPart(metric if metric in test else next(iter(test), ""), chance, NAMES, sections(files))


def _survival(files: RunFiles) -> tuple[Section, ...]:
    metrics, unit = files.metrics, _time_unit(files)
    groups = metrics.get("risk_groups")
    events, patients = metrics.get("n_events"), metrics.get("n_patients")
    says, warns, figures, tables = [], [], [], []
    if events is not None and patients is not None:
        says.append(
            f"{plural(events, 'event')} in {plural(patients, 'patient')}; of the others it is known how long none came."
        )
        if events < FEW_EVENTS:
            warns.append(f"{plural(events, 'event')} carry all there is to learn and to test here: read the intervals.")
    if groups:
        says += _group_words(groups)
        figures.append(
            figure(
                kaplan_meier_figure(groups["groups"], xlabel=unit),
                "Kaplan-Meier curves of low and high predicted risk, with the numbers at risk",
                caption="Survival of patients by the risk that a model which never saw them predicted; bands are 95 % "
                "intervals, small marks are patients who left observation.",
                wide=True,
            )
        )
        tables.append(_group_table(groups["groups"], unit))
    else:
        says.append(
            "Risk groups are not shown: they need risks of validation patients, and tested patients on both sides."
        )
    figures += _predicted_survival(files, unit)
    return (Section("survival", "Survival by predicted risk", says=tuple(says), warns=tuple(warns),
                    figures=tuple(figures), tables=tuple(tables)),)  # fmt: skip


def _group_words(groups: dict[str, Any]) -> list[str]:
    p = groups.get("log_rank_p")
    says = [
        f"A patient is of high risk above the {groups['cut']}: the cut was not chosen on the patients who are shown. "
        "Groups of different folds are drawn together."
    ]
    if p is not None:
        verdict = "differ by more than chance explains" if p < 0.05 else "cannot be told apart"
        size = "p < 0.0001" if p < 1e-4 else f"p = {number(p)}"
        says.append(
            f"The two curves {verdict} (log-rank test, {size}). The test says nothing of the size of the difference."
        )
    return says


def _group_table(groups: list[dict[str, Any]], unit: str) -> Table:
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
    return Table("Survival of the groups", columns, tuple(rows), note="With 95 % intervals (Greenwood, log-log).")


def _predicted_survival(files: RunFiles, unit: str) -> list[Figure]:
    times = [time for time in files.metrics.get("times") or () if f"survival_{time:g}" in files.predictions]
    wanted = ["target_time", "target_event", *(f"survival_{time:g}" for time in times)]
    if not times or not set(wanted) <= set(files.predictions):
        return []
    rows = _numbers(files.predictions, ["case", *wanted]).groupby("case").mean()
    drawing = predicted_survival_figure(
        np.array(times),
        rows[wanted[2:]].mean().to_numpy(),
        observed=kaplan_meier(rows[wanted[:2]].to_numpy()),
        xlabel=unit,
    )
    caption = "The mean of what was predicted should run within the band of what was observed (Kaplan-Meier)."
    return [figure(drawing, "Predicted and observed survival of all patients", caption=caption)]


def _time_unit(files: RunFiles) -> str:
    """The unit in the name of the time column; "time" where it says none."""
    from asmil.training.runs import Run

    task = Run(files.folder).task
    column = task.columns[0].lower() if task and task.columns else ""
    return next((unit for unit in UNITS if unit[:-1] in column), "time")


def _regression(files: RunFiles) -> tuple[Section, ...]:
    target = next((column for column in map(str, files.predictions) if column.startswith("target_")), None)
    if target is None or "value" not in files.predictions:
        return ()
    rows, name = _numbers(files.predictions, [target, "value"]), target.removeprefix("target_")
    drawing = agreement_figure(rows[target].to_numpy(), rows["value"].to_numpy(), name=name)
    caption = "One point per slide; on the dashed line the prediction is right."
    shown = figure(drawing, f"Predicted against true {name}", caption=caption)
    spread = rows[target].std()
    says = f"{name} of the tested slides: mean {number(rows[target].mean())}, standard deviation {number(spread)}."
    return (Section("agreement", "Predicted and true values", says=(says,), figures=(shown,)),)


def _ordinal(files: RunFiles) -> tuple[Section, ...]:
    confusion, levels = files.metrics.get("confusion"), files.metrics.get("levels")
    if not confusion or not levels:
        return ()
    says = (
        "The predicted level is the one in which the predicted probabilities, added up from the lowest, pass one half."
    )
    caption = "Slides by true and predicted level; neighbours of the diagonal are one level off."
    shown = figure(confusion_figure(np.array(confusion), levels), "True and predicted levels", caption=caption)
    return (Section("levels", "True and predicted levels", says=(says,), figures=(shown,)),)


def _multilabel(files: RunFiles) -> tuple[Section, ...]:
    rows = []
    for name, own in (files.metrics.get("per_label") or {}).items():
        scores = [own.get(metric) or {} for metric in ("auroc", "average_precision", "f1")]
        values = [Entry(number(s.get("value")), span(*(s.get("ci95") or (None, None)))) for s in scores]
        rows.append((*entries(name, own["known"], own["positive"]), *values))
    if not rows:
        return ()
    columns = ("label", "known", "positive", "AUROC", "average precision", "F1 at one half")
    note = (
        "All folds together, 95 % intervals over patients. Slides in which a label is unknown are left out of its row."
    )
    table = Table("Each label", columns, tuple(rows), note=note)
    return (Section("labels", "Labels", tables=(table,)),)


def _numbers(table: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Columns of the predictions as numbers, the case as it is."""
    return table[columns].assign(**{c: pd.to_numeric(table[c], errors="coerce") for c in columns if c != "case"})


_PARTS: dict[str, tuple[str, float | None, Callable[[RunFiles], tuple[Section, ...]]]] = {
    "survival": ("c_index", 0.5, _survival),
    "survival_cox": ("c_index", 0.5, _survival),
    "regression": ("r2", 0.0, _regression),
    "ordinal": ("quadratic_kappa", 0.0, _ordinal),
    "multilabel": ("macro_auroc", 0.5, _multilabel),
}
"""Of each task: the metric at the top, its value without skill, and what makes its sections."""
