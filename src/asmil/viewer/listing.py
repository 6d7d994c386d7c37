"""What the page shows of a run as plain values: its heading, its table of slides, one slide, one training."""

import math

import numpy as np
import pandas as pd

from asmil.annotations import Annotations
from asmil.attention import normalized_entropy
from asmil.files import Facts
from asmil.runs import Cell
from asmil.viewer.session import RunView

CURVES = ("train_loss", "val_loss", "val_auroc", "jsd")


def heading(view: RunView) -> Facts:
    """Name, model and result of a run."""
    run, settings = view.run, view.run.settings
    auroc = (run.metrics.get("test") or {}).get("auroc") or {}
    return {
        "id": view.token,
        "name": view.folder.name,
        "says": view.says,
        "model": settings.model,
        "stabilised": run.stabilized,
        "encoder": settings.encoder if settings.features is None else None,
        "classes": run.classes,
        "auroc": number(auroc.get("value")),
        "ci95": [number(x) for x in auroc.get("ci95") or []],
        "positive": view.positive,
    }


def slide_rows(view: RunView) -> list[Facts]:
    """One row per slide of the out-of-fold table, in its order.

    `error` is the loss of the true class in nats (None where the label is no class), `uncertainty` the entropy of the
    probabilities as a share of the largest possible, `spread` the standard deviation over seeds of the probability of
    the predicted class.
    """
    table, classes = view.run.predictions, view.run.classes
    probability = view.run.probabilities(table)
    spread = _spread(view)
    rows = []
    for number_, (slide, case, label, predicted) in enumerate(
        table[["slide", "case", "label", "predicted"]].itertuples(index=False)
    ):
        own = probability[number_]
        rows.append(
            {
                "number": number_,
                "slide": slide,
                "case": case,
                "label": label,
                "predicted": predicted,
                "probabilities": [number(p) for p in own],
                "error": -math.log(max(own[classes.index(label)], 1e-12)) if label in classes else None,
                "uncertainty": number(normalized_entropy(own / own.sum())),
                "spread": spread.get(slide),
                "recorded": bool(view.layers.recorded(slide)),
            }
        )
    return rows


def _spread(view: RunView) -> dict[str, float]:
    """Slide to the standard deviation over seeds of the probability of its predicted class; of two seeds or more."""
    table = view.run.cell_predictions
    by_slide = table[table["part"] == "test"].groupby("slide")[[f"prob_{name}" for name in view.run.classes]]
    deviation, mean, seeds = by_slide.std(ddof=1).to_numpy(), by_slide.mean(), by_slide.size().to_numpy()
    chosen = deviation[np.arange(len(mean)), mean.to_numpy().argmax(1)] if len(mean) else []
    return {slide: float(x) for slide, x, n in zip(mean.index, chosen, seeds, strict=True) if n > 1}


def slide_facts(view: RunView, slide: str) -> Facts:
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


def shapes(view: RunView, slide: str) -> list[Facts]:
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


def number(value: float | None) -> float | None:
    """A finite float, else None: JSON has no NaN."""
    return float(value) if value is not None and math.isfinite(float(value)) else None
