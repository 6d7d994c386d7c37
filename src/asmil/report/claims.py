"""What the page claims: the headline, what its interval supports, what was done, what to trust; the first screen."""

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import pandas as pd

from asmil.bags import sorted_classes
from asmil.errors import as_typed
from asmil.evaluation import FEW_PATIENTS, RATES, Calibration, DecisionCurve, Subgroup, of_folds
from asmil.files import Facts
from asmil.report.clinical import useful_ranges
from asmil.report.pages import Section, TaskPart
from asmil.report.slides import FALSE_ALARM, decided, has_threshold, most_moved
from asmil.report.words import interval_of, listed, number, paragraphs, percent, plain, plural, sentence, span
from asmil.runs import Run

SUMMARY_NAMES = {"mean_of_folds": "mean of the folds", "pooled": "all folds pooled"}
PARTS = {"train": "to train on", "val": "to validate on", "test": "to test on"}
WIDE = 0.1
"""An interval wider than this is called wide."""
FEW_IN_CLASS = 30
"""With fewer patients of a class one patient moves the values by a point or more."""
NEARLY_EVEN = 0.99
"""Above this normalised entropy a map is nearly flat, whatever its colours."""


def headline(run: Run, part: TaskPart | None, *, names: dict[str, str]) -> Facts | None:
    """The result in one figure: its name, value and interval, and a verdict that the interval supports."""
    test = run.metrics.get("test", {})
    if not test:
        return None
    wanted = part.metric if part else "auroc"
    name = wanted if wanted in test else str(next(iter(test)))
    value, (low, high) = test[name].get("value"), test[name].get("ci95") or (None, None)
    summary = SUMMARY_NAMES.get(run.metrics.get("test_is", ""), "out of fold")
    if some := of_folds(test[name]):
        summary = f"mean of {some}, as it is not defined in the others"
    chance = (part.chance if name == part.metric else None) if part else (0.5 if name == "auroc" else None)
    found: Facts = {
        "title": f"Test {names.get(name, name.replace('_', ' '))}, {summary}",
        "value": "1.000" if value == 1 else number(value),  # as many digits as any other
        "interval": None if low is None or high is None else span(low, high),
        "range": None,
        "verdict": None,
        "sure": False,
    }
    if chance is not None and value is not None:
        found["verdict"] = verdict(low, high, cases=run.predictions["case"].nunique(), chance=chance)
        found["sure"] = low is not None and high is not None and low > chance and high - low <= WIDE
        if chance == 0.5 and low is not None and high is not None:  # such metrics lie between 0 and 1
            left = max(low, 0.0)
            found["range"] = {
                "from": "0",
                "middle": "0.5 chance",
                "to": "1",
                "at": 100 * value,
                "left": 100 * left,
                "width": 100 * (high - left),
            }
    return found


def verdict(low: float | None, high: float | None, *, cases: int, chance: float = 0.5) -> str:
    """One sentence that claims no more than the interval allows."""
    wide = low is not None and high is not None and high - low > WIDE
    return sentence("claims", "verdict", low=low, high=high, wide=wide, cases=cases, chance=chance)


def facts(run: Run) -> tuple[str, ...]:
    """The line under the title: model, features, sizes, classes or task."""
    slides, patients = len(run.predictions), run.predictions["case"].nunique()
    return paragraphs("claims", "facts", run=run, slides=slides, patients=patients)


def done_section(run: Run) -> Section:
    """What was done, from slides to numbers; problems of the split; the protocol as the metrics state it."""
    metrics, table, protocol = run.metrics, run.predictions, run.metrics.get("protocol") or {}
    counts = table["label"].value_counts()
    seeds = metrics.get("seeds") or {cell.seed for cell in run.cells()}
    says = paragraphs(
        "claims",
        "done",
        run=run,
        slides=len(table),
        patients=table["case"].nunique(),
        per_class=[f"{counts.get(name, 0):,} of class {name}" for name in run.classes],
        split=split_facts(run.splits),
        sizes=_sizes(run.splits),
        test_used=protocol.get("test_used"),
        mean_of_folds=metrics.get("test_is") == "mean_of_folds",
        pooled=(metrics.get("pooled") or {}).get("auroc"),
        seeds=len(seeds),
        again=sum(cell.logged("start").any() for cell in run.cells()),
        models=len(run.cells()),
        single=((metrics.get("per_seed") or {}).get("spread") or {}).get("auroc"),
    )
    stated = [(key.replace("_", " "), plain(value)) for key, value in protocol.items()]
    more = ("The protocol as recorded", tuple(stated)) if stated else None
    return Section("done", "What was done", says=says, warns=leaks(run), more=more, short="Done")


def leaks(run: Run) -> tuple[str, ...]:
    """What is wrong with the split, as its table shows."""
    return paragraphs("claims", "leaks", split=split_facts(run.splits))


def split_facts(splits: pd.DataFrame) -> dict[str, object]:
    """What the split table itself shows: folds, patients, and how often a clean split's rules are broken.

    Returns:
        folds, cases, shared (patients in two parts of one fold), retested (slides tested in more than one
        fold), untested (slides tested in none), alone (whether every slide is a patient of its own).
    """
    parts = splits.groupby(["fold", "case"])["part"].nunique()
    tests = splits.assign(test=splits["part"] == "test").groupby("slide")["test"].sum()
    return {
        "folds": int(splits["fold"].nunique()),
        "cases": int(splits["case"].nunique()),
        "shared": int((parts > 1).sum()),
        "retested": int((tests > 1).sum()),
        "untested": int((tests == 0).sum()),
        "alone": splits["case"].nunique() == splits["slide"].nunique(),
    }


def new_sites(run: Run) -> list[str]:
    """The sites that each fold was tested on, where they are known and no fold learned from its own; else nothing."""
    if "site" not in run.cohort:
        return []
    sites = run.splits["slide"].map(run.cohort.set_index("slide")["site"]).fillna("")
    if (sites == "").any() or sites.nunique() < 2:
        return []
    tested = []
    for fold, part in run.splits.assign(site=sites).groupby("fold"):
        test, others = (set(part.loc[(part["part"] == "test") == held, "site"]) for held in (True, False))
        if not test or test & others:
            return []
        tested.append(f"{listed(sorted(test), 3)} (fold {fold})")
    return tested


def _sizes(splits: pd.DataFrame) -> list[str]:
    sizes = []
    for part, use in PARTS.items():
        counts = splits[splits["part"] == part].groupby("fold").size()
        if len(counts):
            low, high = counts.min(), counts.max()
            sizes.append(f"{f'{low}' if low == high else f'{low} to {high}'} slides {use}")
    return sizes


def trust_facts(
    run: Run,
    found: Facts | None,
    *,
    calibration: Calibration | None = None,
    decisions: Mapping[str, DecisionCurve] = MappingProxyType({}),
    groups: Mapping[str, list[Subgroup]] = MappingProxyType({}),
) -> Facts:
    """What the files of the run say of how far it can be trusted; `found` is the headline."""
    metrics, table = run.metrics, run.predictions
    attention = dict.fromkeys(("entropy", "jsd_between_seeds", "tile_auroc", "tile_auroc_ci95", "tile_slides"))
    attention |= metrics.get("attention") or {}
    folds = [fold["auroc"] for fold in metrics.get("per_fold") or [] if fold.get("auroc") is not None]
    patients = table.groupby("label")["case"].nunique()
    few = [f"{patients[name]} of class {name}" for name in run.classes if patients.get(name, 0) < FEW_IN_CLASS]
    return {
        "run": run,
        "headline": found,
        "attention": attention,
        "leaks": leaks(run),
        "split": split_facts(run.splits),
        "tables": run.identity.get("data", {}).get("tables"),
        "twins": run.identity.get("data", {}).get("twins"),
        "verdict": None if not found or not found["verdict"] else "sure" if found["sure"] else "doubtful",
        "slides": len(table),
        "lost": len(run.failures),
        "few_patients": few,
        "folds": folds if len(folds) > 1 and max(folds) - min(folds) > WIDE else [],
        "one_seed": len({cell.seed for cell in run.cells()}) == 1,
        "calibration": _calibration(calibration),
        "decisions": [(name, useful_ranges(curve)) for name, curve in decisions.items()],
        "even": attention["entropy"] is not None and attention["entropy"] > NEARLY_EVEN,
        "anchor": anchor_facts(run),
        "found_place": _place(attention),
        "sites": len(groups.get("site") or []),
        "new_sites": new_sites(run),
        "few_below": FEW_PATIENTS,
        "few_groups": [group.name for several in groups.values() for group in several if group.few],
    }


def trust_section(trust: Facts) -> Section:
    """Sentences under three headings; each is a claim that a file of the run supports, or the lack of one.

    `trust` is what `trust_facts` says.
    """
    titles = {"holds": "What holds", "care": "What to take with care", "unknown": "What these files cannot show"}
    said = {title: paragraphs("claims", part, **trust) for part, title in titles.items()}
    words = tuple((title, several) for title, several in said.items() if several)
    return Section("trust", "What to trust", words=words, short="Trust")


def anchor_facts(run: Run) -> Facts | None:
    """What the anchors did, by the logs: of how many `models`, in which epoch (from 1, median) the gate `opened`.

    `closed` counts gated anchors that stayed even, `pinned` ungated ones (the paper's) beside an attention that did.
    None without anchor, and of runs that did not log it.
    """
    gates = [(cell, gate) for cell in run.cells() if np.isfinite(gate := cell.logged("gate")).any()]
    if not gates:
        return None
    gated = [gate for _, gate in gates if (gate < 1).any()]
    opened = [int(open_at.argmax()) + 1 for gate in gated if (open_at := gate > 1 - NEARLY_EVEN).any()]
    entropies = [cell.logged("entropy") for cell, gate in gates if not (gate < 1).any()]
    pinned = [entropy for entropy in entropies if np.isfinite(entropy).any() and np.nanmin(entropy) > NEARLY_EVEN]
    return {
        "models": len(gates),
        "opened": int(np.median(opened)) if opened else None,
        "closed": len(gated) - len(opened),
        "pinned": len(pinned),
    }


def _calibration(found: Calibration | None) -> dict[str, object] | None:
    """Median temperature (None: no validation slides determine one), and the errors before and after."""
    if found is None:
        return None
    fitted = [cell.temperature for cell in found.cells if cell.determined]
    middle = float(np.median(fitted)) if fitted else None
    return {"temperature": middle, "ece": found.values["ece"], "log_loss": found.values["log_loss"]}


def _place(attention: Facts) -> str | None:
    """Whether attention finds what was annotated: "sure", "doubtful", or None where it was not compared."""
    low = (attention["tile_auroc_ci95"] or (None,))[0]
    if attention["tile_auroc"] is None or low is None:
        return None
    return "sure" if low > 0.5 else "doubtful"


# The first screen of the page: how good the run is, whether it can be trusted, and what went wrong.

RATE_NAMES = {"sensitivity": "Sensitivity", "specificity": "Specificity", "ppv": "PPV", "npv": "NPV"}
FURTHER = ("balanced_accuracy", "macro_f1", "accuracy", "average_precision")
"""The metrics beside AUROC where there are more than two classes, or no operating point."""
MOST_METRICS = 4


def answers(run: Run, part: TaskPart | None, *, names: dict[str, str], trust: Facts) -> Facts:
    """What stands beside the headline, as the template shows it.

    Args:
        part: what the task adds, where it is not classification.
        names: words for the metrics.
        trust: what `trust_facts` says.

    Returns:
        `rates` (name, value, interval, of: the counts), `point` (sentences: the positive class, the threshold),
        `checked` and `care` (lines), `wrong` (lines, each with the place on the page that it leads to), `viewer` (the
        command).
    """
    return {
        "rates": _rates(run) or _metrics(run, part, names),
        "point": _point(run),
        "checked": paragraphs("answers", "checked", **trust),
        "care": paragraphs("answers", "care", **trust),
        "wrong": _went_wrong(run, trust),
        "viewer": as_typed("asmil", "view", run.folder.resolve().name),
    }


def _rates(run: Run) -> list[Facts]:
    """Sensitivity, specificity, PPV and NPV at the operating point, with what they count."""
    point = run.metrics.get("operating_point")
    if not point or not has_threshold(run):
        return []
    negative, positive = run.classes
    of = {
        "sensitivity": f"of class {positive}",
        "specificity": f"of class {negative}",
        "ppv": f"called {positive}",
        "npv": f"called {negative}",
    }
    found = []
    for rate, (hit, miss) in RATES.items():
        value, (low, high) = point[rate].get("value"), point[rate].get("ci95") or (None, None)
        hits, misses = point["counts"][hit], point["counts"][miss]
        interval = f"{percent(low)[:-2]} – {percent(high)}" if low is not None and high is not None else ""
        counted = f"{hits:,} of {hits + misses:,} {of[rate]}"
        found.append({"name": RATE_NAMES[rate], "value": percent(value), "interval": interval, "of": counted})
    return found


def _metrics(run: Run, part: TaskPart | None, names: dict[str, str]) -> list[Facts]:
    """The next metrics, of a run without an operating point."""
    test = run.metrics.get("test") or {}
    wanted = FURTHER if run.classes else tuple(name for name in test if part is None or name != part.metric)
    shown = [name for name in wanted if name in test][:MOST_METRICS]
    return [
        {
            "name": names.get(name, name.replace("_", " ")),
            "value": number(test[name].get("value")),
            "interval": interval_of(test[name]),
            "of": "",
        }
        for name in shown
    ]


def _point(run: Run) -> tuple[str, ...]:
    """Which class is positive and why, and where it begins; nothing where there are not two classes."""
    if len(run.classes) != 2:
        return ()
    ordered, how = sorted_classes(run.classes)
    why = f"{how}; --classes names another" if list(ordered) == run.classes else "the last of its classes"
    point = run.metrics.get("operating_point") if has_threshold(run) else None
    thresholds = (point or {}).get("thresholds") or []
    at = [one["threshold"] for one in thresholds]
    counts = (point or {}).get("counts") or {}
    values: Facts = {
        "positive": run.classes[1],
        "why": "named last in --classes" if run.settings.classes else why,
        "at": tuple(dict.fromkeys(number(end) for end in (min(at), max(at)))) if at else (),
        "unchosen": sum(not one["chosen"] for one in thresholds),
        "folds": len(thresholds),
        "min_sensitivity": (point or {}).get("min_sensitivity"),
        "share": (counts["tp"] + counts["fn"]) / max(sum(counts.values()), 1) if counts else None,
        "unit": run.unit,
    }
    return paragraphs("answers", "point", **values)


def _went_wrong(run: Run, trust: Facts) -> list[tuple[str, str]]:
    """A line for each kind of thing that went wrong, and where the page has more of it."""
    kinds: Counter[str] = Counter()
    decisions = 0
    if run.classes:
        table = decided(run).drop_duplicates(run.unit)
        decisions, kinds = len(table), Counter(table["wrong"][table["wrong"] != ""])
    failures = run.failures
    results = Counter(failures["result"] if "result" in failures else ["lost"] * len(failures))
    values: Facts = {
        **trust,
        "decisions": decisions,
        "wrong": sum(kinds.values()),
        "kinds": [plural(n, kind) if kind == FALSE_ALARM else f"{n:,} {kind}" for kind, n in kinds.most_common(3)],
        "more_kinds": max(len(kinds) - 3, 0),
        "results": [f"{count:,} {result}" for result, count in results.most_common()],
        "moving": most_moved(run)[1] if run.classes else 0,
        "set_aside": len((run.metrics.get("attention") or {}).get("annotations_set_aside") or {}),
    }
    parts = {"leaks": "#trust", "decisions": "#wrong", "lost": "#first", "unsteady": "#first", "annotations": ""}
    lines = [(sentence("answers", part, **values), place) for part, place in parts.items()]
    return [line for line in lines if line[0]]
