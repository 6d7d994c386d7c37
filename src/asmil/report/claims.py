"""What was done, in sentences made from the run's own files, and the headline with what its interval supports."""

from typing import Any

import pandas as pd

from asmil.report.blocks import Section, TaskPart
from asmil.report.measures import split_facts
from asmil.report.words import listed, number, plain, plural, span
from asmil.runs import Run

SUMMARY_NAMES = {"mean_of_folds": "mean of the folds", "pooled": "all folds pooled"}
SELECTED = {
    "val_loss": "The kept epoch of each training is the one with the lowest loss on its validation slides.",
    "val_auroc": "The kept epoch of each training is the one with the highest AUROC on its validation slides.",
    "val_metric": "The kept epoch of each training is the one that is best on its validation slides.",
    "last": "No epoch was selected: the last one of each training counts.",
}
NARROW = 0.1
"""An interval wider than this is called wide."""


def facts(run: Run) -> list[str]:
    """The line under the title: model, features, sizes, classes or task."""
    said = [f"{run.settings.model}{' with attention stabiliser' if run.stabilized else ''}"]
    if not run.settings.features:
        said.append(f"{run.settings.encoder} features")
    said += [plural(len(run.predictions), "slide"), plural(run.predictions["case"].nunique(), "patient")]
    said.append(f"classes {' / '.join(run.classes)}" if run.classes else run.task_name.replace("_", " "))
    return said


def headline(run: Run, part: TaskPart | None, *, names: dict[str, str]) -> dict[str, Any] | None:
    """The result in one figure: its name, value and interval, and a verdict that the interval supports."""
    test = run.metrics.get("test", {})
    if not test:
        return None
    wanted = part.metric if part else "auroc"
    name = wanted if wanted in test else str(next(iter(test)))
    value, (low, high) = test[name].get("value"), test[name].get("ci95") or (None, None)
    summary = SUMMARY_NAMES.get(run.metrics.get("test_is", ""), "out of fold")
    chance = (part.chance if name == part.metric else None) if part else (0.5 if name == "auroc" else None)
    found: dict[str, Any] = {
        "title": f"Test {names.get(name, name.replace('_', ' '))}, {summary}",
        "value": number(value),
        "interval": None if low is None or high is None else span(low, high),
        "range": None,
        "verdict": None,
    }
    if chance is not None and value is not None:
        found["verdict"] = verdict(value, low, high, cases=run.predictions["case"].nunique(), chance=chance)
        if chance == 0.5 and low is not None and high is not None:  # such metrics lie between 0 and 1
            left = max(low, 0.0)
            found["range"] = {"from": "0", "middle": "0.5 chance", "to": "1", "at": 100 * value,
                              "left": 100 * left, "width": 100 * (high - left)}  # fmt: skip
    return found


def verdict(value: float, low: float | None, high: float | None, *, cases: int, chance: float = 0.5) -> str:
    """One sentence that claims no more than the interval allows."""
    if low is None or high is None:
        return "No interval was computed, so the value cannot be told from chance."
    if high < chance:
        return "Worse than chance: the ranking is reversed. Check the labels and the order of the classes."
    if low <= chance:
        return f"Not distinguishable from chance: the 95 % interval contains {chance:g}."
    sentence = f"Better than chance on patients it never saw: the 95 % interval lies above {chance:g}"
    if high - low > NARROW:
        return f"{sentence}, but it is wide. With {plural(cases, 'patient')} the value is provisional."
    return sentence + "."


def done_section(run: Run) -> Section:
    """What was done, from slides to numbers; problems of the split; the protocol as metrics.json states it."""
    split_says, warns = split_words(run)
    says = [*_data_words(run), *_model_words(run), *split_says, *_training_words(run), *_summary_words(run)]
    stated = [(key.replace("_", " "), plain(value)) for key, value in (run.metrics.get("protocol") or {}).items()]
    more = ("The protocol as recorded", tuple(stated)) if stated else None
    return Section("done", "What was done", says=(" ".join(says[:2]), *says[2:]), warns=tuple(warns), more=more)


def _data_words(run: Run) -> list[str]:
    """Where slides, labels and features came from."""
    settings, table = run.settings, run.predictions
    counts = table["label"].value_counts()
    if run.classes:
        what = listed([f"{counts.get(name, 0):,} of class {name}" for name in run.classes])
    else:
        what = f"{run.task_name.replace('_', ' ')} of {plain(settings.target) if settings.target else 'a table'}"
    says = [
        f"{plural(len(table), 'slide')} of {plural(table['case'].nunique(), 'patient')} were tested ({what}"
        + (f"; labels from {settings.labels.name}" if settings.labels else "")
        + ")."
    ]
    if settings.features:
        says.append("Their tiles came as features that another program or an earlier command had extracted.")
    else:
        size = f"{settings.tile_px} × {settings.tile_px} pixels at {settings.mpp:g} µm per pixel"
        says.append(
            f"Their tissue was cut into tiles of {size}, and {settings.encoder} turned each tile into a list of "
            "numbers (features); it was not trained on these labels."
        )
    return says


def _model_words(run: Run) -> list[str]:
    """What learned from the features."""
    settings = run.settings
    bag = settings.bag
    says = (
        f"A model of the kind {settings.model} weighs all tiles of a {bag} by attention and predicts from their "
        f"weighted features; it is told the {bag}'s label only, never where to look."
    )
    if run.stabilized:
        says += (
            " While it learned, its attention was held near that of a slowly following copy, the anchor (beta "
            f"{plain(settings.beta)}, momentum {plain(settings.momentum)}); the anchor is not part of the tested model."
        )
    return [says]


def split_words(run: Run) -> tuple[list[str], list[str]]:
    """What the split table shows, and what is wrong with it."""
    splits = run.splits
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
    return says, warns


def _span(counts: pd.Series) -> str:
    low, high = counts.min(), counts.max()
    return f"{low}" if low == high else f"{low} to {high}"


def _training_words(run: Run) -> list[str]:
    """How the tested model came about, and how often test slides were used."""
    select = run.settings.select
    says = [SELECTED[select]]
    if run.settings.refit and select != "last":
        says.append(
            "The tested model was then trained anew on the training and validation slides together, for as long as "
            "chosen that way (the same sum of learning rates, ending at zero); curves by epoch are those of the "
            "training that chose it."
        )
    used = (run.metrics.get("protocol") or {}).get("test_used")
    if used:
        says.append(f"By the record of the run, test slides were used {used}.")
    return says


def _summary_words(run: Run) -> list[str]:
    """How folds and seeds became one number."""
    metrics, says = run.metrics, []
    if metrics.get("test_is") == "mean_of_folds":
        pooled = (metrics.get("pooled") or {}).get("auroc") or {}
        low, high = pooled.get("ci95") or (None, None)
        curves = "ROC and precision-recall curves and the confusion matrix pool" if run.classes else "Curves pool"
        says.append(
            f"Values are means over the folds. {curves} the slides of all folds, although models of different folds "
            "were never put on one scale" + (f": pooled AUROC {number(pooled)} ({span(low, high)})." if pooled else ".")
        )
    per_seed = metrics.get("per_seed") or {}
    seeds = metrics.get("seeds") or {cell.seed for cell in run.cells()}
    count = seeds if isinstance(seeds, int) else len(seeds)
    if count > 1:
        single = (per_seed.get("spread") or {}).get("auroc") or {}
        says.append(
            f"Each fold was trained with {count} seeds; predictions and attention are means over them"
            + (f". One seed alone reaches AUROC {number(single['mean'])} ± {number(single['sd'])}." if single else ".")
        )
    return says
