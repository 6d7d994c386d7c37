"""What can be opened to be looked at, a run or predictions of new slides, and what the page shows of it, in values."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from asmil.annotations import Annotations, MaskLabels, find_annotation, read_annotations
from asmil.attention import normalized_entropy
from asmil.bags import FeatureStore, listed
from asmil.errors import RunError, as_typed
from asmil.evaluation import tile_truth
from asmil.files import Facts
from asmil.progress import FAILURES
from asmil.report import decided
from asmil.runs import Cell, PredictedFolder, Run
from asmil.viewer.layers import Heads, Layers, PredictedLayers
from asmil.viewer.pyramid import Pyramid
from asmil.viewer.said import NOTHING, OF_THE_COHORT
from asmil.viewer.session import View


class RunView(View):
    """A run opened to be looked at.

    `slides` is the folder of its slides instead of that of the run's settings, `else_slides` where those name none
    (a run on features). `partial`: an unfinished run is looked at as far as it is; `says` then says so.

    Raises:
        RunError: the folder is no run, is not finished or not evaluated, or is of another task than classification.
        SlideError: two slides of the folder have one name.
    """

    def __init__(
        self,
        run: Run | str | Path,
        *,
        pyramid: Pyramid,
        slides: Path | None = None,
        else_slides: Path | None = None,
        partial: bool = False,
    ):
        self.run = Run.open(run)
        if (task := self.run.task) is not None:
            raise RunError(
                "the viewer shows runs of classification",
                found=f"{self.run.folder} is a run of {task.name}",
                fix=f"{as_typed('asmil', 'report', self.run.folder)} has maps of its slides",
            )
        says = self.run.require_results(partial=partial)
        super().__init__(
            self.run.folder,
            [str(name) for name in self.run.predictions["slide"]],
            pyramid=pyramid,
            slides_folder=slides or self.run.settings.slides or else_slides,
            stamp=self.run.evaluated_at,
        )
        self.says = says
        self.layers: Layers = Layers(self.run, Heads(self.run, load=self.bag))

    @property
    def classes(self) -> list[str]:
        """The classes in the order of the probabilities."""
        return self.run.classes

    @property
    def store(self) -> FeatureStore | None:
        """The run's features, or None where they are not at hand."""
        return self.run.store

    def store_of(self, slide: str) -> FeatureStore:
        """The features, to read those of a slide; a `RunError` where they changed after training."""
        self.run.require_features([slide])
        return super().store_of(slide)

    @property
    def features(self) -> Path:
        """Where the features should be."""
        return self.run.settings.features or self.run.features

    def mpp(self, slide: str) -> float | None:
        """The um per level-0 pixel of a slide, as far as it is known without its file."""
        return self.run.slide(slide).mpp

    def thumbnail_file(self, slide: str) -> Path:
        """The thumbnail of a slide, if it has one."""
        return self.run.thumbnail_file(slide)

    @property
    def positive(self) -> list[str]:
        """The classes of the annotations that are looked for."""
        return self.run.settings.positive

    def _annotations(self, slide: str) -> Annotations | None:
        settings = self.run.settings
        path = find_annotation(settings.annotations, slide) if settings.annotations else None
        if path is None:
            return None
        sheet, labels = self.sheet(slide), MaskLabels.parsed(settings.mask_class, mpp=settings.mask_mpp)
        size = self.stated_size(slide, sheet.unit)
        return read_annotations(path, slide_size=size, slide_mpp=sheet.mpp, bounds=self.bounds(slide), labels=labels)

    def _truth(self, slide: str) -> np.ndarray:
        sheet, drawn = self.sheet(slide), None if self.trouble(slide) else self.annotations(slide)
        if drawn is None or not self.positive or sheet.unit != "px":
            return super()._truth(slide)
        settings = self.run.settings
        return tile_truth(
            sheet.level0_xy,
            sheet.side,
            drawn,
            positive=self.positive,
            exclude=settings.exclude_class,
            min_coverage=settings.min_coverage,
        ).astype(np.uint8)

    def heading(self) -> Facts:
        """Model and result of the run."""
        settings = self.run.settings
        auroc = (self.run.metrics.get("test") or {}).get("auroc") or {}
        return {
            "model": settings.model,
            "stabilised": self.run.stabilized,
            "encoder": settings.encoder if settings.features is None else None,
            "auroc": number(auroc.get("value")),
            "ci95": [number(x) for x in auroc.get("ci95") or []],
        }

    def rows(self) -> list[Facts]:
        """One row per slide of the out-of-fold table, in its order; decided as on the page of the report."""
        table, classes, spread = decided(self.run), self.run.classes, self._spread()
        rows = []
        for (slide, case, label, predicted, threshold), own in zip(
            table[["slide", "case", "label", "called", "threshold"]].itertuples(index=False),
            self.run.probabilities(table),
            strict=True,
        ):
            error = -math.log(max(own[classes.index(label)], 1e-12)) if label in classes else None
            about = {"case": case, "label": label, "spread": spread.get(slide), "threshold": threshold}
            row = row_of(slide, own, predicted=predicted, **about)
            rows.append(row | {"error": error, "recorded": bool(self.layers.recorded(slide))})
        return rows

    def said_of(self) -> list[Facts]:
        """With site and scale of the run's cohort: trained on without them, slides would be refused or other folds."""
        kept = [name for name in OF_THE_COHORT if name in self.run.cohort]
        about: dict[str, Facts] = {}
        for slide, *values in self.run.cohort[["slide", *kept]].itertuples(index=False):
            about[slide] = {name: value for name, value in zip(kept, values, strict=True) if pd.notna(value)}
        return [row | about.get(row["slide"], {}) for row in self.rows()]

    def _spread(self) -> dict[str, float]:
        """Slide to the standard deviation over seeds of the probability of its predicted class; of two or more."""
        table = self.run.cell_predictions
        by_slide = table[table["part"] == "test"].groupby("slide")[[f"prob_{name}" for name in self.classes]]
        deviation, mean, seeds = by_slide.std(ddof=1).to_numpy(), by_slide.mean(), by_slide.size().to_numpy()
        chosen = deviation[np.arange(len(mean)), mean.to_numpy().argmax(1)] if len(mean) else []
        return {slide: float(x) for slide, x, n in zip(mean.index, chosen, seeds, strict=True) if n > 1}


class PredictionsView(View):
    """What `asmil predict` wrote, opened to be looked at: new slides, which have no label.

    `slides` is the folder of the slides where they are not where they were. `evidence` gives that of a slide, and
    of its file, (tiles,) by class; without it none is offered.

    Raises:
        RunError: the folder holds no predictions, or none of classes.
        SlideError: two slides of the folder have one name.
    """

    predicts_new = True

    def __init__(
        self,
        folder: str | Path,
        *,
        pyramid: Pyramid,
        slides: Path | None = None,
        evidence: Callable[[str, Path | None], Mapping[str, np.ndarray]] | None = None,
    ):
        self.predicted = PredictedFolder(folder)
        table = self.predicted.table
        super().__init__(
            self.predicted.folder,
            table["slide"].tolist(),
            pyramid=pyramid,
            slides_folder=slides or self.predicted.slides_folder,
            stamp=self.predicted.written_at,
        )
        if lost := self.predicted.lost:
            self.says = f"Not predicted: {listed(lost, 3)} ({FAILURES} says why)."
        self.layers: PredictedLayers = PredictedLayers(
            self.predicted, None if evidence is None else lambda slide: evidence(slide, self.paths.get(slide))
        )

    @property
    def classes(self) -> list[str]:
        """The classes in the order of the probabilities."""
        return self.predicted.classes

    @property
    def store(self) -> FeatureStore | None:
        """The features, or None where they are not at hand."""
        return self.predicted.store

    @property
    def features(self) -> Path:
        """Where the features should be."""
        return self.predicted.features

    def mpp(self, slide: str) -> float | None:
        """The um per level-0 pixel that the feature file of a slide says."""
        return self.store.info(slide).slide_mpp if self.store is not None and slide in self.store else None

    def thumbnail_file(self, slide: str) -> Path:
        """The thumbnail of a slide, if it has one."""
        return self.predicted.thumbnail_file(slide)

    def heading(self) -> Facts:
        """Whose models predicted."""
        run = self.predicted.run
        return {"model": run and f"predicted by {run.name}", "auroc": None, "ci95": []}

    def rows(self) -> list[Facts]:
        """One row per slide of predictions.csv, in its order."""
        table = self.predicted.table
        probabilities = table[[f"prob_{name}" for name in self.classes]].to_numpy(np.float64)
        nothing, said = [""] * len(table), "called" if "called" in table else "prediction"
        columns = (table.get(name, nothing) for name in ("slide", said, "std", "threshold", "warnings"))
        return [
            row_of(slide, own, predicted=predicted, spread=number(std or None), threshold=threshold or None)
            | {"warnings": [text for text in str(warnings).split("; ") if text]}
            for own, slide, predicted, std, threshold, warnings in zip(probabilities, *columns, strict=True)
        ]


def row_of(
    slide: str,
    probabilities: np.ndarray,
    *,
    predicted: str,
    case: str = "",
    label: str = "",
    spread: float | None = None,
    threshold: float | None = None,
) -> Facts:
    """A row of the list of slides.

    `uncertainty` is the entropy of the probabilities (classes,) as a share of the largest possible, `spread` the
    standard deviation over the models of the probability of the predicted class; `error`, where the label is a class,
    the loss of it in nats. From a probability of `threshold` on the second of two classes is called. `warnings` are
    sentences.
    """
    return {
        "slide": slide,
        "case": case,
        "label": label,
        "predicted": predicted,
        "probabilities": [number(p) for p in probabilities],
        "error": None,
        "uncertainty": number(normalized_entropy(probabilities / probabilities.sum())),
        "spread": spread,
        "threshold": number(threshold),
        "recorded": False,
        "warnings": [],
    }


def number(value: float | None) -> float | None:
    """A finite float, else None: JSON has no NaN."""
    return float(value) if value is not None and math.isfinite(float(value)) else None


# What the page shows as plain values: a heading, the table of slides, one slide, one training.

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
