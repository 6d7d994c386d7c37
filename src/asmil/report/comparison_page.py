"""Write the page of two runs side by side: what differs, by how much, and on which slides."""

from pathlib import Path
from typing import Any

import numpy as np

from asmil.evaluation.intervals import Interval
from asmil.figures import roc_figure, two_runs_figure
from asmil.files import safe_name
from asmil.report.attention import ATTENTION_NAMES
from asmil.report.blocks import Entry, Figure, Section, Table, entries, figure
from asmil.report.clinical import shown_classes
from asmil.report.comparison import Pair
from asmil.report.inputs import RunFiles
from asmil.report.measures import rate_curve
from asmil.report.pages import write_page
from asmil.report.sections import METRIC_NAMES
from asmil.report.words import listed, near_one, number, plain, plural, signed, span

MAP_NAMES = {key: name for key, (name, _) in ATTENTION_NAMES.items()} | {
    "tile_auroc": "Tile AUROC", "tile_ap": "Tile average precision",
}  # fmt: skip
SHOWN = 30


def write_comparison(run_folder: str | Path, other_folder: str | Path) -> Path:
    """Write `comparison_with_<other>.html` into the folder of a run; differences are run minus other.

    Returns:
        The path of the page.

    Raises:
        RunError: one of them was not evaluated, is of another task than classification, or has other labels.
    """
    pair = Pair(RunFiles(run_folder), RunFiles(other_folder))
    gaps = pair.differences()
    own, other = pair.names
    sections = [
        section
        for section in (_compared(pair), _metrics(pair, gaps), _maps(pair), _disagreements(pair), _settings(pair))
        if not section.empty
    ]
    main = gaps["auroc"]
    headline = {
        "title": f"Difference of AUROC, {'mean of the folds' if pair.folds is not None else 'all slides pooled'}",
        "value": signed(main.value),
        "interval": span(main.low, main.high) if np.isfinite(main.low) else None,
        "range": None,
        "verdict": verdict(main, pair.names),
    }
    return write_page(
        pair.own.folder / f"comparison_with_{safe_name(pair.other.folder.resolve().name)}.html",
        "report/comparison.html.jinja",
        name=f"{own} against {other}",
        kind="comparison",
        facts=[plural(len(pair.slides), "slide"), plural(pair.slides["case"].nunique(), "patient"),
               f"classes {' / '.join(pair.own.classes)}"],
        headline=headline,
        contents=[(section.id, section.title) for section in sections],
        sections=sections,
    )  # fmt: skip


def verdict(difference: Interval, names: tuple[str, str]) -> str:
    """One sentence on the difference of AUROC that claims no more than its interval."""
    own, other = names
    if not np.isfinite(difference.low):
        return "The difference cannot be computed on these slides."
    if difference.low > 0:
        return f"{own} ranks these slides better than {other}: the 95 % interval of the difference is above 0."
    if difference.high < 0:
        return f"{own} ranks these slides worse than {other}: the 95 % interval of the difference is below 0."
    return f"{own} and {other} cannot be told apart by AUROC: the 95 % interval of the difference contains 0."


def _compared(pair: Pair) -> Section:
    """Which slides, and whether they were divided alike."""
    own, other = pair.names
    n, sizes = len(pair.slides), [len(files.predictions) for files in (pair.own, pair.other)]
    says = [f"{plural(n, 'slide')} were predicted by both runs; each by models that had not seen it."]
    if min(sizes) > n or max(sizes) > n:
        says.append(f"{own} has {sizes[0] - n} slides that are not in {other}, which has {sizes[1] - n} others.")
    if pair.folds is not None:
        says.append("Both divided the patients into the same folds, so differences are means over the folds.")
    elif pair.same_folds:
        says.append("Both tested the same slides of one fold.")
    else:
        says.append(
            "Their folds differ (or one has no split table): slides are compared pooled over folds, and part of a "
            "difference is that the models learned from other patients."
        )
    seeds = [sorted({cell.seed for cell in files.cells}) for files in (pair.own, pair.other)]
    if seeds[0] != seeds[1]:
        says.append(f"They were trained with other seeds: {listed([str(s) for s in seeds[0]])} in {own}, "
                    f"{listed([str(s) for s in seeds[1]])} in {other}.")  # fmt: skip
    return Section("compared", "What was compared", says=tuple(says))


def _metrics(pair: Pair, gaps: dict[str, Interval]) -> Section:
    values, trained = (pair.values("a"), pair.values("b")), pair.over_training()
    rows = []
    for name in METRIC_NAMES:
        gap = gaps[name]
        row = [Entry(METRIC_NAMES[name]), *entries(number(values[0][name]), number(values[1][name]))]
        row.append(Entry(signed(gap.value), span(gap.low, gap.high), strong=gap.low > 0 or gap.high < 0))
        if trained:
            mean = trained[name]
            row.append(Entry(span(mean.low, mean.high)))
        rows.append(tuple(row))
    columns = ["Metric", *pair.names, "Difference, other patients"] + ["Interval, other training"] * bool(trained)
    note = (
        "Differences are the first run minus the second, with 95 % intervals. Other patients: both runs scored on the "
        "same resamples of patients; it speaks of these trained models. Bold: 0 is outside."
    )
    if trained:
        note += (
            " Other training: the corrected resampled t over folds (Nadeau and Bengio 2003); it speaks of the methods, "
            "if trained on other patients, and is wide with few folds."
        )
    note += " Nine metrics were looked at: decide by the one you chose before."
    table = Table("", tuple(columns), tuple(rows), note=note)
    return Section("metrics", "Metrics", tables=(table,), figures=_figures(pair))


def _figures(pair: Pair) -> tuple[Figure, ...]:
    label, cases = pair.scored["label"].to_numpy(str), pair.scored["case"].to_numpy(str)
    drawn = []
    for name in shown_classes(pair.own):
        place = pair.own.classes.index(name)
        if not 0 < (label == name).sum() < len(label):
            continue
        scores = [pair.probabilities(side)[:, place] for side in "ab"]
        lines = [
            rate_curve("roc", label == name, score, cases=cases, folds=None, label=run)
            for run, score in zip(pair.names, scores, strict=True)
        ]
        caption = f"ROC of class {name}, slides of all folds pooled, each with its 95 % band."
        drawn.append(figure(roc_figure(lines), f"ROC curves of class {name}", caption=caption))
        groups = {f"true {name}": label == name, "other": label != name}
        drawing = two_runs_figure(scores[1], scores[0], groups=groups, xlabel=pair.names[1], ylabel=pair.names[0])
        caption = f"Probability of class {name} by both runs, a dot for each slide; on the line they agree."
        drawn.append(figure(drawing, f"Probabilities of class {name} by both runs", caption=caption))
    return tuple(drawn)


def _maps(pair: Pair) -> Section:
    rows = []
    for key, (own, other, gap, n) in pair.map_differences().items():
        sure = gap.low > 0 or gap.high < 0
        change = Entry(signed(gap.value), span(gap.low, gap.high), strong=sure)
        rows.append((Entry(MAP_NAMES[key]), *entries(near_one(own), near_one(other)), change, Entry(str(n))))
    for key in ("jsd_last10", "jsd_between_seeds"):
        values: list[Any] = [(f.metrics.get("attention") or {}).get(key) for f in (pair.own, pair.other)]
        if all(value is not None for value in values):
            ends = entries(*(number(value) for value in values))
            rows.append((Entry(MAP_NAMES[key]), *ends, Entry(signed(values[0] - values[1])), Entry("–")))
    note = "Means over slides that both runs measured, paired by slide; intervals resample patients."
    table = Table("", ("Measure", *pair.names, "Difference", "Slides"), tuple(rows), note=note)
    return Section("attention", "Attention", tables=(table,) if rows else ())


def _disagreements(pair: Pair) -> Section:
    """The slides that the runs decide differently, the farthest apart first."""
    slides, classes = pair.slides, np.array(pair.own.classes)
    probs = [pair.probabilities(side, slides) for side in "ab"]
    picks = [prob.argmax(axis=1) for prob in probs]
    far = np.abs(probs[0] - probs[1]).max(axis=1)
    order = np.argsort(-far, kind="stable")
    shown = [i for i in order if picks[0][i] != picks[1][i]]
    rows = []
    for i in shown[:SHOWN]:
        row = slides.iloc[i]
        cells = [Entry(row["slide"]), *entries(row["case"], row["label"])]
        for pick, prob in zip(picks, probs, strict=True):
            right = classes[pick[i]] == row["label"]
            text = f"{classes[pick[i]]} ({number(prob[i].max(), 2)}) {'✓' if right else '✗'}"
            cells.append(Entry(text, mark="good" if right else "bad"))
        rows.append(tuple(cells))
    says = (
        f"The runs decide {plural(len(shown), 'slide')} of {len(slides):,} differently"
        + (f"; the {SHOWN} farthest apart are listed." if len(shown) > SHOWN else "."),
    )
    table = Table("", ("Slide", "Patient", "True", *pair.names), tuple(rows), left=3)
    return Section("slides", "Slides on which they disagree", says=says, tables=(table,) if rows else ())


def _settings(pair: Pair) -> Section:
    rows = tuple(entries(name, plain(own), plain(other)) for name, own, other in pair.settings())
    if not rows:
        return Section("settings", "Settings that differ", says=("None: the two were configured alike.",))
    table = Table("", ("Setting", *pair.names), rows, left=3, wrap=pair.names)
    return Section("settings", "Settings that differ", tables=(table,))
