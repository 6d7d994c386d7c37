"""What was done, in sentences made from the run's own files, and the headline with what its interval supports."""

from pathlib import Path
from typing import Any

import pandas as pd

from asmil.report.blocks import Section, TaskPart
from asmil.report.inputs import RunFiles
from asmil.report.measures import split_facts
from asmil.report.words import listed, number, plain, plural, span

SUMMARY_NAMES = {"mean_of_folds": "mean of the folds", "pooled": "all folds pooled"}
SELECTED = {
    "val_loss": "The kept epoch of each training is the one with the lowest loss on its validation slides.",
    "val_auroc": "The kept epoch of each training is the one with the highest AUROC on its validation slides.",
    "last": "No epoch was selected: the last one of each training counts.",
}
NARROW = 0.1
"""An interval wider than this is called wide."""


def facts(files: RunFiles) -> list[str]:
    """The line under the title: model, features, sizes, classes or task."""
    stabilized = (files.metrics.get("protocol") or {}).get("stabilized", files.config.get("stabilize"))
    said = [f"{files.config.get('model', 'model')}{' with attention stabiliser' if stabilized else ''}"]
    if files.config.get("encoder") and not files.config.get("features"):
        said.append(f"{files.config['encoder']} features")
    said += [plural(len(files.predictions), "slide"), plural(files.predictions["case"].nunique(), "patient")]
    said.append(f"classes {' / '.join(files.classes)}" if files.classes else files.task.replace("_", " "))
    return said


def headline(files: RunFiles, part: TaskPart | None, *, names: dict[str, str]) -> dict[str, Any] | None:
    """The result in one figure: its name, value and interval, and a verdict that the interval supports."""
    test = files.metrics.get("test", {})
    if not test:
        return None
    wanted = part.metric if part else "auroc"
    name = wanted if wanted in test else str(next(iter(test)))
    value, (low, high) = test[name].get("value"), test[name].get("ci95") or (None, None)
    summary = SUMMARY_NAMES.get(files.metrics.get("test_is", ""), "out of fold")
    chance = (part.chance if name == part.metric else None) if part else (0.5 if name == "auroc" else None)
    found: dict[str, Any] = {
        "title": f"Test {names.get(name, name.replace('_', ' '))}, {summary}",
        "value": number(value),
        "interval": None if low is None or high is None else span(low, high),
        "range": None,
        "verdict": None,
    }
    if chance is not None and value is not None:
        found["verdict"] = verdict(value, low, high, cases=files.predictions["case"].nunique(), chance=chance)
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


def done_section(files: RunFiles) -> Section:
    """What was done, from slides to numbers; problems of the split; the protocol as metrics.json states it."""
    split_says, warns = split_words(files)
    says = [*_data_words(files), *_model_words(files), *split_says, *_training_words(files), *_summary_words(files)]
    stated = [(key.replace("_", " "), plain(value)) for key, value in (files.metrics.get("protocol") or {}).items()]
    more = ("The protocol as recorded", tuple(stated)) if stated else None
    return Section("done", "What was done", says=(" ".join(says[:2]), *says[2:]), warns=tuple(warns), more=more)


def _data_words(files: RunFiles) -> list[str]:
    """Where slides, labels and features came from."""
    config, table = files.config, files.predictions
    counts = table["label"].value_counts()
    if files.classes:
        what = listed([f"{counts.get(name, 0):,} of class {name}" for name in files.classes])
    else:
        what = f"{files.task.replace('_', ' ')} of {plain(config.get('target')) if config.get('target') else 'a table'}"
    says = [
        f"{plural(len(table), 'slide')} of {plural(table['case'].nunique(), 'patient')} were tested ({what}"
        + (f"; labels from {Path(str(config['labels'])).name}" if config.get("labels") else "")
        + ")."
    ]
    if config.get("features"):
        says.append("Their tiles came as features that another program or an earlier command had extracted.")
    elif config.get("encoder"):
        mpp, tile_px = config.get("mpp"), config.get("tile_px")
        size = f" of {tile_px} × {tile_px} pixels at {mpp:g} µm per pixel" if mpp and tile_px else ""
        says.append(
            f"Their tissue was cut into tiles{size}, and {config['encoder']} turned each tile into a list of numbers "
            "(features); it was not trained on these labels."
        )
    return says


def _model_words(files: RunFiles) -> list[str]:
    """What learned from the features."""
    config = files.config
    if not config.get("model"):
        return []
    bag = "patient" if config.get("bag") == "patient" else "slide"
    says = (
        f"A model of the kind {config['model']} weighs all tiles of a {bag} by attention and predicts from their "
        f"weighted features; it is told the {bag}'s label only, never where to look."
    )
    if (files.metrics.get("protocol") or {}).get("stabilized", config.get("stabilize")):
        options = [f"{name} {plain(config[name])}" for name in ("beta", "momentum") if config.get(name) is not None]
        says += (
            " While it learned, its attention was held near that of a slowly following copy, the anchor"
            + (f" ({', '.join(options)})" if options else "")
            + "; the anchor is not part of the tested model."
        )
    return [says]


def split_words(files: RunFiles) -> tuple[list[str], list[str]]:
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
    return says, warns


def _span(counts: pd.Series) -> str:
    low, high = counts.min(), counts.max()
    return f"{low}" if low == high else f"{low} to {high}"


def _training_words(files: RunFiles) -> list[str]:
    """How the tested model came about, and how often test slides were used."""
    select = str(files.config.get("select", ""))
    says = [SELECTED.get(select, "The files do not say how the epoch of each training was chosen.")]
    if files.config.get("refit") and select != "last":
        says.append(
            "The tested model was then trained anew on the training and validation slides together, for as long as "
            "chosen that way (the same sum of learning rates, ending at zero); curves by epoch are those of the "
            "training that chose it."
        )
    used = (files.metrics.get("protocol") or {}).get("test_used")
    if used:
        says.append(f"By the record of the run, test slides were used {used}.")
    return says


def _summary_words(files: RunFiles) -> list[str]:
    """How folds and seeds became one number."""
    metrics, says = files.metrics, []
    if metrics.get("test_is") == "mean_of_folds":
        pooled = (metrics.get("pooled") or {}).get("auroc") or {}
        low, high = pooled.get("ci95") or (None, None)
        curves = "ROC and precision-recall curves and the confusion matrix pool" if files.classes else "Curves pool"
        says.append(
            f"Values are means over the folds. {curves} the slides of all folds, although models of different folds "
            "were never put on one scale" + (f": pooled AUROC {number(pooled)} ({span(low, high)})." if pooled else ".")
        )
    per_seed = metrics.get("per_seed") or {}
    seeds = metrics.get("seeds") or {cell.seed for cell in files.cells}
    count = seeds if isinstance(seeds, int) else len(seeds)
    if count > 1:
        single = (per_seed.get("spread") or {}).get("auroc") or {}
        says.append(
            f"Each fold was trained with {count} seeds; predictions and attention are means over them"
            + (f". One seed alone reaches AUROC {number(single['mean'])} ± {number(single['sd'])}." if single else ".")
        )
    return says
