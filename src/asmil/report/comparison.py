"""Two runs side by side on one page: paired differences on the slides that both predicted."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from asmil.errors import RunError
from asmil.evaluation import (
    METRICS,
    CorrectedMean,
    Interval,
    compare_predictions,
    corrected_mean,
    percentile_interval,
    resample_counts,
)
from asmil.figures import roc_figure, two_runs_figure
from asmil.report.clinical import shown_classes
from asmil.report.pages import Entry, Figure, Section, Table, entries, figure, write_page
from asmil.report.sections import ATTENTION_NAMES, METRIC_NAMES, rate_curve
from asmil.report.words import listed, number, paragraphs, plain, plural, sentence, signed, span
from asmil.runs import Run

MAPS = ("entropy", "effective_tiles", "top1_mass", "tile_auroc", "tile_ap")
MAP_NAMES = {key: name for key, (name, _) in ATTENTION_NAMES.items()} | {
    "tile_auroc": "Tile AUROC",
    "tile_ap": "Tile average precision",
}
SHOWN = 30


@dataclass(frozen=True)
class Pair:
    """Two runs of the same labels; differences are `own` minus `other`."""

    own: Run
    other: Run

    @cached_property
    def names(self) -> tuple[str, str]:
        """What the runs are called on the page: the names of their folders."""
        own, other = (run.folder.resolve().name for run in (self.own, self.other))
        return (own, other) if own != other else (own, f"{other} (the other)")

    @cached_property
    def slides(self) -> pd.DataFrame:
        """One row per shared slide: slide, case, label, y, fold and a_<column>, b_<column> of both runs.

        Raises:
            RunError: another task than classification, other classes, other labels, or no shared slide.
        """
        self._check()
        tables = [run.predictions.set_index("slide") for run in (self.own, self.other)]
        shared = [slide for slide in tables[0].index if slide in set(tables[1].index)]
        a, b = (table.loc[shared] for table in tables)
        if not shared or (a["label"] != b["label"]).any():
            wrong = [slide for slide in shared if a["label"][slide] != b["label"][slide]]
            raise RunError(
                f"{self.other.folder} predicts other {'labels' if shared else 'slides'}",
                found=f"{len(shared)} slides in both runs" + (f"; labels differ for {listed(wrong)}" if wrong else ""),
                fix="compare runs of the same table of labels",
            )
        rows = a[["case", "label"]].join([a.add_prefix("a_"), b.add_prefix("b_")])
        y = rows["label"].map({name: i for i, name in enumerate(self.own.classes)})
        return rows.assign(y=y.astype(int)).reset_index()

    def _check(self) -> None:
        for run in (self.own, self.other):
            if not run.classes:
                raise RunError(
                    "only runs of classification can be compared",
                    found=f"{run.folder} is of {run.task_name}",
                    fix="put their reports side by side",
                )
        if set(self.own.classes) != set(self.other.classes):
            found = f"{', '.join(self.own.classes)} and {', '.join(self.other.classes)}"
            raise RunError("the runs have other classes", found=found, fix="compare runs of the same labels")

    @cached_property
    def scored(self) -> pd.DataFrame:
        """The rows of `slides` that metrics count: one per patient where bags are patients."""
        patients = "case" in (self.own.unit, self.other.unit)
        return self.slides.drop_duplicates("case") if patients else self.slides

    def probabilities(self, side: str, rows: pd.DataFrame | None = None) -> np.ndarray:
        """(rows, classes) of side "a" (own) or "b" (other), of `scored` or other rows; classes as in the own run."""
        rows = self.scored if rows is None else rows
        return rows[[f"{side}_prob_{c}" for c in self.own.classes]].to_numpy(dtype=np.float64)

    @cached_property
    def same_folds(self) -> bool:
        """Whether every slide had the same part in every fold of both runs."""
        keys = ["slide", "fold", "part"]
        tables = [run.splits for run in (self.own, self.other)]
        a, b = (table[keys].sort_values(keys).reset_index(drop=True) for table in tables)
        return a.equals(b)

    @cached_property
    def folds(self) -> np.ndarray | None:
        """(scored,) the fold of each row where both runs have the same several folds, else None."""
        folds = self.scored["a_fold"].to_numpy() if self.same_folds and "a_fold" in self.scored else None
        return folds if folds is not None and len(np.unique(folds)) > 1 else None

    def differences(self, *, n_boot: int = 1000) -> dict[str, Interval]:
        """Every metric, own minus other: mean over folds where they are the same, else pooled."""
        y, cases = self.scored["y"].to_numpy(), self.scored["case"].to_numpy(str)
        a, b = self.probabilities("a"), self.probabilities("b")
        return compare_predictions(y, b, a, groups=cases, metrics=METRICS.names(), strata=y, folds=self.folds, n=n_boot)

    def values(self, side: str) -> dict[str, float]:
        """Every metric of one run on the shared slides, as `differences` summarises it."""
        y, prob = self.scored["y"].to_numpy(), self.probabilities(side)
        return {name: float(np.nanmean(self._by_fold(name, y, prob))) for name in METRICS.names()}

    def over_training(self) -> dict[str, CorrectedMean]:
        """Differences by fold with the interval for other training sets; nothing where folds differ."""
        if self.folds is None:
            return {}
        y, a, b = self.scored["y"].to_numpy(), self.probabilities("a"), self.probabilities("b")
        counts = self.own.splits.groupby(["fold", "part"]).size().unstack(fill_value=0)
        learned = counts.get("train", 0) + (counts.get("val", 0) if self.own.settings.refit else 0)
        ratio = float((counts["test"] / learned).mean())
        return {
            name: corrected_mean(self._by_fold(name, y, a) - self._by_fold(name, y, b), test_to_train=ratio)
            for name in METRICS.names()
        }

    def _by_fold(self, name: str, y: np.ndarray, prob: np.ndarray) -> np.ndarray:
        folds = np.zeros(len(y)) if self.folds is None else self.folds
        return np.array([METRICS[name](y[folds == fold], prob[folds == fold]) for fold in np.unique(folds)])

    def map_differences(self, *, n_boot: int = 1000) -> dict[str, tuple[float, float, Interval, int]]:
        """By measure of a slide's map: mean of own, of other, the difference with its interval, and the slides."""
        found = {}
        for column in MAPS:
            if not {f"a_{column}", f"b_{column}"} <= set(self.slides):
                continue
            a, b = (pd.to_numeric(self.slides[f"{side}_{column}"], errors="coerce") for side in "ab")
            both = a.notna() & b.notna()
            if both.any():
                gap = (a - b)[both].to_numpy()
                interval = _mean_over_patients(gap, self.slides["case"][both].to_numpy(str), n=n_boot)
                found[column] = (float(a[both].mean()), float(b[both].mean()), interval, int(both.sum()))
        return found

    def settings(self) -> list[tuple[str, object, object]]:
        """The settings in which the runs differ: name, own value, other value."""
        a, b = (run.settings.model_dump(mode="json", exclude={"out"}) for run in (self.own, self.other))
        return [(name, a[name], b[name]) for name in a if a[name] != b[name]]


def _mean_over_patients(values: np.ndarray, cases: np.ndarray, *, n: int) -> Interval:
    """Mean of values (slides,) with the interval from resampling patients."""
    counts = resample_counts(cases, n=n)
    patients = np.unique(cases, return_inverse=True)[1]
    sums, sizes = np.bincount(patients, weights=values), np.bincount(patients)
    return percentile_interval(float(values.mean()), (counts @ sums) / (counts @ sizes))


def write_comparison(run: Run | str | Path, other: Run | str | Path, *, partial: bool = False) -> Path:
    """Write `comparison_with_<other>.html` into the folder of a run; differences are run minus other.

    With `partial`, runs that are not finished are compared by what there is, and the page says so.

    Returns:
        The path of the page.

    Raises:
        RunError: one of them is not finished, was not evaluated, is of another task than classification, or has other
            labels; or they are one.
    """
    runs = Run.open(run), Run.open(other)
    if runs[0].folder.resolve() == runs[1].folder.resolve():
        raise RunError("a run is not compared with itself", found=other, fix="give another run: --against RUN")
    looks = [f"{one.folder.name}: {text}" for one in runs if (text := one.require_results(partial=partial))]
    pair = Pair(*runs)
    gaps = pair.differences()
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
        pair.own.comparison_file(pair.other),
        "report/templates/comparison.html.jinja",
        name=" against ".join(pair.names),
        kind="comparison",
        partial=" ".join(looks),
        facts=[
            plural(len(pair.slides), "slide"),
            plural(pair.slides["case"].nunique(), "patient"),
            f"classes {' / '.join(pair.own.classes)}",
        ],
        headline=headline,
        contents=[(section.id, section.title) for section in sections],
        sections=sections,
    )


def verdict(difference: Interval, names: tuple[str, str]) -> str:
    """One sentence on the difference of AUROC that claims no more than its interval."""
    return sentence("comparison", "verdict", gap=difference, own=names[0], other=names[1])


def _compared(pair: Pair) -> Section:
    """Which slides, and whether they were divided alike."""
    runs = (pair.own, pair.other)
    says = paragraphs(
        "comparison",
        "compared",
        own=pair.names[0],
        other=pair.names[1],
        slides=len(pair.slides),
        sizes=[len(run.predictions) for run in runs],
        by_fold=pair.folds is not None,
        same_folds=pair.same_folds,
        seeds=[sorted({cell.seed for cell in run.cells()}) for run in runs],
    )
    return Section("compared", "What was compared", says=says)


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
    note = sentence("comparison", "metrics note", trained=trained)
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
        caption = sentence("comparison", "roc", name=name)
        drawn.append(figure(roc_figure(lines), f"ROC curves of class {name}", caption=caption))
        groups = {f"true {name}": label == name, "other": label != name}
        drawing = two_runs_figure(scores[1], scores[0], groups=groups, xlabel=pair.names[1], ylabel=pair.names[0])
        caption = sentence("comparison", "both", name=name)
        drawn.append(figure(drawing, f"Probabilities of class {name} by both runs", caption=caption))
    return tuple(drawn)


def _maps(pair: Pair) -> Section:
    rows = []
    for key, (own, other, gap, n) in pair.map_differences().items():
        sure = gap.low > 0 or gap.high < 0
        change = Entry(signed(gap.value), span(gap.low, gap.high), strong=sure)
        rows.append((Entry(MAP_NAMES[key]), *entries(number(own), number(other)), change, Entry(str(n))))
    for key in ("jsd_last10", "jsd_between_seeds"):
        here, there = ((run.metrics.get("attention") or {}).get(key) for run in (pair.own, pair.other))
        if here is not None and there is not None:
            ends = entries(number(here), number(there))
            rows.append((Entry(MAP_NAMES[key]), *ends, Entry(signed(here - there)), Entry("–")))
    note = sentence("comparison", "maps note")
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
    says = paragraphs("comparison", "disagreements", differ=len(shown), slides=len(slides), most=SHOWN)
    table = Table("", ("Slide", "Patient", "True", *pair.names), tuple(rows), left=3)
    return Section("slides", "Slides on which they disagree", says=says, tables=(table,) if rows else ())


def _settings(pair: Pair) -> Section:
    rows = tuple(entries(name, plain(own), plain(other)) for name, own, other in pair.settings())
    if not rows:
        return Section("settings", "Settings that differ", says=paragraphs("comparison", "settings"))
    table = Table("", ("Setting", *pair.names), rows, left=3, wrap=pair.names)
    return Section("settings", "Settings that differ", tables=(table,))
