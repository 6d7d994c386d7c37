"""Write the page of a study: report.html, one file that needs nothing else."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from asmil.figures import Difference, critical_difference_figure, forest_figure, learning_figure, stability_figure
from asmil.report import Figure, Section, figure, plural, write_page
from asmil.runs import REPORT
from asmil.study.analysis import ARM, METRIC_NAMES, Analysis, read_history
from asmil.study.tables import TextTable, text_tables, write_tables
from asmil.study.words import sentences

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
    learning = _learning(analysis, folder)
    sections = [_summary(analysis), *_sections(analysis, tables, figures)]
    contents = [(section.id, section.title) for section in sections if section.id != "ranks" or section.figures]
    return write_page(
        folder / REPORT,
        "study/template.html.jinja",
        name=folder.resolve().name,
        kind="study",
        facts=[
            plural(counts["dataset"], "dataset"),
            plural(counts["model"], "model"),
            plural(counts["stabilizer"], "stabiliser setting"),
            plural(len(cells), "cell"),
        ],
        contents=[*contents, *([("learning", "Learning curves")] if learning else []), ("settings", "Settings")],
        sections=sections,
        learning=learning,
        settings=_settings(cells),
    )


def _summary(analysis: Analysis) -> Section:
    words = tuple((heading, tuple(several)) for heading, several in sentences(analysis).items())
    return Section("summary", "Summary", words=words)


def _sections(analysis: Analysis, tables: list[TextTable], figures: dict[str, list[Figure]]) -> Iterator[Section]:
    """The parts of the page that have something to show; ranks say why there are none."""
    unranked = sorted({ranking.reason for ranking in analysis.rankings.values()} - {""})
    for key, title in SECTIONS.items():
        drawn, own = figures.get(key, []), [table for table in tables if table.section == key]
        lead = f"No diagram of critical differences: {'; '.join(unranked)}." if key == "ranks" and not drawn else ""
        if drawn or own or lead:
            yield Section(key, title, lead, figures=tuple(drawn), tables=tuple(own))


def _forests(analysis: Analysis) -> dict[str, list]:
    """A forest of differences for each main metric."""
    drawn = []
    table = analysis.tables["differences"]
    order = list(analysis.cells["stabilizer"].unique())
    for metric in FORESTS if len(table) else ():
        own = table[table["metric"] == metric]
        differences = [
            Difference(
                row["dataset"],
                row["model"],
                row["stabilizer"],
                row["mean"],
                row["low"],
                row["high"],
                sure=row["holm_p"] < 0.05,
            )
            for _, row in own.iterrows()
        ]
        if differences:
            name = METRIC_NAMES[metric]
            caption = (
                f"Difference of {name}, with the stabiliser minus without, and its 95 % interval. Full colour: holds "
                "after Holm's adjustment; pale: does not."
            )
            drawing = forest_figure(differences, xlabel=f"difference of {name}", order=order)
            drawn.append(figure(drawing, f"Differences of {name}", caption=caption, wide=True))
    return {"differences": drawn}


def _ranks(analysis: Analysis) -> dict[str, list]:
    """A critical-difference diagram for each stabiliser for which models can be ranked."""
    drawn = []
    for stabilizer, ranking in analysis.rankings.items():
        if not ranking.reason:
            drawing = critical_difference_figure(
                ranking.names, ranking.mean_ranks, difference=ranking.critical_difference, cliques=ranking.cliques
            )
            caption = (
                f"{stabilizer}: mean ranks by AUROC over {plural(ranking.n_datasets, 'dataset')}, best at the left. "
                "Models joined by a bar differ by less than the critical difference (Nemenyi)."
            )
            drawn.append(figure(drawing, f"Ranks of the models, {stabilizer}", caption=caption, wide=True))
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
            drawing = stability_figure(x, y, groups=groups, colours=colours, ylabel=name)
            caption = (
                f"Steadiness of attention (left is steadier) against {name}, a dot for each cell. Right: the mean of "
                "its dataset and model is taken from every dot; the line is the trend of what remains."
            )
            drawn.append(figure(drawing, f"Stability and {name}", caption=caption, wide=True))
    return {"stability": drawn}


def _learning(analysis: Analysis, folder: Path) -> list[dict[str, object]]:
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
            drawing, title = learning_figure(arms, labels=measured), f"Learning curves, {model} on {dataset}"
            datasets.setdefault(str(dataset), []).append(figure(drawing, title, caption=str(model), wide=True))
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
