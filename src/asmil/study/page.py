"""Write the page of a study: report.html, one file that needs nothing else."""

import importlib.resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from asmil.figures.export import figure_svg
from asmil.figures.study import (
    Difference,
    critical_difference_figure,
    forest_figure,
    learning_figure,
    stability_figure,
)
from asmil.files import write_text
from asmil.study.analysis import METRIC_NAMES, Analysis
from asmil.study.results import ARM, read_history
from asmil.study.tables import text_tables, write_tables
from asmil.study.words import plural, sentences

FORESTS = ("test_auroc", "test_accuracy", "tile_ap", "log10_jsd")
CURVES = {"val_loss": "validation loss", "val_auroc": "validation AUROC", "jsd": "JSD, epoch to epoch"}
SECTIONS = {
    "differences": "With and without stabiliser",
    "results": "Results",
    "choice": "Chosen on validation",
    "protocol": "Protocol",
    "ranks": "Ranks of the models",
    "stability": "Stability and performance",
}


def write_study_report(folder: str | Path, *, bootstrap: int = 1000) -> Path:
    """Write `report.html` into the folder of a study, with `tables/` and `tables.md`, from its files only.

    The page is self-contained: styles and figures are inside, nothing is fetched. What the study did not measure is
    left out.

    Args:
        bootstrap: draws for the intervals of correlations.

    Returns:
        The path of the page.

    Raises:
        RunError: there is no results.csv, or it does not hold the cells of a study.
    """
    folder = Path(folder)
    analysis = write_tables(folder, bootstrap=bootstrap)
    cells = analysis.cells
    counts = {name: cells[name].nunique() for name in ("dataset", "model", "stabilizer")}
    tables = text_tables(analysis)
    figures = _forests(analysis) | _ranks(analysis) | _stability(analysis)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(_resource("asmil.study", "template.html.jinja")).render(
        style=Markup(_resource("asmil.report", "style.css")),
        name=folder.resolve().name,
        facts=[plural(counts["dataset"], "dataset"), plural(counts["model"], "model"),
               plural(counts["stabilizer"], "stabiliser setting"), plural(len(cells), "cell")],
        words=sentences(analysis),
        sections=[
            {"id": key, "title": title, "figures": figures.get(key, []),
             "tables": [table for table in tables if table.section == key]}
            for key, title in SECTIONS.items()
        ],
        unranked=sorted({ranking.reason for ranking in analysis.rankings.values()} - {""}),
        learning=_learning(analysis, folder),
        settings=_settings(cells),
    )  # fmt: skip
    path = folder / "report.html"
    write_text(path, page)
    return path


def _resource(package: str, name: str) -> str:
    return (importlib.resources.files(package) / name).read_text(encoding="utf-8")


def _figure(figure: Any, title: str, caption: str) -> dict[str, Any]:
    return {"svg": Markup(figure_svg(figure, title=title)), "caption": caption}


def _forests(analysis: Analysis) -> dict[str, list]:
    """A forest of differences for each main metric."""
    drawn = []
    table = analysis.tables["differences"]
    order = list(analysis.cells["stabilizer"].unique())
    for metric in FORESTS if len(table) else ():
        own = table[table["metric"] == metric]
        differences = [
            Difference(row["dataset"], row["model"], row["stabilizer"], row["mean"], row["low"], row["high"],
                       sure=row["holm_p"] < 0.05)
            for _, row in own.iterrows()
        ]  # fmt: skip
        if differences:
            name = METRIC_NAMES[metric]
            caption = (
                f"Difference of {name}, with the stabiliser minus without, and its 95 % interval. Full colour: holds "
                "after Holm's adjustment; pale: does not."
            )
            figure = forest_figure(differences, xlabel=f"difference of {name}", order=order)
            drawn.append(_figure(figure, f"Differences of {name}", caption))
    return {"differences": drawn}


def _ranks(analysis: Analysis) -> dict[str, list]:
    """A critical-difference diagram for each stabiliser for which models can be ranked."""
    drawn = []
    for stabilizer, ranking in analysis.rankings.items():
        if not ranking.reason:
            figure = critical_difference_figure(
                ranking.names, ranking.mean_ranks, difference=ranking.critical_difference, cliques=ranking.cliques
            )
            caption = (
                f"{stabilizer}: mean ranks by AUROC over {plural(ranking.n_datasets, 'dataset')}, best at the left. "
                "Models joined by a bar differ by less than the critical difference (Nemenyi)."
            )
            drawn.append(_figure(figure, f"Ranks of the models, {stabilizer}", caption))
    return {"ranks": drawn}


def _stability(analysis: Analysis) -> dict[str, list]:
    """Scatter of log JSD against AUROC and tile AP."""
    cells, drawn = analysis.cells, []
    groups = (cells["dataset"] + " / " + cells["model"]).tolist()
    for metric in ("test_auroc", "tile_ap"):
        if (cells["log10_jsd"].notna() & cells[metric].notna()).sum() > 2:
            name = METRIC_NAMES[metric]
            x, y = (cells[column].to_numpy() for column in ("log10_jsd", metric))
            colours = cells["dataset"].tolist()
            figure = stability_figure(x, y, groups=groups, colours=colours, ylabel=name)
            caption = (
                f"Steadiness of attention (left is steadier) against {name}, a dot for each cell. Right: the mean of "
                "its dataset and model is taken from every dot; the line is the trend of what remains."
            )
            drawn.append(_figure(figure, f"Stability and {name}", caption))
    return {"stability": drawn}


def _learning(analysis: Analysis, folder: Path) -> list[dict[str, Any]]:
    """By dataset, a figure of learning curves for each model, its stabilisers in colours."""
    datasets: dict[str, list] = {}
    for (dataset, model), own in analysis.cells.groupby(["dataset", "model"], sort=False):
        arms = {}
        for arm in own[ARM].drop_duplicates().itertuples(index=False):
            history = read_history(folder, tuple(arm))
            if len(history):
                arms[str(arm.stabilizer)] = {name: _curves(history, name) for name in CURVES if name in history}
        measured = {
            m: label for m, label in CURVES.items() if any(np.isfinite(a.get(m, [])).any() for a in arms.values())
        }
        if measured:
            figure = _figure(
                learning_figure(arms, labels=measured), f"Learning curves, {model} on {dataset}", str(model)
            )
            datasets.setdefault(str(dataset), []).append(figure)
    return [{"dataset": name, "figures": figures} for name, figures in datasets.items()]


def _curves(history: pd.DataFrame, column: str) -> np.ndarray:
    """(cells, epochs) of one column, NaN where blank."""
    table = history.assign(**{column: pd.to_numeric(history[column], errors="coerce")})
    return table.pivot(index=["fold", "seed"], columns="epoch", values=column).to_numpy(dtype=np.float64)


def _settings(cells: pd.DataFrame) -> list[tuple[str, str]]:
    """Settings of training that all cells share, and those of each stabiliser."""
    shared = [c for c in cells if str(c).startswith("train.") and cells[c].notna().all() and cells[c].nunique() == 1]
    rows = [(str(column).removeprefix("train."), str(cells[column].iloc[0])) for column in shared]
    options = [c for c in cells if str(c).startswith("stabilizer.")]
    for name, own in cells.groupby("stabilizer", sort=False):
        values = own[options].iloc[0].dropna()
        text = ", ".join(f"{str(key).removeprefix('stabilizer.')} {value}" for key, value in values.items())
        rows.append((f"stabiliser {name}", text or "–"))
    return rows
