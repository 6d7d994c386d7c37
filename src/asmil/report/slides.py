"""The slides of a run: how each was decided, which to look at first, which are worth a picture, the table of all."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations, islice

import numpy as np
import pandas as pd

from asmil.attention import jsd
from asmil.evaluation import UNDECIDED
from asmil.report.pages import Entry, Section, Table, entries
from asmil.report.words import number, paragraphs, sentence, span
from asmil.runs import Run

SHOWN, ROWS = 10, 500
"""Slides of a table of those to look at first, and rows of any other: a page of 10,000 slides opens like one of 100."""
UNSTEADY = 0.1
"""A probability that moves less than this between seeds is not listed."""
FALSE_ALARM, MISSED = "false alarm", "missed"


def has_threshold(run: Run) -> bool:
    """Whether there are two classes, and `evaluate` has noted where the positive one begins."""
    return len(run.classes) == 2 and "threshold" in run.predictions


def decided(run: Run) -> pd.DataFrame:
    """The rows of predictions.csv of a run of classes with what was decided: `called`, `threshold`, `wrong` and `sure`.

    Of two classes the positive one is `called` from the slide's `threshold` on, and `wrong` says "false alarm" or
    "missed"; of more, or without a threshold (NaN), it is the most probable one. `wrong` is "" where it is right.
    `sure` puts decisions in the order of confidence: the distance to the threshold in logits, else the probability.
    """
    table, prob = run.predictions, run.probabilities(run.predictions)
    if has_threshold(run):
        threshold = table["threshold"].fillna(UNDECIDED).to_numpy(float)
        positive = prob[:, 1] >= threshold
        sure = np.abs(_logit(prob[:, 1]) - _logit(threshold))
    else:
        threshold = np.full(len(table), np.nan)
        positive, sure = prob.argmax(axis=1), prob.max(axis=1)
    called = np.array(run.classes)[positive.astype(int)]
    kinds = np.where(positive == 1, FALSE_ALARM, MISSED)
    if len(run.classes) != 2:
        kinds = np.array([f"{label} taken for {other}" for label, other in zip(table["label"], called, strict=True)])
    wrong = np.where(table["label"] == called, "", kinds)
    return table.assign(called=called, threshold=threshold, sure=sure, wrong=wrong)


def _logit(share: np.ndarray) -> np.ndarray:
    inside = np.clip(share, 1e-12, 1 - 1e-12)
    return np.log(inside / (1 - inside))


def wrong_slides(run: Run) -> pd.DataFrame:
    """The rows of wrong decisions, the surest first; none of a run without classes."""
    if not run.classes:
        return run.predictions.head(0)
    table = decided(run)
    return table[table["wrong"] != ""].sort_values("sure", ascending=False, kind="stable")


def right_slides(run: Run) -> Iterator[str]:
    """What to show beside the wrong slides: in turn the surest right one of each class.

    Without classes: all slides, those of highest and lowest value in turn.
    """
    queues = _by_value(run)
    if run.classes:
        table = decided(run).sort_values("sure", ascending=False, kind="stable")
        right = table[table["wrong"] == ""]
        queues = [list(right["slide"][right["label"] == name]) for name in run.classes]
    longest = max(map(len, queues), default=0)
    return (queue[i] for i in range(longest) for queue in queues if i < len(queue))


def choice_words(run: Run) -> str:
    """Which they are, in a sentence."""
    return sentence("slides", "choice", run=run)


def _by_value(run: Run) -> list[list[str]]:
    if not run.values:
        return [list(run.predictions["slide"])]
    ordered = list(run.predictions.sort_values(run.values[0], kind="stable")["slide"])
    half = (len(ordered) + 1) // 2
    return [ordered[: half - 1 : -1], ordered[:half]]


def pointed_at(run: Run, shown: Iterable[str]) -> list[str]:
    """The slides that the page names and a bundle has pictures of: wrong, unsteady, and `shown`, each once."""
    wrong, (unsteady, _) = wrong_slides(run), most_moved(run)
    return list(dict.fromkeys([*wrong["slide"].head(ROWS), *map(str, unsteady.index), *shown]))


def wrong_section(run: Run, links: Mapping[str, str], *, shown: Iterable[str]) -> Section | None:
    """What was decided wrongly; a table of those that are not `shown` below with their pictures. None without classes.

    `links` maps a slide to its place on the page, or its picture.
    """
    if not run.classes:
        return None
    wrong, pictured = wrong_slides(run), set(shown)
    rest = wrong[~wrong["slide"].isin(pictured)]
    values = {"run": run, "wrong": len(wrong), "slides": len(run.predictions), "pictured": len(wrong) - len(rest)}
    values |= {"listed": min(len(rest), ROWS), "at_threshold": has_threshold(run)}
    tables = [_decisions(run, rest.head(ROWS), links, title=sentence("slides", "rest", **values))] if len(rest) else []
    lead, says = sentence("slides", "wrong lead", **values), paragraphs("slides", "wrong", **values)
    return Section("wrong", "Wrong slides", lead, says=says, tables=tuple(tables), short="Wrong")


def _decisions(run: Run, table: pd.DataFrame, links: Mapping[str, str], *, title: str) -> Table:
    rows = tuple(
        (
            _linked(row["slide"], links),
            *entries(row["case"], row["label"], row["called"]),
            *entries(*(number(row[name]) for name in _probability(run))),
            Entry(f"✗ {row['wrong']}", mark="bad"),
        )
        for row in table.assign(top=run.probabilities(table).max(axis=1)).to_dict("records")
    )
    columns = ("Slide", "Patient", "True", "Decided", *_probability(run).values(), "Right")
    return Table(title, columns, rows, left=4)


def _probability(run: Run) -> dict[str, str]:
    """The columns that say how probable what was: of the positive class with its threshold, or of what was decided."""
    if has_threshold(run):
        return {f"prob_{run.classes[1]}": f"Probability of {run.classes[1]}", "threshold": "Threshold"}
    return {"top": "Probability"}


def first_section(run: Run, links: Mapping[str, str]) -> Section:
    """The slides that seeds disagree on, and those that are lost; `links` as for `wrong_section`."""
    tables = tuple(table for table in (_unsteady(run, links), _lost(run)) if table)
    notes = paragraphs("slides", "notes", any=tables, one_seed=run.cell_predictions["seed"].nunique() < 2)
    return Section("first", "Unsteady and lost slides", tables=tables, notes=notes, short="Unsteady")


def most_moved(run: Run) -> tuple[pd.DataFrame, int]:
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
    shown, moving = most_moved(run)
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
    table = decided(run) if run.classes else run.predictions
    if len(table) <= ROWS:
        return table
    if not run.classes:
        first = list(islice(right_slides(run), ROWS))
        return table[table["slide"].isin(first)]
    wrong = wrong_slides(run).index
    rest = table.index.difference(wrong)
    unsure = rest[np.argsort(table["sure"].loc[rest], kind="stable")]
    return table.loc[sorted([*wrong, *unsure][:ROWS])]


def slides_section(run: Run, links: Mapping[str, str]) -> Section:
    """A row per slide, or for the most telling ones (`rows_shown`); `links` lead to the pictures that there are."""
    table = rows_shown(run)
    there = [
        link if (link := links.get(slide, "")) and not link.startswith("#slide-") else "" for slide in table["slide"]
    ]
    probability = _probability(run) if run.classes else {}
    if run.classes:
        table = table.assign(top=run.probabilities(table).max(axis=1))
        columns = ["Slide", "Patient", "True", "Decided", *probability.values(), "Right"]
    else:
        columns = ["Slide", "Patient", "Stratum", *(name.replace("_", " ") for name in run.values)]
    measured = [c for c in ("entropy", "tile_ap") if c in table]
    titles = {"entropy": "Entropy", "tile_ap": "Tile AP"}
    rows = []
    for link, row in zip(there, table.to_dict("records"), strict=True):
        cells = [*entries(row["slide"], row["case"], row["label"])]
        if run.classes:
            cells += entries(row["called"], *(number(row[name]) for name in probability))
            cells.append(Entry("✓", mark="good") if not row["wrong"] else Entry(f"✗ wrong: {row['wrong']}", mark="bad"))
        else:
            cells += entries(*(number(row[name]) for name in run.values))
        cells += entries(*(number(row[c]) for c in measured))
        cells += [Entry("picture" if link else "", link=link)] if any(there) else []
        rows.append(tuple(cells))
    heads = [*columns, *(titles[c] for c in measured), *(["Map"] if any(there) else [])]
    ids = tuple(f"slide-{i}" for i in range(1, len(rows) + 1))
    whole = Table("", tuple(heads), tuple(rows), left=4 if run.classes else 3, ids=ids, sorts=True)
    of = {"run": run, "shown": len(rows), "slides": len(run.predictions)}
    lead, says = sentence("slides", "all", **of), paragraphs("slides", "pictures", **of)
    return Section("slides", "All slides", lead, says=says, tables=(whole,), short="Slides")
