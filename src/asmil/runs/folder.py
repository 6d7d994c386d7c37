"""A run on disk: a folder of plain files that another tool, or a person, can read; this class reads and writes them."""

import os
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from asmil.bags import listed
from asmil.errors import AsmilError, RunError, as_typed, require_kind
from asmil.files import Facts, write_json, write_text
from asmil.runs import layout
from asmil.runs.cell import Cell
from asmil.runs.reading import read_table, with_numbers
from asmil.runs.records import COPY, Records
from asmil.runs.slide import RunSlide
from asmil.runs.whole import Standing, made_of, require_features, require_unedited, standing_of
from asmil.shown import Shown, fixed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from asmil.bags import FeatureStore
    from asmil.deploy import Exported, Predictions
    from asmil.progress import Outcome
    from asmil.training import CellResult

KEPT = 32
"""Slides whose tiles, attention and evidence stay in memory: those of a page are drawn twice, in it and beside it."""


class Run(Records, Shown):
    """A run folder with its models and results; every name in it is of `layout`.

    What was read is kept until something is written through this object, or `refresh` is called. Whatever is missing or
    damaged is a `RunError` that names the file. `outcome` is what became of the slides in the call that returned it.
    """

    outcome: "Outcome | None" = None

    @classmethod
    def open(cls, folder: "str | Path | Run") -> "Run":
        """Open a run, whole or not; one that is open already is returned as it is.

        Raises:
            RunError: the folder is not a run.
        """
        if isinstance(folder, Run):
            return folder
        run = cls(folder)
        if not (run.folder / layout.IDENTITY).is_file():
            found, fix = layout.found_instead(run.folder)
            raise RunError(f"{folder} is not a run", found=found, fix=fix)
        return run

    @classmethod
    def create(cls, folder: str | Path) -> "Run":
        """A run to be made in a folder, or gone on with there; nothing is written yet.

        Raises:
            RunError: there can be no such folder, or none that can be written to.
        """
        run = cls(folder)
        there = next(path for path in (run.folder, *run.folder.absolute().parents) if path.exists())
        if not there.is_dir() or not os.access(there, os.W_OK):
            found = f"{there} is a file" if not there.is_dir() else f"{there} cannot be written to"
            raise RunError(f"there can be no run at {folder}", found=found, fix="choose another --out")
        return run

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Run) and self.folder == other.folder

    def __hash__(self) -> int:
        return hash(self.folder)

    def facts(self) -> dict[str, object]:
        """Folder, model, folds x seeds, how many are finished, and the AUROC (or what the task has in its place)."""
        said: dict[str, object] = {"folder": self.folder}
        try:
            folds, seeds = sorted(set(self.splits["fold"])), self.settings.seed_list
            said |= {"model": self.settings.model, "folds x seeds": f"{len(folds)} x {len(seeds)}"}
            standing = self.standing()
            said["finished"] = f"{len(standing.whole)} of {len(standing.states)}"
            if self.evaluated:
                said |= _result(self.metrics.get("test") or {})
        except AsmilError as error:
            said["but"] = error.what
        return said

    # What can be done with it: see `asmil.runs.pipeline` for the keywords.

    def evaluate(self, **options: Any) -> Facts:
        """Metrics with intervals, also into metrics.json: see `asmil.evaluate`."""
        from asmil.runs import pipeline

        return pipeline.evaluate(self, **options)

    def report(self, **options: Any) -> Path:
        """The page of the run, report.html: see `asmil.write_report`."""
        from asmil.runs import pipeline

        return pipeline.write_report(self, **options)

    def predict(self, slides: str | Path | None = None, **options: Any) -> "Predictions":
        """New slides, or features of them, by the models of the run: see `asmil.runs.predict`."""
        from asmil.runs import pipeline

        return pipeline.predict(self, slides, **options)

    def export(self, out: str | Path | None = None, **options: Any) -> "Exported":
        """An ONNX file with what describes it, and a model card: see `asmil.runs.export`."""
        from asmil.runs import pipeline

        return pipeline.export(self, out, **options)

    def heatmap(self, *slides: str, **options: Any) -> list[Path]:
        """Pictures and GeoJSON of where the models looked, of all slides where none is named."""
        from asmil.runs import pipeline

        return pipeline.heatmap(self, slides, **options)

    def plot(self, slide: str) -> "Figure":
        """A slide under its attention and evidence as a figure of matplotlib: see `asmil.runs.plot`."""
        from asmil.runs import pipeline

        return pipeline.plot(self, slide)

    # What it predicts.

    @cached_property
    def classes(self) -> list[str]:
        """The names of the classes in the order of the probabilities; none where the task is not classification."""
        if self.task is not None:
            return []
        if classes := self.task_said.get("options", {}).get("classes"):
            return [str(name) for name in classes]
        for cell in self.cells()[:1]:  # of a run from before task.json was of classification too
            columns = map(str, cell.predictions())
            return [name.removeprefix("prob_") for name in columns if name.startswith("prob_")]
        raise RunError(f"{self.folder} does not say its classes", found="no finished model", fix=COPY)

    @property
    def values(self) -> list[str]:
        """The columns that hold what is predicted: prob_<class>..., or the values of the task."""
        return list(self.task.value_names) if self.task else [f"prob_{name}" for name in self.classes]

    @property
    def unit(self) -> str:
        """The column that names what one prediction is made for: "slide", or "case" where bags are patients."""
        return "case" if self.settings.bag == "patient" else "slide"

    @property
    def classifies_slides(self) -> bool:
        """Whether it tells classes apart, slide by slide: of such models there is evidence of tiles."""
        return self.task is None and self.unit == "slide"

    def probabilities(self, table: pd.DataFrame) -> np.ndarray:
        """(rows, classes) predicted probabilities of the rows of a table."""
        return table[[f"prob_{name}" for name in self.classes]].to_numpy(dtype=np.float64)

    @property
    def stabilized(self) -> bool:
        """Whether its models were trained with an anchor: methods without attention are not, whatever is set."""
        protocol = self.metrics.get("protocol") or {}
        return bool(protocol.get("stabilized", self.settings.stabilize))

    # Its models.

    def cell(self, fold: int, seed: int) -> Cell:
        """The cell of a fold and a seed, finished or not."""
        return Cell(fold, seed, layout.cell_folder(self.folder, fold, seed))

    def standing(self, *, deep: bool = False) -> Standing:
        """How far the run is, as the files are now: sizes, and with `deep` the content of what is finished.

        Raises:
            RunError: among its models lies a folder that is none of them.
        """
        return standing_of(self, deep=deep)

    def cells(self) -> list[Cell]:
        """All finished cells, by fold and seed."""
        return self.standing().whole

    def unfinished(self) -> Standing:
        """What the same command has to train (`.unfinished`), and why (`.says`); contents are compared too."""
        self.refresh()
        return self.standing(deep=True)

    def keep(self, result: "CellResult") -> None:
        """Write a trained model, and what it predicts, as a whole cell. `set_data` comes first."""
        cell = self.cell(result.fold, result.seed)
        cell.write(result, cohort=self.cohort, classes=self.classes, of=made_of(self.identity))
        self.refresh()

    def require_whole(self, *, partial: bool = False, deep: bool = False) -> str:
        """Make sure that all models are finished: what is made of a part must not pass for the whole.

        Args:
            partial: take what there is; the sentence that says so is returned, and belongs on what is made of it.
            deep: compare the content of the files too, not their sizes alone.

        Returns:
            The sentence; empty where the run is whole.

        Raises:
            RunError: models are missing or broken (with `partial`: all of them), or its settings, tables or task
                are not those that it was trained with.
        """
        self.refresh()
        require_unedited(self)
        standing = self.standing(deep=deep)
        if standing.unfinished and not (partial and standing.whole):
            looks = "; or see what there is with --partial" if standing.whole else ""
            raise RunError(
                f"{self.folder} is not finished: {standing}",
                found=standing.reasons,
                fix=f"run the command that made it again, and it goes on{looks}",
            )
        return standing.partial

    def require_features(self, slides: Iterable[str], *, store: "FeatureStore | None" = None) -> None:
        """Make sure that features of its own slides that are about to be read are those that it was trained on.

        Args:
            store: where they are read; None: where the run found them.

        Raises:
            RunError: they changed after training; the slides are named.
        """
        compared = self._compared if store is None else set[str]()
        if new := [slide for slide in slides if slide not in compared]:
            require_features(self, new, store=store)
            compared |= set(new)

    @cached_property
    def _compared(self) -> set[str]:
        return set()

    @cached_property
    def cell_predictions(self) -> pd.DataFrame:
        """The validation and test rows of all finished cells, with fold and seed."""
        tables = [cell.predictions() for cell in self.cells()]
        if not tables:
            raise RunError(f"{self.folder} has no finished model", fix="let `asmil crossval` or `asmil run` finish")
        return pd.concat(tables, ignore_index=True)

    @cached_property
    def _places(self) -> dict[tuple[str, str], list[Cell]]:
        found: dict[tuple[str, str], list[Cell]] = {}
        rows = self.cell_predictions[["slide", "part", "fold", "seed"]].drop_duplicates()
        for slide, part, fold, seed in rows.itertuples(index=False):
            found.setdefault((slide, part), []).append(self.cell(fold, seed))
        return found

    def tested_on(self, slide: str, *, part: str = "test") -> list[Cell]:
        """The finished cells that were tested on a slide (with `part` "val": that chose their epoch by it)."""
        return self._places.get((slide, part), [])

    def test_attention(self, cells: Sequence[Cell] | None = None) -> dict[str, np.ndarray]:
        """Attention of every slide while it was a test slide, mean over seeds: float32 (tiles,); of all finished cells.

        A map sums to 1, those of a patient's slides together where bags are patients.
        """
        maps: dict[str, list[np.ndarray]] = {}
        for cell in self.cells() if cells is None else cells:
            for slide, attention in cell.attentions().items():
                if cell in self.tested_on(slide):
                    maps.setdefault(slide, []).append(attention)
        return {slide: np.mean(several, axis=0) for slide, several in maps.items()}

    def slide(self, name: str) -> RunSlide:
        """A slide: its tiles, pictures and attention. The last that were asked for are kept, with what was read."""
        require_kind(name, str, called="the name of a slide", fix="give a text")
        kept = self._slides
        own = kept.pop(name, None) or RunSlide(self, name)
        kept[name] = own  # the last one is the newest
        for oldest in list(kept)[:-KEPT]:
            kept.pop(oldest, None)
        return own

    @cached_property
    def _slides(self) -> dict[str, RunSlide]:
        return {}

    def evidence(self, slide: str) -> pd.DataFrame:
        """A row per tile of a slide: attention, and evidence_<class> in logits (`RunSlide.evidence`); with level0_x and
        level0_y where its features have coordinates.

        Raises:
            RunError, AttentionError: as `RunSlide.evidence`.
        """
        own = self.slide(slide)
        columns = {f"evidence_{name}": own.evidence[:, i] for i, name in enumerate(self.classes)}
        places = {} if own.tiles is None else dict(zip(("level0_x", "level0_y"), own.tiles.level0_xy.T, strict=True))
        return pd.DataFrame(places | {"attention": own.attention} | columns)

    # What came out.

    @property
    def logs(self) -> pd.DataFrame:
        """The logs of all finished models: a row per epoch, with fold and seed."""
        logs = [cell.log().assign(fold=cell.fold, seed=cell.seed) for cell in self.cells()]
        return pd.concat(logs, ignore_index=True) if logs else pd.DataFrame()

    @property
    def validation(self) -> Facts:
        """What the finished models came to on their validation parts, where each chose its epoch: `value`, a mean."""
        rows = pd.DataFrame([cell.chosen for cell in self.cells()])
        return {name: {"value": float(rows[name].mean())} for name in map(str, rows) if name.startswith("val_")}

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """Out of fold, one row per slide: slide, case, label, fold, predicted, prob_<class>..., entropy, tile_ap ...

        A run of another task has its own columns of values in the place of `predicted` and `prob_<class>`.

        Raises:
            RunError: the run was not evaluated.
        """
        path, fix = self.folder / layout.PREDICTIONS, as_typed("asmil", "evaluate", self.folder)
        if not path.exists():
            raise RunError(f"{self.folder} was not evaluated yet", found=f"no {layout.PREDICTIONS}", fix=fix)
        table = read_table(path, columns=("slide", "case", "label", *self.values), fix=fix)
        table = with_numbers(table, path=path, gaps=("",), fix=fix)
        with_numbers(table[self.values].copy(), path=path, fix=fix)
        strange, rows = set(table["slide"]) - set(self.cohort["slide"]), self.metrics.get("n_slides", len(table))
        if strange or len(table) != rows:
            found = f"{len(table)} rows for {rows} slides" + (f", not of it: {listed(sorted(strange))}" * bool(strange))
            raise RunError(f"{path} is not as the run was evaluated", found=found, fix=fix)
        if self.classes and "predicted" not in table:
            table["predicted"] = np.array(self.classes)[table[self.values].to_numpy().argmax(axis=1)]
        return table

    @property
    def evaluated(self) -> bool:
        """Whether there are metrics."""
        return (self.folder / layout.METRICS).is_file()

    @property
    def evaluated_part(self) -> str:
        """The sentence of the partial look that the metrics are of, as `require_whole` says it; empty: of all models.

        Metrics of models that are not those in the folder now are of none of its looks.

        Raises:
            RunError: the run was not evaluated.
        """
        said, models = self.metrics.get("partial") or "", self.standing().digest
        ours = self.metrics.get("models", models) == models
        return said if ours else f"{said or 'All models.'} Other models than there are."

    @property
    def evaluated_at(self) -> int:
        """When, in nanoseconds, the out-of-fold predictions were written."""
        return (self.folder / layout.PREDICTIONS).stat().st_mtime_ns

    def require_results(self, *, partial: bool = False) -> str:
        """As `require_whole`, and that the run was evaluated as it is.

        Raises:
            RunError: it was not, or when fewer or more of its models were finished.
        """
        sentence = self.require_whole(partial=partial)
        evaluated = self.evaluated_part
        if evaluated != sentence:
            raise RunError(
                f"{self.folder} has changed since it was evaluated",
                found=f"then: {evaluated or 'all models.'} Now: {sentence or 'all models'}".rstrip("."),
                fix=as_typed("asmil", "evaluate", self.folder) + (" --partial" if sentence else ""),
            )
        return sentence

    def write_results(self, metrics: Facts, predictions: pd.DataFrame, patients: pd.DataFrame | None = None) -> None:
        """Write metrics.json, predictions.csv, and of another task than classification predictions_patients.csv.

        The metrics say of which models they are.
        """
        write_json(self.folder / layout.METRICS, metrics | {"models": self.standing().digest})
        write_text(self.folder / layout.PREDICTIONS, predictions.to_csv(index=False))
        if patients is not None:
            write_text(self.folder / layout.PATIENT_PREDICTIONS, patients.to_csv(index=False))
        self.refresh()


def _result(test: Facts) -> dict[str, str]:
    """The first thing to know of the metrics: AUROC, or what the task has in its place, with its interval."""
    name = "auroc" if "auroc" in test else next(iter(test), "")
    value, (low, high) = test.get(name, {}).get("value"), test.get(name, {}).get("ci95") or (None, None)
    if value is None:
        return {}
    interval = "" if low is None or high is None else f" ({fixed(low)} to {fixed(high)})"
    return {"AUROC" if name == "auroc" else name.replace("_", " "): fixed(value) + interval}
