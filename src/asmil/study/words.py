"""What a study shows, in plain words: what was compared, what differs, what does not, and what cannot be said."""

import numpy as np
import pandas as pd

from asmil.bags import listed
from asmil.report import plural
from asmil.study.analysis import METRIC_NAMES, Analysis
from asmil.study.tables import number, title_of

PRIMARY = ("test_auroc", "test_accuracy", "tile_ap", "log10_jsd")
NAMED = 8
"""As many models and datasets are named in one sentence."""


def sentences(analysis: Analysis) -> dict[str, list[str]]:
    """Paragraphs by heading."""
    found = {
        "What was compared": _compared(analysis),
        "What differs": _differs(analysis),
        "What does not": _same(analysis),
        "Chosen on validation": _chosen(analysis),
        "Chosen on the test part": _optimistic(analysis),
        "Stability and performance": _correlated(analysis),
        "What cannot be said": _unknown(analysis),
    }
    return {heading: several for heading, several in found.items() if several}


def _compared(analysis: Analysis) -> list[str]:
    cells = analysis.cells
    others = [name for name in cells["stabilizer"].unique() if name != analysis.baseline]
    says = [
        f"{plural(cells['model'].nunique(), 'model')} on {plural(cells['dataset'].nunique(), 'dataset')}"
        + (f", without stabiliser and with {', '.join(others)}" if others else "")
        + f": {plural(len(cells), 'cell')}. A cell is one model trained on the training part of a split; its epoch is "
        "chosen on the validation part, and the test part is used once.",
    ]
    family = analysis.tables["differences"]
    if len(family):
        primary = family[family["metric"] == _main(family)]
        count = int(primary["p"].notna().sum())
        says.append(
            f"A stabiliser is compared with none on the same folds and seeds. That makes {plural(count, 'comparison')} "
            f"for each metric; if no stabiliser did anything, about {0.05 * count:.1f} of them would still have a 95 % "
            "interval without 0. Therefore only what holds after Holm's adjustment over all of them is called a "
            "difference here."
        )
    if cells["log10_jsd"].notna().any():
        says.append(
            "Log10 JSD is how much the attention of a slide changes from one epoch to the next at the end of training: "
            "lower is steadier, and one less is a tenth of the change."
        )
    return says


def _differs(analysis: Analysis) -> list[str]:
    says = []
    table = analysis.tables["differences"]
    for stabilizer, metric, own in _groups(table):
        sure = own[own["holm_p"] < 0.05]
        for word, side in (("higher", 1), ("lower", -1)):
            here = sure[sure["mean"] * side > 0]
            if len(here):
                says.append(
                    f"{title_of(metric)} is {word} with {stabilizer} in {len(here)} of {len(own)} "
                    f"comparisons, by {_span(here['mean'])} ({_places(here)})."
                )
    return says or (["No difference holds after adjustment."] if len(table) else [])


def _same(analysis: Analysis) -> list[str]:
    says = []
    for stabilizer, metric, own in _groups(analysis.tables["differences"]):
        rest = own[~(own["holm_p"] < 0.05)]
        if len(rest):
            half = float(((rest["high"] - rest["low"]) / 2).median())
            loose = int((rest["p"] < 0.05).sum())
            says.append(
                f"{title_of(metric)} with {stabilizer}: no difference that holds in {len(rest)} of "
                f"{len(own)} comparisons; the half width of their intervals is {number(half)} at the median"
                + (f", and {loose} of them exclude 0 before adjustment." if loose else ".")
            )
    if says:
        says.append(
            "That is no proof of equality: differences smaller than such a half width could not have been seen."
        )
    return says


def _chosen(analysis: Analysis) -> list[str]:
    table = analysis.tables["choices"]
    own = table[table["metric"] == _main(table)] if len(table) else table
    if not len(own):
        return []
    up, down = ((own["p"] < 0.05) & (own["mean"] * side > 0) for side in (1, -1))
    return [
        f"Choosing the stabiliser in every cell by validation loss changes the test {METRIC_NAMES[_main(table)]} by "
        f"{_span(own['mean'])}; the interval lies above 0 in {int(up.sum())} and below in {int(down.sum())} of "
        f"{plural(len(own), 'comparison')} (not adjusted). This is what a user gets who tunes without looking at the "
        "test part."
    ]


def _optimistic(analysis: Analysis) -> list[str]:
    """What choosing the epoch on the test part would add, and what it would do to the comparisons."""
    protocols, differences = analysis.tables["protocols"], analysis.tables["differences"]
    says = []
    for name in ("auroc", "accuracy"):
        optimistic, honest = f"optimistic_{name}", f"test_{name}"
        if len(protocols) and (protocols["protocol"] == optimistic).any():
            own = protocols[(protocols["protocol"] == optimistic) & (protocols["dataset"] != "all")]
            text = (
                f"Choosing the epoch on the test part, as is often done, would change the mean {METRIC_NAMES[honest]} "
                f"of an arm by {_span(own['mean'])}."
            )
            if len(differences):
                counts = [
                    int((differences.loc[differences["metric"] == metric, "p"] < 0.05).sum())
                    for metric in (optimistic, honest)
                ]
                if counts[0] != counts[1]:
                    text += f" {counts[0]} intervals of differences would exclude 0, not {counts[1]} (not adjusted)."
            says.append(text)
    return says


def _correlated(analysis: Analysis) -> list[str]:
    says = []
    table = analysis.tables["correlations"]
    for metric in ("test_auroc", "tile_ap") if len(table) else ():
        rho = table[table["metric"] == metric].set_index("level")
        parts = [
            f"{row['rho']:+.2f}".replace("-", "−")
            + (f" ({row['low']:+.2f} to {row['high']:+.2f})".replace("-", "−") if np.isfinite(row["low"]) else "")
            + f" {level}"
            for level, row in rho.iterrows()
            if np.isfinite(row["rho"])
        ]
        if parts:
            says.append(f"Rank correlation of log JSD with {METRIC_NAMES[metric]}: {', '.join(parts)}.")
    if says:
        says.append(
            "Below 0 means that steadier attention goes with better results. The first number mixes in how hard the "
            "datasets are; within an arm only split and seed differ; within a cell only the stabiliser differs, which "
            "may act on both at once. None of them shows that one causes the other."
        )
    return says


def _unknown(analysis: Analysis) -> list[str]:
    cells, tables = analysis.cells, analysis.tables
    says = []
    several = cells["stabilizer"].nunique() > 1
    if tables["differences"].empty:
        says.append(
            f"Nothing was trained with and without a stabiliser (the arms without are called {analysis.baseline})."
            if several
            else "There is one stabiliser setting only, so nothing can be said of stabilisers."
        )
    datasets = cells["dataset"].nunique()
    reasons = {ranking.reason for ranking in analysis.rankings.values()}
    if len(reasons) == 1 and "" not in reasons:
        says.append(f"Models are not ranked: {reasons.pop()}.")
    if 1 < datasets < 6:
        says.append(
            f"With {datasets} datasets the signed-rank test over datasets cannot give a p below "
            f"{2 / 2**datasets:.3g}: nothing is established for datasets in general."
        )
    elif datasets == 1:
        says.append("One dataset: what is seen here may hold here only.")
    splits = cells.groupby("dataset", sort=False)["split"].nunique()
    one = [str(name) for name in splits[splits == 1].index]
    if one:
        says.append(
            f"{', '.join(one)}: all cells are tested on the same slides. The intervals speak of training anew with "
            "other seeds, not of other patients."
        )
    missing = [METRIC_NAMES[m] for m in ("tile_ap", "log10_jsd") if cells[m].isna().all()]
    if missing:
        says.append(f"Not measured in any cell: {', '.join(missing)}.")
    dropped = tables["differences"]["dropped"].sum() if len(tables["differences"]) else 0
    if dropped:
        says.append(
            f"{plural(int(dropped), 'pair')} of values could not be compared because one was missing or undefined."
        )
    says.append(
        "Cells of a dataset share slides. The intervals allow for that by the correction of Nadeau and Bengio, which "
        "is an approximation. No interval covers other hospitals, scanners or settings than those trained here."
    )
    return says


def _groups(table: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    """Stabiliser, primary metric and their comparisons that could be tested."""
    if table.empty:
        return []
    known = table[table["p"].notna() & table["metric"].isin(PRIMARY)]
    groups = [(str(name), str(metric), own) for (name, metric), own in known.groupby(["stabilizer", "metric"])]
    return sorted(groups, key=lambda group: (PRIMARY.index(group[1]), group[0]))


def _main(table: pd.DataFrame) -> str:
    """AUROC, or the first metric that the study has."""
    return next(metric for metric in METRIC_NAMES if (table["metric"] == metric).any())


def _places(rows: pd.DataFrame) -> str:
    return listed((f"{row.model} on {row.dataset}" for row in rows.itertuples()), NAMED)


def _span(values: pd.Series) -> str:
    low, high = (number(v, signed=True) for v in (values.min(), values.max()))
    return low if low == high else f"{low} to {high}"
