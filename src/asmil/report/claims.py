"""What the page says of a run in words: the headline, what it supports, and how the numbers came about."""

from typing import Any

import pandas as pd

from asmil.report.inputs import RunFiles
from asmil.report.measures import split_facts
from asmil.report.sections import METRIC_NAMES, number, plain, plural

SUMMARY_NAMES = {"mean_of_folds": "mean of the folds", "pooled": "all folds pooled"}
SELECTED = {
    "val_loss": "The kept epoch of each training is the one with the lowest loss on its validation slides.",
    "val_auroc": "The kept epoch of each training is the one with the highest AUROC on its validation slides.",
    "last": "No epoch was selected: the last one of each training counts.",
}


def headline(files: RunFiles) -> dict[str, Any]:
    """The result in one figure: metric, value, interval, and a verdict that the interval supports."""
    test = files.metrics.get("test", {})
    name = "auroc" if "auroc" in test else next(iter(test), None)
    table = files.predictions
    cases = table["case"].nunique()
    found = {
        "model": str(files.config.get("model", "model")),
        "encoder": files.config.get("encoder"),
        "stabilized": (files.metrics.get("protocol") or {}).get("stabilized", files.config.get("stabilize")),
        "slides": plural(len(table), "slide"),
        "cases": plural(cases, "patient"),
        "classes": files.classes,
        "metric": None,
    }
    if name is None:
        return found
    value, (low, high) = test[name]["value"], test[name].get("ci95") or (None, None)
    found |= {"metric": METRIC_NAMES.get(name, name), "value": value, "low": low, "high": high}
    found["summary"] = SUMMARY_NAMES.get(files.metrics.get("test_is", ""), "out of fold")
    if name == "auroc" and value is not None:
        found["verdict"] = verdict(value, low, high, cases=cases)
    return found


def verdict(value: float, low: float | None, high: float | None, *, cases: int) -> str:
    """One sentence that claims no more than the interval allows."""
    if low is None or high is None:
        return "No interval was computed, so the value cannot be told from chance."
    if high < 0.5:
        return "Worse than chance: the ranking is reversed. Check the labels and the order of the classes."
    if low <= 0.5:
        return "Not distinguishable from chance: the 95 % interval contains 0.5."
    sentence = "Better than chance on patients it never saw: the 95 % interval lies above 0.5"
    if high - low > 0.1:
        return f"{sentence}, but it is wide. With {plural(cases, 'patient')} the value is provisional."
    return sentence + "."


def protocol(files: RunFiles) -> dict[str, Any]:
    """How the numbers came about: sentences made from the files, warnings, and what metrics.json states."""
    says, warns = _split_words(files)
    stated = files.metrics.get("protocol") or {}
    select = str(files.config.get("select", ""))
    says.append(SELECTED.get(select, "The files do not say how the epoch of each training was chosen."))
    if files.config.get("refit") and select != "last":
        says.append(
            "The tested model was then trained anew on the training and validation slides together, for as long as "
            "chosen that way (the same sum of learning rates, ending at zero); curves by epoch are those of the "
            "training that chose it."
        )
    used = stated.get("test_used")
    says.append(
        (f"By the record of the run, test slides were used {used}. " if used else "")
        + "No file can show how often settings were changed after looking at results on these slides; "
        "the best of many tries looks better than it is."
    )
    says += _summary_words(files)
    says.append(
        "Intervals are 95 % bootstrap intervals over patients. They hold for patients like these and for this "
        "split, not for another hospital or scanner."
    )
    facts = [(key.replace("_", " "), plain(value)) for key, value in stated.items()]
    return {"says": says, "warns": warns, "facts": facts}


def _split_words(files: RunFiles) -> tuple[list[str], list[str]]:
    """What the split table shows, and what is wrong with it."""
    splits = files.splits
    if splits.empty or not {"slide", "case", "fold", "part"} <= set(splits):
        return ["There is no split table, so it cannot be checked that patients were kept apart."], []
    facts = split_facts(splits)
    each = ", ".join(
        f"{_span(splits[splits['part'] == part].groupby('fold').size())} slides to {verb} on"
        for part, verb in (("train", "train"), ("val", "validate"), ("test", "test"))
        if (splits["part"] == part).any()
    )
    says = [
        f"{plural(facts['cases'], 'patient')} were divided into {plural(facts['folds'], 'fold')}; each fold is the "
        f"test set once. A model had {each}."
    ]
    warns = []
    if facts["shared"]:
        warns.append(f"Patients in two parts of one fold: {facts['shared']}. The results leak.")
    if facts["retested"]:
        warns.append(f"Slides tested in more than one fold: {facts['retested']}.")
    if facts["untested"]:
        warns.append(f"Slides of the split table that no fold tests: {facts['untested']}.")
    if not (facts["shared"] or facts["retested"]):
        says.append(
            "Checked in the split table while this page was written: all slides of a patient "
            "stay together, no patient is in two parts of a fold, and no slide is tested twice."
        )
    if splits["case"].nunique() == splits["slide"].nunique():
        says.append(
            "Every slide is listed as a patient of its own. If a patient has several slides here, "
            "the tables do not say so and the check above cannot see it."
        )
    return says, warns


def _span(counts: pd.Series) -> str:
    low, high = counts.min(), counts.max()
    return f"{low}" if low == high else f"{low} to {high}"


def _summary_words(files: RunFiles) -> list[str]:
    """How folds and seeds became one number."""
    metrics, says = files.metrics, []
    if metrics.get("test_is") == "mean_of_folds":
        pooled = (metrics.get("pooled") or {}).get("auroc") or {}
        low, high = pooled.get("ci95") or (None, None)
        says.append(
            "Values are means over the folds. ROC and precision-recall curves and the confusion matrix pool the "
            "slides of all folds, although models of different folds were never put on one scale"
            + (f": pooled AUROC {number(pooled)} ({number(low)} – {number(high)})." if pooled else ".")
        )
    per_seed = metrics.get("per_seed") or {}
    seeds = metrics.get("seeds") or {cell.seed for cell in files.cells}
    count = seeds if isinstance(seeds, int) else len(seeds)
    if count > 1:
        single = (per_seed.get("spread") or {}).get("auroc") or {}
        says.append(
            f"Each fold was trained with {count} seeds; probabilities and attention are means over them"
            + (f". One seed alone reaches AUROC {number(single['mean'])} ± {number(single['sd'])}." if single else ".")
        )
    return says
