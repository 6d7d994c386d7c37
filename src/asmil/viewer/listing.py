"""What the page shows as plain values: a heading, the table of slides, one slide, one training."""

import numpy as np
import pandas as pd

from asmil.annotations import Annotations
from asmil.files import Facts
from asmil.runs import Cell
from asmil.viewer.session import View
from asmil.viewer.verdicts import NOTHING
from asmil.viewer.views import RunView, number

CURVES = ("train_loss", "val_loss", "val_auroc", "jsd")


def heading(view: View) -> Facts:
    """Name, classes and whatever else is said of all slides together."""
    own = {"id": view.token, "name": view.name, "says": view.says, "classes": view.classes}
    return own | {"positive": view.positive, "predicts_new": view.predicts_new} | view.heading()


def slide_rows(view: View) -> list[Facts]:
    """One row per slide, in the order of its table, with its place and what a person said of it.

    Raises:
        RunError: the table of verdicts cannot be read.
    """
    said = view.verdicts.read()
    return [row | {"number": place, "said": said.get(row["slide"], NOTHING)} for place, row in enumerate(view.rows())]


def slide_facts(view: View, slide: str) -> Facts:
    """What is needed to draw a slide, but for the arrays."""
    sheet = view.sheet(slide)
    picture = sheet.picture
    trouble = view.trouble(slide)
    return {
        "slide": slide,
        "size": picture.size,
        "levels": len(picture.levels),
        "pixels": "slide" if picture.path else "thumbnail" if picture.thumbnail else "none",
        "reader": sheet.reader,
        "unit": sheet.unit,
        "mpp": number(sheet.mpp),
        "tiles": len(sheet.level0_xy),
        "side": sheet.side,
        "says": [*sheet.says, *trouble],
        "annotated": [] if trouble else [{"name": s["class"], "positive": s["positive"]} for s in shapes(view, slide)],
        "layers": view.layers.offered(slide) if len(sheet.level0_xy) else [],
    }


def shapes(view: View, slide: str) -> list[Facts]:
    """The annotations of a slide by class: `rings` (each a flat list x, y, x, y ...) and `points`, level-0 pixels."""
    drawn = view.annotations(slide)
    if drawn is None:
        return []
    wanted = {name.casefold() for name in view.positive}
    return [
        {
            "class": name,
            "positive": name.casefold() in wanted or not wanted,
            "rings": _rings(drawn, name),
            "points": np.round(drawn.points.get(name, np.empty((0, 2))), 1).ravel().tolist(),
        }
        for name in drawn.classes
    ]


def _rings(drawn: Annotations, name: str) -> list[list[float]]:
    parts = getattr(drawn.areas.get(name), "geoms", ())
    rings = (ring for part in parts for ring in (part.exterior, *part.interiors))
    return [np.round(np.asarray(ring.coords)[:, :2], 1).ravel().tolist() for ring in rings]


def training(view: RunView, cell: Cell, slide: str) -> Facts:
    """The curves of one training by epoch, which epoch was chosen, and the divergence on this slide if recorded."""
    log = cell.log()
    curves = {name: [number(x) for x in pd.to_numeric(log[name], errors="coerce")] for name in CURVES if name in log}
    own = view.layers.epoch_jsd(cell, slide)
    return {
        "fold": cell.fold,
        "seed": cell.seed,
        "epochs": len(log),
        "best": cell.best_epoch,
        "curves": curves,
        "slide_jsd": None if own is None else [None, *(number(x) for x in own)],
    }
