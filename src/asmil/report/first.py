"""Which slides a person should look at first: sure but wrong, unsteady between trainings, not processed at all."""

from collections.abc import Iterable, Mapping
from itertools import combinations

import numpy as np
import pandas as pd

from asmil.attention import diagnostics
from asmil.report.blocks import Entry, Section, Table, entries
from asmil.report.words import number, plural, span
from asmil.runs import Run

SHOWN = 10
UNSTEADY = 0.1
"""A probability that moves less than this between seeds is not listed."""


def first_section(run: Run, links: Mapping[str, str]) -> Section:
    """The slides to look at first; `links` maps a slide to the place of its map or row on the page."""
    tables = [table for table in (_sure_and_wrong(run, links), _unsteady(run, links), _lost(run)) if table]
    notes = []
    if run.cell_predictions.get("seed", pd.Series(dtype=int)).nunique() < 2:
        notes.append(
            "There is one seed only, so it cannot be seen which predictions would change if a model were trained anew."
        )
    if not tables:
        notes.insert(0, "No slide failed, and none stands out.")
    lead = "A wrong label, another stain, a pen mark or a real failure of the model: only a look at the slide tells."
    return Section("first", "Look at these first", lead=lead, tables=tuple(tables), notes=tuple(notes))


def _sure_and_wrong(run: Run, links: Mapping[str, str]) -> Table | None:
    """The wrong predictions that the model was surest of."""
    if not run.classes:
        return None
    table = run.predictions
    sure = run.probabilities(table).max(axis=1)
    wrong = table.assign(sure=sure)[table["label"] != table["predicted"]]
    if wrong.empty:
        return None
    shown = wrong.sort_values("sure", ascending=False, kind="stable").head(SHOWN)
    rows = tuple(
        (_linked(row["slide"], links), *entries(row["case"], row["label"], row["predicted"], number(row["sure"])))
        for _, row in shown.iterrows()
    )
    title = f"Sure and wrong: {_of(len(shown), len(wrong), 'wrong prediction')}"
    return Table(title, ("Slide", "Patient", "True", "Predicted", "Probability"), rows, left=4)


def _unsteady(run: Run, links: Mapping[str, str]) -> Table | None:
    """The slides whose prediction depends most on the seed of the training."""
    value = run.values[-1] if run.values else None
    rows = run.cell_predictions
    rows = rows[rows["part"] == "test"]
    if value is None or value not in rows or rows["seed"].nunique() < 2:
        return None
    spread = rows.groupby("slide")[value].agg(["min", "max"])
    spread["range"] = spread["max"] - spread["min"]
    least = UNSTEADY if run.classes else 0.0
    moving = spread[spread["range"] > least].sort_values("range", ascending=False, kind="stable")
    if moving.empty:
        return None
    shown = moving.head(SHOWN)
    about = run.predictions.set_index("slide").reindex(shown.index)
    drawn = []
    for slide, case, label, (_, row) in zip(shown.index, about["case"], about["label"], shown.iterrows(), strict=True):
        moved = number(_between_seeds(run.slide(str(slide)).attentions))
        facts = entries(case, label, span(row["min"], row["max"]))
        drawn.append((_linked(str(slide), links), *facts, *entries(number(row["range"]), moved)))
    what = f"Probability of class {run.classes[-1]}" if run.classes else value.replace("_", " ")
    columns = ("Slide", "Patient", "True" if run.classes else "Stratum", f"{what}, lowest and highest seed", "Range",
               "JSD of attention")  # fmt: skip
    title = "Unsteady: the same slide by models that differ in their random start alone"
    note = (
        f"{plural(len(moving), 'slide')} in all"
        + (f" move by more than {UNSTEADY:g}" if run.classes else "")
        + ". JSD of attention: how different their maps are, 0 not at all, 0.693 completely."
    )
    return Table(title, columns, tuple(drawn), left=3, note=note)


def _between_seeds(maps: list[np.ndarray]) -> float:
    pairs = [float(diagnostics.jsd(p / p.sum(), q / q.sum())) for p, q in combinations(maps, 2) if len(p) == len(q)]
    return float(np.mean(pairs)) if pairs else float("nan")


def _lost(run: Run) -> Table | None:
    """Slides that are not in the results."""
    failures = run.failures.rename(columns={"slide": "name"})
    if failures.empty:
        return None
    names = ("name", "result", "stage", "reason")
    rows = tuple(entries(*(row.get(name, "") for name in names)) for row in failures.to_dict("records"))
    title = f"Not in the results: {plural(len(rows), 'slide')}"
    return Table(title, ("Slide", "Result", "Stage", "Reason"), rows, left=3, wrap=("Reason",))


def _linked(slide: str, links: Mapping[str, str]) -> Entry:
    return Entry(slide, link=links.get(slide, ""))


def _of(shown: int, n: int, what: str) -> str:
    return plural(n, what) if shown == n else f"{shown} of {plural(n, what)}"


def places(run: Run, shown: Iterable[str]) -> dict[str, str]:
    """Where a slide is on the page: its map, or else its picture beside the page, or else its row."""
    found = {}
    for i, slide in enumerate(run.predictions["slide"], start=1):
        picture = next((link for link in run.slide(slide).figures if link.endswith(".png")), None)
        found[slide] = picture or f"#slide-{i}"
    return found | {slide: f"#map-{i}" for i, slide in enumerate(shown, start=1)}
