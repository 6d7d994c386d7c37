"""What to trust: what the run's files show, what to take with care, and what they cannot show."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from asmil.evaluation.calibration import Calibration
from asmil.evaluation.decision import DecisionCurve
from asmil.evaluation.subgroups import FEW_PATIENTS, Subgroup
from asmil.report.blocks import Section
from asmil.report.claims import NARROW, split_words
from asmil.report.clinical import useful_words
from asmil.report.measures import split_facts
from asmil.report.words import listed, near_one, number, plural, span
from asmil.runs import Run

FEW_IN_CLASS = 30
"""With fewer patients of a class one patient moves the values by a point or more."""
NEARLY_EVEN = 0.99
"""Above this normalised entropy a map is nearly flat, whatever its colours."""


def trust_section(
    run: Run,
    headline: dict[str, Any] | None,
    *,
    calibration: Calibration | None = None,
    decisions: Mapping[str, DecisionCurve] = MappingProxyType({}),
    groups: Mapping[str, list[Subgroup]] = MappingProxyType({}),
) -> Section:
    """Sentences under three headings; each is a claim that a file of the run supports, or the lack of one."""
    holds: list[str] = []
    care: list[str] = []
    said = (
        _result(run, headline),
        _split(run),
        _spread(run),
        _lost(run),
        _probabilities(calibration),
        ([useful_words(n, c) for n, c in decisions.items() if c.useful], [
            useful_words(n, c) for n, c in decisions.items() if not c.useful]),
        _attention(run),
        _place(run),
    )  # fmt: skip
    for good, doubtful in said:
        holds += good
        care += doubtful
    words = (
        ("What holds", tuple(holds)),
        ("What to take with care", tuple(care)),
        ("What these files cannot show", tuple(_unknown(run, groups))),
    )
    return Section("trust", "What to trust", words=tuple((title, says) for title, says in words if says))


Said = tuple[list[str], list[str]]


def _result(run: Run, headline: dict[str, Any] | None) -> Said:
    if headline is None or not headline["verdict"]:
        return [], []
    says = f"{headline['title']}: {headline['value']} ({headline['interval'] or 'no interval'}). {headline['verdict']}"
    sure = says.endswith(("above 0.5.", "above 0."))
    return ([says], []) if sure else ([], [says])


def _split(run: Run) -> Said:
    """Whether patients were kept apart."""
    warns, splits = split_words(run)[1], run.splits
    if warns:
        return [], [f"{warning} No number of this page is then one of unseen patients." for warning in warns]
    facts = split_facts(splits)
    checked = [
        "Checked in the split table while this page was written: all slides of a patient stay together, no patient "
        f"is in two parts of a fold, and no slide is tested twice ({plural(facts['cases'], 'patient')})."
    ]
    alone = [
        "Every slide is listed as a patient of its own. If a patient has several slides here, the tables do not say "
        "so and the check above cannot see it."
    ] * (splits["case"].nunique() == splits["slide"].nunique())
    return checked, alone


def _spread(run: Run) -> Said:
    """How much the result moves between folds and between seeds."""
    care = []
    folds = [fold.get("auroc") for fold in run.metrics.get("per_fold") or []]
    known = [value for value in folds if value is not None]
    if len(known) > 1 and max(known) - min(known) > NARROW:
        care.append(
            f"AUROC moves between the folds from {number(min(known))} to {number(max(known))}: fewer test slides, and "
            "another training set, in each."
        )
    if len({cell.seed for cell in run.cells()}) == 1:
        care.append("One seed only: how much of the result is luck of the random start is not known.")
    counts = run.predictions.groupby("label")["case"].nunique()
    small = [f"{counts[name]} of class {name}" for name in run.classes if counts.get(name, 0) < FEW_IN_CLASS]
    if small:
        care.append(f"Few patients: {listed(small)}. One patient more or less moves the values.")
    return [], care


def _lost(run: Run) -> Said:
    lost, tested = len(run.failures), len(run.predictions)
    if not lost:
        return ["No slide was lost on the way."], []
    share = lost / (lost + tested)
    return [], [
        f"{plural(lost, 'slide')} ({100 * share:.1f} %) did not get into the results. If they are the difficult ones, "
        "the values are too good."
    ]


def _probabilities(found: Calibration | None) -> Said:
    """Whether probabilities may be taken at their word."""
    if found is None:
        return [], []
    fitted = [cell.temperature for cell in found.cells if cell.determined]
    before, after, change = found.values["log_loss"]
    if not fitted:
        return [], ["Probabilities are not checked: the validation slides determine no temperature."]
    middle = float(np.median(fitted))
    word = (
        "too sure of themselves" if middle > 1.1 else "too cautious" if middle < 1 / 1.1 else "about as sure as right"
    )
    ece = found.values["ece"]
    says = (
        f"Probabilities are {word} by the validation slides (median temperature {number(middle, 2)}). On test slides "
        f"the calibration error is {number(ece[0].value)}, after scaling {number(ece[1].value)}; the log loss "
        f"{number(before.value)}, after scaling {number(after.value)}. "
    )
    if change.high < 0:
        return [], [says + "Scaling makes them better: do not act on the unscaled values."]
    if change.low > 0:
        return [], [says + "Scaling makes them worse on test slides, so the temperature does not carry over."]
    return [], [says + "Whether scaling helps cannot be told from so many slides."]


def _attention(run: Run) -> Said:
    """How even the maps are, and how much they depend on the seed."""
    facts = run.metrics.get("attention") or {}
    care = []
    entropy, seeds = facts.get("entropy"), facts.get("jsd_between_seeds")
    if entropy is not None and entropy > NEARLY_EVEN:
        care.append(
            f"Attention is nearly even (normalised entropy {near_one(entropy)}): the maps rank tiles by small "
            "differences, which their colours enlarge. They show an order, not a focus."
        )
    if seeds is not None and seeds > 0.1:
        care.append(
            f"Maps of the same slide differ between seeds (JSD {number(seeds)} of at most 0.693): do not read a single "
            "one as the reason of a prediction."
        )
    return [], care


def _place(run: Run) -> Said:
    """Whether attention finds what was annotated."""
    facts = run.metrics.get("attention") or {}
    value, interval = facts.get("tile_auroc"), facts.get("tile_auroc_ci95")
    if value is None or not interval or interval[0] is None:
        return [], []
    says = f"tile AUROC {number(value)} ({span(*interval)})"
    if interval[0] > 0.5:
        return [f"Attention ranks annotated tiles before others better than chance: {says}."], []
    return [], [f"Attention does not surely find the annotated tiles: {says}, chance is 0.5."]


def _unknown(run: Run, groups: Mapping[str, list[Subgroup]]) -> list[str]:
    says = [
        "No file can show how often settings were changed after looking at results on these slides; the best of many "
        "tries looks better than it is.",
        "Intervals are 95 % bootstrap intervals over patients. They hold for patients like these and for this split, "
        "not for another hospital or scanner.",
    ]
    sites = groups.get("site") or []
    if len(sites) > 1 and not run.settings.by_site:
        says.append(
            f"The {len(sites)} sites are mixed in training and test, so the values say nothing of a site that was not "
            "in the training (train with --by-site for that)."
        )
    few = [group.name for several in groups.values() for group in several if group.few]
    if few:
        says.append(f"Groups with fewer than {FEW_PATIENTS} patients of a class tell little: {listed(few)}.")
    if not run.metrics.get("attention", {}).get("tile_slides"):
        says.append("Attention was not compared with annotations, so the maps are not known to be right.")
    return says
