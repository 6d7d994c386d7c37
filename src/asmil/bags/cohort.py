"""The checked table of a study: which slide belongs to which patient and has which label."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from asmil.bags._cohort_table import (
    TARGET,
    check_contradictions,
    cleaned,
    different,
    joined,
    targets_of,
    with_sites,
    with_targets,
)
from asmil.bags.names import SlideNames, slide_name
from asmil.bags.problem import Problem, listed
from asmil.bags.tables import read_table, sorted_classes
from asmil.errors import CohortError
from asmil.files import write_text
from asmil.shown import Shown

if TYPE_CHECKING:
    from asmil.bags.store import FeatureStore
    from asmil.tasks import Task


@dataclass(frozen=True, repr=False)
class Cohort(Shown):
    """Slides with patient and label.

    `table` has one row per slide: slide, case and label as text, and where known site (text), mpp (um per
    pixel of level 0) and fold. `classes` fixes the class indices. `problems` name every row or file that was
    set aside.

    With a `task` other than classification, columns `target_<name>` hold the numbers that are learned, and the label
    is the stratum by which splits are balanced.
    """

    table: pd.DataFrame
    classes: tuple[str, ...]
    problems: list[Problem] = field(default_factory=list)
    task: "Task | None" = None

    def __len__(self) -> int:
        return len(self.table)

    def facts(self) -> dict[str, object]:
        """Slides, patients, slides of each class (or the task), and how many rows were set aside."""
        counts = self.table["label"].value_counts()
        said: dict[str, object] = {"slides": len(self), "patients": self.table["case"].nunique()}
        if self.task is not None:
            said["task"] = f"{self.task.name} of {', '.join(self.task.columns)}"
        else:
            said["classes"] = ", ".join(f"{name} ({counts.get(name, 0):,})" for name in self.classes)
        return said | ({"set aside": len(self.problems)} if self.problems else {})

    @property
    def slides(self) -> list[str]:
        """Slide names, in the order of the table."""
        return self.table["slide"].tolist()

    @property
    def cases(self) -> list[str]:
        """The patient of each slide."""
        return self.table["case"].tolist()

    @cached_property
    def labels(self) -> np.ndarray:
        """Class index of each slide, int64 (slides,)."""
        index = {name: i for i, name in enumerate(self.classes)}
        return self.table["label"].map(index).to_numpy(np.int64)

    @cached_property
    def targets(self) -> np.ndarray | None:
        """What a task learns of each slide, float64 (slides, width); None for classification."""
        names = [TARGET + name for name in self.task.target_names] if self.task else targets_of(self.table)
        return self.table[names].to_numpy(np.float64) if names else None

    def subset(self, slides: Iterable[str]) -> "Cohort":
        """These slides in this order, with the same classes.

        Raises:
            CohortError: a slide that is not in the cohort.
        """
        row = {slide: i for i, slide in enumerate(self.slides)}
        slides = list(slides)
        if unknown := [slide for slide in slides if slide not in row]:
            raise CohortError("slides are not in the cohort", found=listed(unknown))
        return replace(self, table=self.table.iloc[[row[slide] for slide in slides]].reset_index(drop=True))

    def match(self, names: Iterable[str]) -> "Cohort":
        """The slides that are among `names` (of files); all others on either side become problems.

        A row that names a file of several scenes becomes a row for each of them, of the same case and label; a scene
        that has a row of its own keeps that.

        Raises:
            CohortError: no slide is among the names.
        """
        names = list(names)
        index, keep = SlideNames(names), list[tuple[int, str]]()
        used: dict[str, str] = {}
        problems = list(self.problems)
        own = {slide: index.find(slide) for slide in self.slides}
        named = {name for found in own.values() for name in found}
        for row, slide in enumerate(self.slides):
            found = own[slide]
            scenes = [] if found else [name for name in index.scenes(slide) if name not in named]
            if len(found) > 1:
                problems.append(Problem(slide, f"can be several files: {listed(found)}", "give the full name"))
            elif not found and not scenes:
                problems.append(Problem(slide, "has a label but no file"))
            elif taken := [used[name] for name in found + scenes if name in used]:
                problems.append(Problem(slide, f"is the same file as {taken[0]}", "keep one of the two rows"))
            else:
                used |= dict.fromkeys(found + scenes, slide)
                keep += [(row, name) for name in scenes or [slide]]
        problems += [Problem(name, "has a file but no label") for name in sorted(set(names) - used.keys())]
        if not keep:
            sample = f"the table has {listed(self.slides, 3)}; the files are {listed(names, 3)}"
            raise CohortError("no slide of the table has a file", found=sample, fix="check the slide column")
        table = self.table.iloc[[row for row, _ in keep]].reset_index(drop=True)
        return replace(self, table=table.assign(slide=[name for _, name in keep]), problems=problems)

    def save(self, path: str | Path) -> None:
        """Write the table as csv."""
        write_text(path, self.table.to_csv(index=False))

    @classmethod
    def load(cls, path: str | Path, *, classes: Sequence[str] | None = None) -> "Cohort":
        """Read what `save` wrote; `classes` for a part of a cohort that lacks some."""
        cohort, saved = read_cohort(path, classes=classes), read_table(path).set_index("slide")
        numbers = saved.loc[cohort.slides, targets_of(saved)].replace("", "nan").astype(np.float64)
        table = pd.concat([cohort.table, numbers.reset_index(drop=True)], axis=1)
        return replace(cohort, table=table)


def read_cohort(
    labels: str | Path | pd.DataFrame,
    *,
    slide_table: str | Path | pd.DataFrame | None = None,
    label: str = "label",
    slide_column: str | None = None,
    case_column: str | None = None,
    site_column: str | None = None,
    task: "Task | None" = None,
    classes: Sequence[str] | None = None,
    features: "FeatureStore | str | Path | None" = None,
    slides: str | Path | Iterable[str | Path] | None = None,
) -> Cohort:
    """Read a table of labels (csv, tsv, xlsx; columns are recognised in any case and under usual names).

    Two forms: one row per slide (CLAM: `case_id, slide_id, label`), or one row per patient with
    `slide_table`, which maps patients to slides (STAMP: `PATIENT, FILENAME`). Without a patient column, TCGA
    barcodes name the patient, else every slide counts as a patient. Classes are sorted; `classes` gives
    another order or a choice of them. With `features` (a store or its path) or `slides` (a folder of slides,
    or their names) only slides that are there are kept (`Cohort.match`).

    A `task` (`asmil.tasks.create_task`) reads its own columns instead of `label`: the cohort then has its targets, and
    rows that it cannot read become problems.

    Raises:
        CohortError: a column is missing; a slide has two labels or two patients; fewer than two classes.
    """
    rows = read_table(labels)
    if task is not None:
        (rows, task), label = with_targets(rows, task), "label"
    raw, problems = joined(rows, slide_table, label=label, slide_column=slide_column, case_column=case_column)
    table, unusable = cleaned(raw, site_column, classes=None if classes is None else [str(c) for c in classes])
    check_contradictions(table)
    repeated = table["slide"].duplicated()
    problems += unusable + [Problem(slide, "is in the table more than once") for slide in table["slide"][repeated]]
    table = with_sites(table[~repeated].reset_index(drop=True))
    mixed = different(table, of="case")
    if (mixed > 1).any():
        what = f"{(mixed > 1).sum()} patients have slides of different labels: {listed(mixed.index[mixed > 1])}"
        problems.append(Problem("", what, "intended where labels are per slide"))
    found = sorted_classes(table["label"].tolist())
    known = found if classes is None else tuple(str(c) for c in classes)
    if len(known) < (2 if task is None else 1):
        raise CohortError(f"column {label!r} has fewer than two classes", found=listed(found) or "no labels at all")
    cohort = Cohort(table, known, problems, task)
    for names in (_feature_names(features), _slide_names(slides)):
        cohort = cohort if names is None else cohort.match(names)
    return cohort


def _feature_names(features: "FeatureStore | str | Path | None") -> list[str] | None:
    if isinstance(features, str | Path):
        from asmil.bags.store import open_features  # torch, and only where features are asked for

        features = open_features(features)
    return None if features is None else features.slides


def _slide_names(slides: str | Path | Iterable[str | Path] | None) -> list[str] | None:
    if isinstance(slides, str | Path):
        from asmil.slides import scan_slides

        slides = scan_slides(slides)
    return None if slides is None else [slide_name(str(slide)) for slide in slides]
