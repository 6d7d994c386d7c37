"""How still and how even attention is, and whether it lies where the annotation is."""

from typing import Any

import numpy as np
import pandas as pd

from asmil.figures import dynamics_figure, epochs_figure, froc_figure, score_histogram_figure, weights_figure
from asmil.report.blocks import Entry, Figure, Section, Table, entries, figure
from asmil.report.inputs import RunFiles
from asmil.report.words import near_one, number, plural, span

ATTENTION_NAMES = {
    "jsd_last10": (
        "JSD, last 10 epochs",
        "change of a map from one epoch to the next; 0 is settled, ln 2 = 0.693 most",
    ),
    "jsd_between_seeds": ("JSD between seeds", "difference of the maps of two trainings on the same slide; 0 is none"),
    "entropy": ("Normalised entropy", "spread of attention over a slide; 1 is even on all tiles, 0 is on one tile"),
    "effective_tiles": ("Effective tiles", "as many tiles with even attention would be as spread out; mean of slides"),
    "top1_mass": ("Mass on the top 1 %", "share of attention on the strongest hundredth of tiles; 0.01 would be even"),
}
_LOCAL = ("tile_", "dice", "froc")


def attention_section(files: RunFiles) -> Section:
    """Dynamics and concentration by epoch, weights, and the figures of metrics.json with what each one means."""
    figures = _attention_figures(files)
    rows = []
    for key, value in (files.metrics.get("attention") or {}).items():
        name, meaning = ATTENTION_NAMES.get(key, (key.replace("_", " "), ""))
        if isinstance(value, int | float) and not key.startswith(_LOCAL):
            rows.append((Entry(name), Entry(near_one(value), strong=True), Entry(meaning)))
    tables = (Table("", ("Measure", "Value", "Meaning"), tuple(rows), wrap=("Meaning",)),) if rows else ()
    by_epoch = any(f.wide for f in figures)
    lead = "Does the model's map of a slide settle while it learns, or does it jump from epoch to epoch?" * by_epoch
    notes = () if figures or tables else ("The run recorded no attention.",)
    return Section("attention", "Attention", lead, figures=figures, tables=tables, notes=notes)


def _attention_figures(files: RunFiles) -> tuple[Figure, ...]:
    drawn = []
    jsd, train, val = (files.logged(c) for c in ("jsd", "train_loss", "val_loss"))
    title = "Attention change and loss by epoch"
    caption = "Faint: single trainings; bold: their mean, as long as all of them run."
    if jsd:
        caption += " JSD compares the attention of the same validation slide in successive epochs."
        drawn.append(figure(dynamics_figure(jsd, train_loss=train, val_loss=val), title, caption=caption, wide=True))
    elif train or val:
        losses = {name: runs for name, runs in (("validation", val), ("training", train)) if runs}
        drawn.append(figure(epochs_figure(losses, ylabel="loss"), title, caption=caption, wide=True))
    samples = files.weight_samples()
    if samples:
        names = {"softmax": "online softmax", "nsf": "anchor NSF"}
        caption = (
            "Weight per tile on the same slides. To the left: tiles that get less than an even share; to the right: "
            "tiles that get more."
        )
        drawing = weights_figure({names[k]: v for k, v in samples.items()})
        drawn.append(figure(drawing, "Weights of softmax and of the anchor's NSF", caption=caption, wide=True))
    for column, ylabel, caption in (
        ("effective_tiles", "effective tiles",
         "Effective tiles: as many tiles with even attention would be as spread out."),
        ("entropy", "entropy of attention",
         "Entropy of attention, normalised: 1 is even on all tiles, 0 is on one tile."),
    ):  # fmt: skip
        runs = files.logged(column)
        if runs:
            drawing = epochs_figure({ylabel: runs}, ylabel=ylabel)
            drawn.append(figure(drawing, f"{ylabel[0].upper()}{ylabel[1:]} by epoch", caption=caption))
    return tuple(drawn)


def localisation_section(files: RunFiles) -> Section | None:
    """Tile metrics against chance, Dice, and the FROC curve; None where nothing was compared with annotations."""
    facts = files.metrics.get("attention") or {}
    rows = _tile_rows(facts)
    froc = facts.get("froc") if isinstance(facts.get("froc"), dict) else None
    figures, notes = [*_tile_figures(files)], []
    if froc:
        figures.append(_froc_figure(froc))
        rows.append((Entry("FROC score"), *_with_interval(froc, "score"), *_froc_meaning(froc)))
        if froc.get("rules"):
            notes.append(f"Rules of the FROC: {froc['rules']}.")
    if not rows and not figures:
        return None
    n = facts.get("tile_slides")
    says = (
        "Attention is compared with what a person outlined" + (f" on {plural(int(n), 'slide')}" if n else "") + ". "
        "It was never trained to find these outlines: a map may be right about the slide and wrong about the place.",
    )
    table = Table("", ("Measure", "Value", "95 % interval", "Chance", "Meaning"), tuple(rows), wrap=("Meaning",))
    return Section("localisation", "Does attention lie on the annotation?", says=says, figures=tuple(figures),
                   tables=(table,) if rows else (), notes=tuple(notes))  # fmt: skip


def _tile_rows(facts: dict[str, Any]) -> list[tuple[Entry, ...]]:
    """The tile measures that were computed, each with its interval and what chance would give."""
    even = 0.5
    said = (
        ("tile_auroc", "Tile AUROC", even, "ranking of annotated tiles first, within slides, mean of slides"),
        ("tile_ap", "Tile average precision", facts.get("tile_ap_chance"),
         "the same, stricter where annotated tiles are rare; chance is their share"),
        ("dice", "Dice", None, "overlap of the thresholded map with the annotation; threshold from validation slides"),
        ("tile_auroc_pooled", "Tile AUROC, pooled", even, "the tiles of all annotated slides in one ranking"),
        ("tile_ap_pooled", "Tile average precision, pooled", facts.get("tile_ap_pooled_chance"),
         "the tiles of all annotated slides in one ranking"),
    )  # fmt: skip
    return [
        (Entry(name), *_with_interval(facts, key), *entries(number(chance), meaning))
        for key, name, chance, meaning in said
        if _is_number(facts.get(key))
    ]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and bool(np.isfinite(value))


def _with_interval(facts: dict[str, Any], key: str) -> tuple[Entry, Entry]:
    return Entry(number(facts[key]), strong=True), Entry(span(*(facts.get(f"{key}_ci95") or (None, None))))


def _froc_meaning(froc: dict[str, Any]) -> tuple[Entry, ...]:
    lesions, slides = plural(int(froc["n_lesions"]), "lesion"), plural(int(froc["n_slides"]), "slide")
    return entries("–", f"mean share of lesions found at 1/4, 1/2, 1, 2, 4 and 8 false findings; {lesions}, {slides}")


def _froc_figure(froc: dict[str, Any]) -> Figure:
    at = {float(rate): float(value) for rate, value in froc["sensitivity"].items()}
    curve = froc.get("curve") or {"false_positives_per_slide": list(at), "sensitivity": list(at.values())}
    drawing = froc_figure(np.array(curve["false_positives_per_slide"]), np.array(curve["sensitivity"]), at=at)
    caption = "FROC: the share of lesions found at a number of false findings per slide. Dots: the points of the score."
    return figure(drawing, "FROC curve", caption=caption)


def _tile_figures(files: RunFiles) -> list[Figure]:
    if "tile_auroc" not in files.predictions:
        return []
    by_slide = pd.to_numeric(files.predictions["tile_auroc"], errors="coerce").dropna().to_numpy()
    if not len(by_slide):
        return []
    drawing = score_histogram_figure({"slides with annotation": by_slide}, xlabel="tile AUROC within the slide")
    caption = "Attention against annotated tiles, one value per annotated slide; 0.5 is chance."
    return [figure(drawing, "Tile AUROC by slide", caption=caption)]
