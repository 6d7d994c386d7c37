"""The plain files of a whole run: settings, tables, notes and measurements, each read and written here alone."""

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from asmil.errors import AsmilError, ConfigError, FeatureError, RunError, as_typed
from asmil.extraction import sole
from asmil.files import Facts, path_of, safe_name, write_json, write_text
from asmil.machine import environment
from asmil.progress import NOTED, Listener, tracked
from asmil.runs import layout
from asmil.runs.reading import check_identity, check_metrics, options_of, read_json, read_table, reading, with_numbers
from asmil.settings import ABOUT, CLASSIFICATION, Settings, dump_settings, lacks_data, load_settings, task_facts
from asmil.slides import name_of, scan_slides
from asmil.tasks import create_task

if TYPE_CHECKING:
    from asmil.bags import Cohort, FeatureStore, Splits
    from asmil.tasks import Task

COPY = "copy the whole run folder"
AGAIN = "evaluate the run again: asmil evaluate RUN"
_log = logging.getLogger(__name__)
INPUTS = (
    *("slides", "features", "labels", "slide_table", "slide_settings", "annotations", "splits"),
    *("weights", "stain_target"),
)
"""Settings that are paths of what is read."""


class Records:
    """What lies in a run folder beside its models and results.

    What was read is kept until something is written through this object, or `refresh` is called. Whatever is missing or
    damaged is a `RunError` that names the file.
    """

    def __init__(self, folder: str | Path):
        self.folder = path_of(folder, "a run")

    @contextmanager
    def held(self, settings: Settings, hear: Listener) -> Iterator[Listener]:
        """A block in which no other process makes this run: two would write the same checkpoints and models.

        Yields the listener, through which the trackers of the settings hear too. They are told of settings that decide
        something, and of no path.

        Raises:
            RunError: another does; it is named.
        """
        told = {name: getattr(settings, name) for name, a in ABOUT.items() if a.decides not in ("content", "nothing")}
        where: Facts = {"folder": self.folder / layout.TRACKED, "name": self.folder.resolve().name, "settings": told}
        with (
            sole(self.folder, within=layout.MAKING, what="making a run", hear=hear),
            tracked(hear, list(settings.log_to), **where) as listener,
        ):
            yield listener

    def refresh(self) -> None:
        """Forget what was read."""
        self.__dict__ = {"folder": self.folder}

    def __getstate__(self) -> dict[str, object]:  # to another process goes the place, not what was read
        return {"folder": self.folder}

    # What it was made with.

    @cached_property
    def settings(self) -> Settings:
        """All settings, with their defaults."""
        path = self.folder / layout.CONFIG
        if not path.is_file():
            raise RunError(f"{self.folder} has no settings", found=f"no {layout.CONFIG}", fix=COPY)
        with reading(path, fix=COPY):
            try:
                settings = load_settings(path, {"out": self.folder}, saved=True)
            except ConfigError as error:
                raise RunError(f"{path} holds no settings", found=error, fix=COPY) from error
        if settings.model_fields_set == {"out"}:  # every setting is written: defaults are not what was asked for
            raise RunError(f"{path} holds no settings", found="an empty file", fix=COPY)
        return settings.model_copy(update=self._found_from_here(settings))

    def _found_from_here(self, settings: Settings) -> dict[str, Path]:
        """Inputs by a relative path that leads nowhere from here, by their places from where the run was made."""
        made_in = self.environment.get("made_in")
        given = ((name, getattr(settings, name)) for name in INPUTS)
        relative = {name: path for name, path in given if path is not None and not path.is_absolute()}
        places = {name: Path(str(made_in)) / path for name, path in relative.items() if made_in and not path.exists()}
        return {name: place for name, place in places.items() if place.exists()}

    def write_settings(self, settings: Settings) -> None:
        """Write config.yaml."""
        dump_settings(settings, self.folder / layout.CONFIG)
        self.refresh()

    @property
    def identity(self) -> Facts:
        """What decided the results, as it was written down when the run began; empty before that."""
        path = self.folder / layout.IDENTITY
        fix = "put it back from a copy of the run: without it nobody can tell what made the models"
        said = read_json(path, fix=fix) if path.exists() else {}
        with reading(path, fix=fix):
            check_identity(said)
        return said

    def write_identity(self, identity: dict[str, object]) -> None:
        """Write identity.json, and where the run is made."""
        write_json(self.folder / layout.IDENTITY, json.loads(json.dumps(identity, default=str)))
        write_json(self.folder / layout.ENVIRONMENT, environment())

    @property
    def environment(self) -> Facts:
        """Versions, device, commit; empty where they were not written down."""
        path = self.folder / layout.ENVIRONMENT
        return read_json(path, fix="delete it: it is for the reader only") if path.is_file() else {}

    @cached_property
    def task_said(self) -> Facts:
        """Name and options of the task, as task.json says them; empty where an older run has none."""
        path = self.folder / layout.TASK
        said = read_json(path, fix=COPY) if path.is_file() else {}
        with reading(path, fix=COPY, what="names no task of asmil"):
            return {"name": str(said["name"]), "options": options_of(said["options"])} if said else {}

    @cached_property
    def task(self) -> "Task | None":
        """What the run predicts, as it was read off the table of labels; None for classification."""
        if not (said := self.task_said) or said["name"] == CLASSIFICATION:
            return None
        try:
            return create_task(said["name"], **said["options"])
        except (AsmilError, TypeError, ValueError) as error:
            raise RunError(f"{self.folder / layout.TASK} names no task of asmil", found=error, fix=COPY) from error

    @property
    def task_name(self) -> str:
        """Of the task, or "classification"."""
        return self.task_said.get("name", CLASSIFICATION)

    # Whom it learns from.

    def set_data(self, cohort: "Cohort", splits: "Splits") -> None:
        """Note the slides, how they are divided, and what is predicted of them.

        In a run whose identity says them, `go_on` has compared them, and files that were edited are written as they
        were.

        Raises:
            RunError: something was trained with others; the run is left as it was.
        """
        said, older = task_facts(cohort), self.begun and lacks_data(self.identity)
        if older and self.task_said not in ({}, said):
            raise RunError(
                "the task is not the one this run was started with",
                found=f"{said}, was {self.task_said}",
                fix="choose another --out (--features takes the features of this one)",
            )
        if older and (self.folder / layout.SPLITS).exists() and not self._has_data(cohort, splits):
            raise RunError(
                "the cohort is not the one this run was started with",
                found=f"other slides, targets or folds than in {self.folder / layout.SPLITS}",
                fix="choose another --out (--features takes the features of this one)",
            )
        self.refresh()
        cohort.save(self.folder / layout.COHORT)
        splits.save(self.folder / layout.SPLITS)
        write_json(self.folder / layout.TASK, said)

    def _has_data(self, cohort: "Cohort", splits: "Splits") -> bool:
        columns = ["slide", "case", "label", "fold", "part"]
        before, own = (table[columns].astype(str).to_numpy().tolist() for table in (self.splits, splits.table))
        if before != own:
            return False
        targets = [name for name in cohort.table if str(name).startswith("target_")]
        if not targets:
            return True
        known = self.cohort.set_index("slide").reindex(cohort.slides)
        values = cohort.table[targets].to_numpy(float)
        return set(targets) <= set(known) and np.array_equal(known[targets].to_numpy(float), values, equal_nan=True)

    @cached_property
    def cohort(self) -> pd.DataFrame:
        """slide, case, label, and where they are known site, mpp, fold, target_<name>."""
        table = read_table(self.folder / layout.COHORT, columns=("slide", "case", "label"), fix=COPY)
        numbers = [name for name in map(str, table) if name == "mpp" or name.startswith("target_")]
        return table.assign(**{name: pd.to_numeric(table[name], errors="coerce") for name in numbers})

    @cached_property
    def splits(self) -> pd.DataFrame:
        """slide, case, label, fold (int), part."""
        path = self.folder / layout.SPLITS
        table = read_table(path, columns=("slide", "case", "label", "fold", "part"), fix=COPY)
        return with_numbers(table, path=path, whole=("fold",), fix=COPY)

    @property
    def failures(self) -> pd.DataFrame:
        """name, result (skipped, failed), stage, reason of the slides that did not get into the results."""
        path = self.failures_file
        table = read_table(path, columns=("name",), fix="delete it") if path.is_file() else pd.DataFrame()
        return table[table["result"] != NOTED] if "result" in table else table  # a remark is no slide that was lost

    @property
    def features(self) -> Path:
        """The folder of the features that the run extracted; several kinds may lie beside each other."""
        folder = self.folder / layout.FEATURES
        note = folder / layout.FEATURES_NOTE
        if not note.exists():
            return folder
        store = str(read_json(note, fix="run the command that made the run again").get("store"))
        return folder / safe_name(store)  # a stranger's note leads nowhere else

    def set_features(self, store: Path) -> None:
        """Note which folder under `features/` is the one that the run learns from."""
        write_json(self.folder / layout.FEATURES / layout.FEATURES_NOTE, {"store": store.name})
        self.refresh()

    @cached_property
    def store(self) -> "FeatureStore | None":
        """The features that it learns from, None where they are not at hand."""
        from asmil.bags import open_features

        try:
            return open_features(self.settings.features or self.features, encoder=self.settings.features_encoder)
        except FeatureError:
            return None

    @cached_property
    def slide_files(self) -> dict[str, Path]:
        """The slide files by name, where the folder that the settings name is at hand."""
        folder = self.settings.slides
        return {name_of(path): path for path in scan_slides(folder)} if folder and folder.is_dir() else {}

    # What was measured on the way.

    def write_findings(self, findings: pd.DataFrame) -> None:
        """Write the detections of FROC: slide, confidence, x, y."""
        write_text(self.folder / layout.FINDINGS, findings.to_csv(index=False, float_format="%.6g"))

    @property
    def profile(self) -> Facts | None:
        """What its slides are like (profile.json), None before it was measured."""
        path = self.profile_file
        return read_json(path, fix="delete it: it is measured again from the features") if path.exists() else None

    @property
    def profile_file(self) -> Path:
        """Where that is."""
        return self.folder / layout.PROFILE

    def write_profile(self, profile: dict[str, object]) -> None:
        """Write profile.json."""
        write_json(self.profile_file, profile)

    @property
    def seconds(self) -> dict[str, float]:
        """Wall time by stage, in seconds."""
        path = self.folder / layout.SECONDS
        try:
            said = read_json(path, fix="")
        except RunError:  # not there, or cut: it only tells the time
            return {}
        return {name: float(value) for name, value in said.items() if isinstance(value, int | float)}

    @property
    def code(self) -> dict[str, object]:
        """The version of asmil and the commit that it runs from, for identity.json."""
        found = environment()
        return {"asmil": found["packages"]["asmil"], "commit": found["commit"]}

    @property
    def begun(self) -> bool:
        """Whether anything was trained in it: a model is there, or half of one."""
        return any(any(folder.iterdir()) for folder, _ in layout.cell_folders(self.folder)) or any(
            self.checkpoints.glob("*")
        )

    @property
    def extracted(self) -> bool:
        """Whether it holds features of its own."""
        return (self.folder / layout.FEATURES).is_dir()

    # What came out.

    @cached_property
    def metrics(self) -> Facts:
        """The content of metrics.json.

        Raises:
            RunError: the run was not evaluated.
        """
        path, fix = self.folder / layout.METRICS, as_typed("asmil", "evaluate", self.folder)
        if not path.exists():
            raise RunError(f"{self.folder} was not evaluated yet", found=f"no {layout.METRICS}", fix=fix)
        return check_metrics(read_json(path, fix=fix), path=path, fix=fix)

    @property
    def headline(self) -> Facts:
        """The metrics to know first, each with `value` and `ci95`: of the test part, and the operating point's rates.

        Raises:
            RunError: the run was not evaluated.
        """
        point = self.metrics.get("operating_point") or {}
        return self.metrics["test"] | {
            name: one for name, one in point.items() if isinstance(one, dict) and "ci95" in one
        }

    @property
    def scores(self) -> pd.DataFrame:
        """`headline` as a table: metric, value, low, high (95 %)."""
        rows = [(name, one["value"], *one["ci95"]) for name, one in self.headline.items()]
        return pd.DataFrame(rows, columns=["metric", "value", "low", "high"])

    @property
    def findings(self) -> pd.DataFrame:
        """The detections of FROC: slide, confidence, x, y; no rows where it was not asked for."""
        path, columns = self.folder / layout.FINDINGS, ("slide", "confidence", "x", "y")
        if not path.is_file():
            return pd.DataFrame(columns=list(columns))
        return with_numbers(read_table(path, columns=columns, fix=AGAIN), path=path, fix=AGAIN)

    @property
    def patient_predictions(self) -> pd.DataFrame:
        """A row per patient, of another task than classification; no rows of that."""
        path = self.folder / layout.PATIENT_PREDICTIONS
        return read_table(path, columns=("case",), fix=AGAIN) if path.is_file() else pd.DataFrame()

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the wall time of a block to `seconds.json` (and metrics.json), over all starts of the run."""
        started = time.monotonic()
        _log.info("%s: begins", stage)
        try:
            yield
        finally:
            _log.info("%s: %.1f s", stage, time.monotonic() - started)
            seconds = self.seconds
            seconds[stage] = round(seconds.get(stage, 0.0) + time.monotonic() - started, 2)
            write_json(self.folder / layout.SECONDS, seconds)
            if (self.folder / layout.METRICS).exists():
                write_json(self.folder / layout.METRICS, self.metrics | {"seconds": seconds})
            self.refresh()

    # Places of what others write.

    @property
    def failures_file(self) -> Path:
        """The table of slides that were skipped or failed."""
        return self.folder / layout.FAILURES

    @property
    def report_file(self) -> Path:
        """The page."""
        return self.folder / layout.REPORT

    @property
    def bundle_file(self) -> Path:
        """The page with large pictures and the tables it was made of."""
        return self.folder / layout.BUNDLE

    @property
    def result_files(self) -> list[Path]:
        """The tables that a page is made of, whether they are there or not."""
        return [self.folder / name for name in layout.RESULTS]

    @property
    def card_file(self) -> Path:
        """The model card."""
        return self.folder / layout.CARD

    @property
    def predicted(self) -> Path:
        """The folder of predictions of new slides."""
        return self.folder / layout.PREDICTED

    @property
    def checkpoints(self) -> Path:
        """The folder of trainings that are not at their end."""
        return self.folder / layout.CHECKPOINTS

    def comparison_file(self, other: "Records") -> Path:
        """The page of the differences to another run."""
        return self.folder / layout.comparison(safe_name(other.folder.resolve().name))

    def thumbnail_file(self, slide: str) -> Path:
        """The thumbnail of a slide, if it has one."""
        return layout.thumbnail_file(self.folder, self.settings.features, slide)

    def figure_file(self, name: str, suffix: str = "") -> Path:
        """A picture of a slide, or a figure of the paper."""
        return layout.figure_file(self.folder, name, suffix)
