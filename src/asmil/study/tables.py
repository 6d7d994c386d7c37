"""The tables of a study as files: small CSV files with everything, and Markdown with what a reader needs."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from asmil.files import write_text, written_beside
from asmil.report import Entry, Table
from asmil.shown import fixed
from asmil.study.analysis import METRIC_NAMES, Analysis, analyse, read_results

MAIN = ("test_auroc", "test_accuracy", "test_macro_f1", "test_log_loss", "tile_ap", "tile_auroc", "log10_jsd")
PROTOCOL_NAMES = {
    "optimistic_auroc": "AUROC, epoch chosen on the test part",
    "optimistic_accuracy": "accuracy, epoch chosen on the test part",
    "last_accuracy": "accuracy, last epoch",
}


@dataclass(frozen=True)
class TextTable(Table):
    """A table ready to be shown; `section` is the part of the page it belongs to."""

    section: str = ""


def write_tables(folder: str | Path, *, bootstrap: int = 1000) -> Analysis:
    """Analyse the results.csv of a study and write `tables/<name>.csv` and `tables.md` beside it.

    A table that would be empty is not written, and removed where an earlier call wrote it.

    Raises:
        RunError: there is no results.csv, or it does not hold the cells of a study.
    """
    folder = Path(folder)
    analysis = analyse(read_results(folder), bootstrap=bootstrap)
    shutil.rmtree(folder / "tables", ignore_errors=True)
    for name, table in analysis.tables.items():
        if len(table):
            with written_beside(folder / "tables" / f"{name}.csv") as partial:
                table.to_csv(partial, index=False, float_format="%.6g")
    write_text(folder / "tables.md", "\n".join(markdown(table) for table in text_tables(analysis)))
    return analysis


def markdown(table: TextTable) -> str:
    """A table under its heading."""
    bars = ["---"] * table.left + ["---:"] * (len(table.columns) - table.left)
    lines = [table.columns, bars, *([_markdown_entry(entry) for entry in row] for row in table.rows)]
    body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"## {table.title}\n\n" + (f"{table.note}\n\n" if table.note else "") + body + "\n"


def text_tables(analysis: Analysis) -> list[TextTable]:
    """The tables a reader needs, in reading order; those without rows are left out."""
    tables = [
        *_arm_tables(analysis),
        _overall_table(analysis),
        *_difference_tables(analysis),
        _choice_table(analysis),
        _protocol_table(analysis),
        _rank_table(analysis),
        _correlation_table(analysis),
    ]
    return [table for table in tables if table.rows]


def number(value: Any, *, signed: bool = False) -> str:
    """Three decimals with a true minus sign, or a dash where nothing is known.

    Never fewer, unlike a page of a run has it: differences stand below each other, and one of 0.0002 is none.
    """
    if not np.isfinite(value):
        return "–"
    text = fixed(value)
    return "0.000" if float(text) == 0 else (f"+{text}" if signed and value > 0 else text).replace("-", "−")


def p_value(p: Any) -> str:
    """A p value: two digits that count, nothing below 0.001."""
    if not np.isfinite(p):
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def _markdown_entry(entry: Entry) -> str:
    text = f"**{entry.text}**" if entry.strong else entry.text
    return f"{text} ({entry.interval})" if entry.interval else text


def _estimate(row: pd.Series, *, signed: bool = False, strong: bool = False) -> Entry:
    text = number(row["mean"], signed=signed)
    if not np.isfinite(row["low"]):
        return Entry(text)
    between = " to " if signed or row["low"] < 0 else "–"
    return Entry(text, between.join(number(row[end]) for end in ("low", "high")), strong and text != "0.000")


def _names(*texts: object) -> list[Entry]:
    return [Entry(str(text)) for text in texts]


Arms = list[tuple[list[Entry], pd.DataFrame, list[Entry]]]
"""Model and stabiliser, the rows of the arm, and an entry for each metric."""


def _by_dataset(
    table: pd.DataFrame, entry: Callable[[pd.Series], Entry]
) -> Iterator[tuple[object, pd.DataFrame, list[str], Arms]]:
    """Of each dataset its name, its rows, the titles of the main metrics that it has, and its arms."""
    for dataset, own in _by(table, "dataset"):
        metrics = [metric for metric in MAIN if (own["metric"] == metric).any()]
        arms: Arms = []
        for names, arm in own.groupby(["model", "stabilizer"], sort=False):
            found = arm.set_index("metric")
            values = [entry(found.loc[m]) if m in found.index else Entry("–") for m in metrics]
            arms.append((_names(*names), arm, values))
        yield dataset, own, [title_of(m) for m in metrics], arms


def _arm_tables(analysis: Analysis) -> Iterator[TextTable]:
    for dataset, own, metrics, arms in _by_dataset(analysis.tables["arms"], _estimate):
        rows = [(*names, Entry(str(arm["n"].max())), *values) for names, arm, values in arms]
        columns = ("Model", "Stabiliser", "Cells", *metrics)
        note = (
            "Mean over cells (folds and seeds) with the 95 % interval of the corrected resampled t; it is symmetric, "
            "so few cells near the best possible value can carry it beyond."
        )
        if (own["splits"] <= 1).all():
            note = (
                "Mean over seeds, tested on one split: the 95 % interval speaks of training anew, not of other slides."
            )
        yield TextTable(f"Results on {dataset}", columns, tuple(rows), 2, note, section="results")


def _difference_tables(analysis: Analysis) -> Iterator[TextTable]:
    def entry(row: pd.Series) -> Entry:
        return _estimate(row, signed=True, strong=row["holm_p"] < 0.05)

    for dataset, _, metrics, arms in _by_dataset(analysis.tables["differences"], entry):
        rows = [(*names, *values) for names, _, values in arms]
        columns = ("Model", "Stabiliser", *metrics)
        note = (
            f"With the stabiliser minus without ({analysis.baseline}), paired by fold and seed. Bold: Holm-adjusted "
            "p below 0.05 in the family of all comparisons of that metric, where the difference is not 0.000."
        )
        yield TextTable(f"Differences on {dataset}", columns, tuple(rows), 2, note, section="differences")


def _overall_table(analysis: Analysis) -> TextTable:
    rows = []
    for row in analysis.tables["overall"].itertuples():
        if row.model == "all models" and row.metric in MAIN:
            counts = (row.comparisons, row.interval_higher, row.interval_lower, row.holm_higher, row.holm_lower)
            values = (row.datasets, number(row.mean, signed=True), p_value(row.wilcoxon_p), *counts)
            rows.append(tuple(_names(row.stabilizer, title_of(row.metric), *values)))
    columns = (
        "Stabiliser",
        "Metric",
        "Datasets",
        "Mean difference",
        "Wilcoxon p over datasets",
        "Comparisons",
        "Interval above 0",
        "Interval below 0",
        "Above 0 after Holm",
        "Below 0 after Holm",
    )
    note = (
        "A comparison is one model on one dataset. The mean gives every dataset one vote; the test takes datasets as "
        "its unit, and n of them cannot give a p below 2 / 2ⁿ."
    )
    return TextTable("Stabilisers over all datasets", columns, tuple(rows), 2, note, section="differences")


def _choice_table(analysis: Analysis) -> TextTable:
    rows = []
    for (dataset, model), own in _by(analysis.tables["choices"], ["dataset", "model"]):
        found = own.set_index("metric")
        values: list[Entry] = []
        for metric in ("test_auroc", "test_accuracy"):
            if metric in found.index:
                row = found.loc[metric]
                means = [number(row["none_mean"]), number(row["chosen_mean"])]
                values += [*_names(*means), _estimate(row, signed=True)]
            else:
                values += _names("–", "–", "–")
        rows.append((*_names(dataset, model, own["chosen"].iloc[0]), *values))
    ways = ("without", "chosen", "difference")
    columns = ("Dataset", "Model", "Chosen", *(f"{m} {w}" for m in ("AUROC", "Accuracy") for w in ways))
    note = "In every cell the stabiliser with the lowest validation loss (none is a candidate), tested once."
    return TextTable("The stabiliser chosen on validation", columns, tuple(rows), 3, note, section="choice")


def _protocol_table(analysis: Analysis) -> TextTable:
    rows = []
    table = analysis.tables["protocols"]
    overall = table[table["dataset"] == "all"] if len(table) else table
    for row in overall.itertuples():
        values = (number(row.honest_mean), number(row.protocol_mean), number(row.mean, signed=True), row.n)
        rows.append(tuple(_names(row.stabilizer, PROTOCOL_NAMES[str(row.protocol)], *values)))
    columns = ("Stabiliser", "Number reported", "Epoch chosen on validation", "Reported", "Difference", "Cells")
    note = "What the same trainings would have reported under another protocol; mean over all cells of a setting."
    return TextTable("Honest and optimistic protocol", columns, tuple(rows), 2, note, section="protocol")


def _rank_table(analysis: Analysis) -> TextTable:
    tested = analysis.tables["ranks"].query("reason == ''")
    rows = [
        tuple(
            _names(
                row.stabilizer,
                row.model,
                f"{row.mean_rank:.2f}",
                row.datasets,
                f"{row.critical_difference:.2f}",
                p_value(row.friedman_p),
            )
        )
        for row in tested.itertuples()
    ]
    columns = ("Stabiliser", "Model", "Mean rank", "Datasets", "Critical difference", "Friedman p")
    note = "Models ranked by AUROC on every dataset; rank 1 is best."
    return TextTable("Ranks of the models", columns, tuple(rows), 2, note, section="ranks")


def _correlation_table(analysis: Analysis) -> TextTable:
    rows = []
    for _, row in analysis.tables["correlations"].iterrows():
        estimate = _estimate(row.rename({"rho": "mean"}), signed=True)
        counts = (row["n"], row["groups"], f"{row['clusters']} × {row['drawn_together']}")
        rows.append((*_names(METRIC_NAMES[row["metric"]], row["level"]), estimate, *_names(*counts)))
    columns = ("Performance", "Level", "Rank correlation with log JSD", "Cells", "Groups", "Bootstrap draws")
    note = (
        "Below 0: the steadier the attention, the better. What differs between groups is taken out; within an arm "
        "only split and seed differ, within a cell only the stabiliser."
    )
    return TextTable("Stability and performance", columns, tuple(rows), 2, note, section="stability")


def _by(table: pd.DataFrame, columns: str | list[str]) -> list:
    return list(table.groupby(columns, sort=False)) if len(table) else []


def title_of(metric: object) -> str:
    """The name of a metric as the first word of a line."""
    name = METRIC_NAMES[str(metric)]
    return name[0].upper() + name[1:]
