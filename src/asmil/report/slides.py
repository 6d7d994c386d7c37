"""The slides of a run: which to look at first, which are worth a picture, and the table of all."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations

import numpy as np

from asmil.attention import jsd
from asmil.report.pages import Entry, Section, Table, entries
from asmil.report.words import near_one, number, paragraphs, sentence, span
from asmil.runs import Run

SHOWN = 10
UNSTEADY = 0.1
"""A probability that moves less than this between seeds is not listed."""


def first_section(run: Run, links: Mapping[str, str]) -> Section:
    """The slides to look at first; `links` maps a slide to the place of its map or row on the page."""
    tables = tuple(table for table in (_sure_and_wrong(run, links), _unsteady(run, links), _lost(run)) if table)
    notes = paragraphs("slides", "notes", any=tables, one_seed=run.cell_predictions["seed"].nunique() < 2)
    return Section("first", "Look at these first", lead=sentence("slides", "first"), tables=tables, notes=notes)


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
    title = sentence("slides", "wrong", shown=len(shown), wrong=len(wrong))
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
    columns = (
        "Slide",
        "Patient",
        "True" if run.classes else "Stratum",
        f"{what}, lowest and highest seed",
        "Range",
        "JSD of attention",
    )
    title = sentence("slides", "unsteady")
    note = sentence("slides", "unsteady note", run=run, moving=len(moving), least=UNSTEADY)
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
    rows = tuple(entries(*(row.get(name, "") for name in names)) for row in failures.to_dict("records"))
    title = sentence("slides", "lost", lost=len(rows))
    return Table(title, ("Slide", "Result", "Stage", "Reason"), rows, left=3, wrap=("Reason",))


def _linked(slide: str, links: Mapping[str, str]) -> Entry:
    return Entry(slide, link=links.get(slide, ""))


def places(run: Run, shown: Iterable[str]) -> dict[str, str]:
    """Where a slide is on the page: its map, or else its picture beside the page, or else its row."""
    found = {}
    for i, slide in enumerate(run.predictions["slide"], start=1):
        picture = next((link for link in run.slide(slide).figures if link.endswith(".png")), None)
        found[slide] = picture or f"#slide-{i}"
    return found | {slide: f"#map-{i}" for i, slide in enumerate(shown, start=1)}


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


def slides_section(run: Run) -> Section:
    """One row per slide, with links to its pictures."""
    table = run.predictions
    links = [list(run.slide(slide).figures) for slide in table["slide"]]
    if run.classes:
        sure = run.probabilities(table).max(axis=1)
        columns = ["Slide", "Patient", "True", "Predicted", "Probability", "Right"]
    else:
        columns = ["Slide", "Patient", "Stratum", *(name.replace("_", " ") for name in run.values)]
    measured = [c for c in ("entropy", "tile_ap") if c in table]
    titles = {"entropy": "Entropy", "tile_ap": "Tile AP"}
    suffixes = [suffix for suffix in (".png", ".geojson") if any(x.endswith(suffix) for own in links for x in own)]
    rows = []
    for i, (_, row) in enumerate(table.iterrows()):
        cells = [*entries(row["slide"], row["case"], row["label"])]
        if run.classes:
            right = row["label"] == row["predicted"]
            cells += entries(row["predicted"], number(sure[i]))
            cells.append(Entry("✓" if right else "✗ wrong", mark="good" if right else "bad"))
        else:
            cells += entries(*(number(row[name]) for name in run.values))
        cells += entries(*(near_one(row[c]) if c == "entropy" else number(row[c]) for c in measured))
        cells += [_link(links[i], suffix) for suffix in suffixes]
        rows.append(tuple(cells))
    heads = [*columns, *(titles[c] for c in measured), *({".png": "Map", ".geojson": "Tiles"}[s] for s in suffixes)]
    ids = tuple(f"slide-{i}" for i in range(1, len(rows) + 1))
    whole = Table("", tuple(heads), tuple(rows), left=4 if run.classes else 3, ids=ids, sorts=True)
    return Section("slides", "All slides", sentence("slides", "all"), tables=(whole,))


def _link(links: list[str], suffix: str) -> Entry:
    found = next((link for link in links if link.endswith(suffix)), "")
    return Entry({".png": "picture", ".geojson": "QuPath"}[suffix] if found else "", link=found)
