"""The slides of a run: which to look at first, which are worth a picture, and the table of all."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations, islice

import numpy as np
import pandas as pd

from asmil.attention import jsd
from asmil.report.pages import Entry, Section, Table, entries
from asmil.report.words import near_one, number, paragraphs, sentence, span
from asmil.runs import Run

SHOWN, ROWS = 10, 500
"""Slides of a table of those to look at first, and rows of any other: a page of 10,000 slides opens like one of 100."""
UNSTEADY = 0.1
"""A probability that moves less than this between seeds is not listed."""


def first_slides(run: Run) -> list[str]:
    """The slides that stand under "Look at these first", each once: of these there are pictures beside the page."""
    wrong, (unsteady, _) = _surest_wrong(run), _most_moved(run)
    return list(dict.fromkeys([*wrong["slide"].head(SHOWN), *map(str, unsteady.index)]))


def first_section(run: Run, links: Mapping[str, str]) -> Section:
    """The slides to look at first; `links` maps a slide to the place of its map or row on the page."""
    tables = tuple(table for table in (_sure_and_wrong(run, links), _unsteady(run, links), _lost(run)) if table)
    notes = paragraphs("slides", "notes", any=tables, one_seed=run.cell_predictions["seed"].nunique() < 2)
    return Section("first", "Look at these first", lead=sentence("slides", "first"), tables=tables, notes=notes)


def _surest_wrong(run: Run) -> pd.DataFrame:
    """The rows of wrong predictions, the surest first, with `sure`, the probability of what was predicted."""
    table = run.predictions
    if not run.classes:
        return table.head(0)
    wrong = table.assign(sure=run.probabilities(table).max(axis=1))[table["label"] != table["predicted"]]
    return wrong.sort_values("sure", ascending=False, kind="stable")


def _sure_and_wrong(run: Run, links: Mapping[str, str]) -> Table | None:
    """The wrong predictions that the model was surest of."""
    wrong = _surest_wrong(run)
    if wrong.empty:
        return None
    shown = wrong.head(SHOWN)
    rows = tuple(
        (_linked(row["slide"], links), *entries(row["case"], row["label"], row["predicted"], number(row["sure"])))
        for _, row in shown.iterrows()
    )
    title = sentence("slides", "wrong", shown=len(shown), wrong=len(wrong))
    return Table(title, ("Slide", "Patient", "True", "Predicted", "Probability"), rows, left=4)


def _most_moved(run: Run) -> tuple[pd.DataFrame, int]:
    """By slide the min, max and range of its value between seeds, of those that move most, and how many move."""
    value = run.values[-1] if run.values else None
    rows = run.cell_predictions
    rows = rows[rows["part"] == "test"]
    if value is None or value not in rows or rows["seed"].nunique() < 2:
        return pd.DataFrame(), 0
    spread = rows.groupby("slide")[value].agg(["min", "max"])
    spread["range"] = spread["max"] - spread["min"]
    least = UNSTEADY if run.classes else 0.0
    moving = spread[spread["range"] > least].sort_values("range", ascending=False, kind="stable")
    return moving.head(SHOWN), len(moving)


def _unsteady(run: Run, links: Mapping[str, str]) -> Table | None:
    """The slides whose prediction depends most on the seed of the training."""
    shown, moving = _most_moved(run)
    if shown.empty:
        return None
    about = run.predictions.set_index("slide").reindex(shown.index)
    drawn = []
    for slide, case, label, (_, row) in zip(shown.index, about["case"], about["label"], shown.iterrows(), strict=True):
        moved = number(_between_seeds(run.slide(str(slide)).attentions))
        facts = entries(case, label, span(row["min"], row["max"]))
        drawn.append((_linked(str(slide), links), *facts, *entries(number(row["range"]), moved)))
    what = f"Probability of class {run.classes[-1]}" if run.classes else run.values[-1].replace("_", " ")
    columns = (
        "Slide",
        "Patient",
        "True" if run.classes else "Stratum",
        f"{what}, lowest and highest seed",
        "Range",
        "JSD of attention",
    )
    title = sentence("slides", "unsteady")
    note = sentence("slides", "unsteady note", run=run, moving=moving, least=UNSTEADY)
    return Table(title, columns, tuple(drawn), left=3, note=note)


def _between_seeds(maps: list[np.ndarray]) -> float:
    pairs = [float(jsd(p / p.sum(), q / q.sum())) for p, q in combinations(maps, 2) if len(p) == len(q)]
    return float(np.mean(pairs)) if pairs else float("nan")


def _lost(run: Run) -> Table | None:
    """Slides that are not in the results."""
    failures = run.failures.rename(columns={"slide": "name"})
    if failures.empty:
        return None
    names = ("name", "result", "stage", "reason")
    shown = failures.head(ROWS).to_dict("records")
    rows = tuple(entries(*(row.get(name, "") for name in names)) for row in shown)
    title, note = (sentence("slides", part, shown=len(rows), lost=len(failures)) for part in ("lost", "lost note"))
    return Table(title, ("Slide", "Result", "Stage", "Reason"), rows, left=3, wrap=("Reason",), note=note)


def _linked(slide: str, links: Mapping[str, str]) -> Entry:
    return Entry(slide, link=links.get(slide, ""))


def places(run: Run, shown: Iterable[str], pictures: Mapping[str, str]) -> dict[str, str]:
    """Where a slide is on the page: its map, or else its picture beside the page, or else its row, if it has one."""
    rows = {slide: f"#slide-{i}" for i, slide in enumerate(rows_shown(run)["slide"], start=1)}
    return rows | dict(pictures) | {slide: f"#map-{i}" for i, slide in enumerate(shown, start=1)}


def rows_shown(run: Run) -> pd.DataFrame:
    """The rows of predictions.csv that the page has, in its order: all, or of more than `ROWS` the wrong ones, surest
    first, and then the least sure (without classes those of highest and of lowest value in turn)."""
    table = run.predictions
    if len(table) <= ROWS:
        return table
    if not run.classes:
        first = list(islice(telling_slides(run), ROWS))
        return table[table["slide"].isin(first)]
    wrong = _surest_wrong(run).index
    rest = table.index.difference(wrong)
    unsure = rest[np.argsort(run.probabilities(table.loc[rest]).max(axis=1), kind="stable")]
    return table.loc[sorted([*wrong, *unsure][:ROWS])]


def telling_slides(run: Run) -> Iterator[str]:
    """All slides in the order in which they are shown.

    With classes: of each class the surest right one, the surest wrong one, then the next. Without: the slides of
    highest and lowest value in turn.
    """
    queues = _by_class(run) if run.classes else _by_value(run)
    longest = max(map(len, queues), default=0)
    return (queue[i] for i in range(longest) for queue in queues if i < len(queue))


def choice_words(run: Run) -> str:
    """The order in a sentence."""
    return sentence("slides", "choice", run=run)


def _by_class(run: Run) -> list[list[str]]:
    table = run.predictions
    column = {name: i for i, name in enumerate(run.classes)}
    known = table[table["label"].isin(column)]
    truth = run.probabilities(known)[np.arange(len(known)), known["label"].map(column).to_numpy(int)]
    known = known.assign(truth=truth, right=known["label"] == known["predicted"])
    queues = []
    for name in run.classes:
        own = known[known["label"] == name].sort_values("truth", kind="stable")
        queues.append(list(own.loc[own["right"], "slide"][::-1]))
        queues.append(list(own.loc[~own["right"], "slide"]))
    return queues


def _by_value(run: Run) -> list[list[str]]:
    if not run.values:
        return [list(run.predictions["slide"])]
    ordered = list(run.predictions.sort_values(run.values[0], kind="stable")["slide"])
    half = (len(ordered) + 1) // 2
    return [ordered[: half - 1 : -1], ordered[:half]]


def slides_section(run: Run, pictures: Mapping[str, str]) -> Section:
    """A row per slide, or for the most telling ones (`rows_shown`), with links to the pictures that there are."""
    table = rows_shown(run)
    links = [pictures.get(slide, "") for slide in table["slide"]]
    if run.classes:
        sure = run.probabilities(table).max(axis=1)
        columns = ["Slide", "Patient", "True", "Predicted", "Probability", "Right"]
    else:
        columns = ["Slide", "Patient", "Stratum", *(name.replace("_", " ") for name in run.values)]
    measured = [c for c in ("entropy", "tile_ap") if c in table]
    titles = {"entropy": "Entropy", "tile_ap": "Tile AP"}
    rows = []
    for i, row in enumerate(table.to_dict("records")):
        cells = [*entries(row["slide"], row["case"], row["label"])]
        if run.classes:
            right = row["label"] == row["predicted"]
            cells += entries(row["predicted"], number(sure[i]))
            cells.append(Entry("✓" if right else "✗ wrong", mark="good" if right else "bad"))
        else:
            cells += entries(*(number(row[name]) for name in run.values))
        cells += entries(*(near_one(row[c]) if c == "entropy" else number(row[c]) for c in measured))
        cells += [Entry("picture" if links[i] else "", link=links[i])] if any(links) else []
        rows.append(tuple(cells))
    heads = [*columns, *(titles[c] for c in measured), *(["Map"] if any(links) else [])]
    ids = tuple(f"slide-{i}" for i in range(1, len(rows) + 1))
    whole = Table("", tuple(heads), tuple(rows), left=4 if run.classes else 3, ids=ids, sorts=True)
    of = {"run": run, "shown": len(rows), "slides": len(run.predictions)}
    lead, says = sentence("slides", "all", **of), paragraphs("slides", "pictures", **of)
    return Section("slides", "All slides", lead, says=says, tables=(whole,))
