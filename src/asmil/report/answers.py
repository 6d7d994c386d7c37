"""The first screen of a run's page: how good it is, whether it can be trusted, and what went wrong."""

from collections import Counter

from asmil.bags import sorted_classes
from asmil.errors import as_typed
from asmil.evaluation import RATES
from asmil.files import Facts
from asmil.report.pages import TaskPart
from asmil.report.slides import FALSE_ALARM, decided, has_threshold, most_moved
from asmil.report.words import number, paragraphs, percent, plural, sentence, span
from asmil.runs import Run

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
        interval = f"{100 * low:.0f} – {percent(high)}" if low is not None and high is not None else ""
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
            "interval": span(*(test[name].get("ci95") or (None, None))),
            "of": "",
        }
        for name in shown
    ]


def _point(run: Run) -> tuple[str, ...]:
    """Which class is positive and why, and where it begins; nothing where there are not two classes."""
    if len(run.classes) != 2:
        return ()
    ordered, how = sorted_classes(run.classes)
    why = f"{how}; --classes says otherwise" if list(ordered) == run.classes else "the last of its classes"
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


def _counted(kind: str, count: int) -> str:
    return plural(count, kind) if kind == FALSE_ALARM else f"{count:,} {kind}"


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
        "kinds": [_counted(kind, count) for kind, count in kinds.most_common(3)],
        "more_kinds": max(len(kinds) - 3, 0),
        "results": [f"{count:,} {result}" for result, count in results.most_common()],
        "moving": most_moved(run)[1] if run.classes else 0,
        "set_aside": len((run.metrics.get("attention") or {}).get("annotations_set_aside") or {}),
    }
    parts = {"leaks": "#trust", "decisions": "#wrong", "lost": "#first", "unsteady": "#first", "annotations": ""}
    lines = [(sentence("answers", part, **values), place) for part, place in parts.items()]
    return [line for line in lines if line[0]]
