"""The checked table of a study: which slide belongs to which patient and has which label."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from asmil.bags.columns import Reading
from asmil.bags.tables import Problem, SlideNames, listed, read_table, without_point_zero
from asmil.errors import CohortError
from asmil.files import write_text
from asmil.shown import Shown

if TYPE_CHECKING:
    from asmil.tasks import Task

TARGET = "target_"
"""How the columns begin that hold the numbers of another task than classification."""


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
    reading: Reading = field(default_factory=Reading)

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

    def lines(self) -> list[str]:
        """How the tables were understood, for whoever has to see that they were: columns, sizes, what was left out."""
        slides, groups = self.table["label"].value_counts(), self.table.groupby("label")["case"].nunique()
        said = [f"tables: {self.reading.line(labelled=self.task is None)}"]
        kinds = [f"{name} ({slides.get(name, 0):,} slides, {groups.get(name, 0):,} patients)" for name in self.classes]
        if self.task is None:
            last = f"; positive is {self.classes[-1]} ({self.reading.positive}; --classes names another)"
            what = f"classes {', '.join(kinds)}" + (last if len(kinds) == 2 and self.reading.positive else "")
        else:
            what = f"{self.task.name} of {', '.join(self.task.columns)}: {'; '.join(self._of_targets())}"
        said.append(f"cohort: {len(self):,} slides of {self.table['case'].nunique():,} patients; {what}")
        rows: dict[str, list[str]] = {}
        for problem in self.problems:
            rows.setdefault(problem.what, []).append(problem.slide)
        for reason, names in rows.items():
            known = [name for name in names if name]
            said.append(
                f"remark: {reason}" if not known else f"left out: {reason} [{len(known):,}: {listed(known, 3)}]"
            )
        return said

    def _of_targets(self) -> list[str]:
        """What a task learns, by which a wrong column and a number that stands for "unknown" are seen."""
        if levels := getattr(self.task, "levels", ()):
            counts = self.table["label"].value_counts()
            return [", ".join(f"{level} ({counts.get(level, 0):,} slides)" for level in levels)]
        names = targets_of(self.table)
        return [_told(self.table[name], name.removeprefix(TARGET) if len(names) > 1 else "") for name in names]

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

    def match(self, names: Iterable[str], *, unreadable: Iterable[Problem] = ()) -> "Cohort":
        """The slides that are among `names` (of files); all others on either side become problems.

        A row that names a file of several scenes becomes a row for each of them, of the same case and label; a scene
        that has a row of its own keeps that. A row whose file is there and `unreadable` says what is wrong with it.

        Raises:
            CohortError: no slide is among the names.
        """
        names = list(names)
        index, keep = SlideNames(names), list[tuple[int, str]]()
        used: dict[str, str] = {}
        problems = list(self.problems)
        wrong = {problem.slide: problem for problem in unreadable}
        broken = SlideNames(list(wrong))
        own = {slide: index.find(slide) for slide in self.slides}
        named = {name for found in own.values() for name in found}
        for row, slide in enumerate(self.slides):
            found = own[slide]
            scenes = [] if found else [name for name in index.scenes(slide) if name not in named]
            if len(found) > 1:
                problems.append(Problem(slide, f"can be several files: {listed(found)}", "give the full name"))
            elif not found and not scenes:
                said = [wrong[name] for name in broken.find_or_file(slide)] or [
                    Problem(slide, "has a label but no file")
                ]
                problems += [replace(problem, slide=slide) for problem in said]
            elif taken := [used[name] for name in found + scenes if name in used]:
                problems.append(Problem(slide, f"is the same file as {taken[0]}", "keep one of the two rows"))
            else:
                used |= dict.fromkeys(found + scenes, slide)
                keep += [(row, name) for name in scenes or [without_point_zero(slide, found)]]
        told = SlideNames([problem.slide for problem in problems if problem.slide])  # why it is left out
        rest = [name for name in sorted(set(names) - used.keys()) if not told.find_or_file(name)]
        problems += [Problem(name, "has a file but no label") for name in rest]
        if numbers := [self.slides[row] for row, name in keep if f"{name}.0" == self.slides[row]]:
            what = f"{len(numbers)} slides are numbers with .0 in the table, and are taken for those without"
            problems.append(Problem("", f"{what}: {listed(numbers, 3)}", "save that column as text"))
        if not keep:
            sample = f"the table has {listed(self.slides, 3)}; the files are {listed(names, 3) or 'none'}"
            bare = {name.lstrip("0") for name in names if name.startswith("0")}
            fix = "names became numbers and lost their zeros in front: save that column as text"
            fix = fix if bare.intersection(name.lstrip("0") for name in self.slides) else "check the slide column"
            raise CohortError("no slide of the table has a file", found=sample, fix=fix)
        table = self.table.iloc[[row for row, _ in keep]].reset_index(drop=True)
        return replace(self, table=table.assign(slide=[name for _, name in keep]), problems=problems)

    def save(self, path: str | Path) -> None:
        """Write the table as csv."""
        write_text(path, self.table.to_csv(index=False))

    @classmethod
    def load(cls, path: str | Path, *, classes: Sequence[str] | None = None) -> "Cohort":
        """Read what `save` wrote; `classes` for a part of a cohort that lacks some."""
        from asmil.bags.labels import read_cohort  # which makes cohorts

        saved = read_table(path).set_index("slide")
        cohort = read_cohort(path, classes=classes, slide_column="slide", case_column="case", spellings="different")
        numbers = saved.loc[cohort.slides, targets_of(saved)].replace("", "nan").astype(np.float64)
        table = pd.concat([cohort.table, numbers.reset_index(drop=True)], axis=1)
        return replace(cohort, table=table)


MOST_TOLD = 6
"""Different numbers of a target that are told one by one."""


def _told(cells: pd.Series, name: str) -> str:
    numbers = cells.astype(float)
    counts = numbers.value_counts().sort_index()
    text = f"{numbers.min():g} to {numbers.max():g}, median {numbers.median():g}"
    if len(counts) <= MOST_TOLD:
        text = ", ".join(f"{value:g} ({count:,} slides)" for value, count in counts.items())
    return f"{name} {text}".strip()


def targets_of(table: pd.DataFrame) -> list[str]:
    """The columns of a task's numbers."""
    return [str(column) for column in table if str(column).startswith(TARGET)]


def typed(table: pd.DataFrame) -> list[str]:
    """The columns that a person wrote: those that a task made of them come last, the numbers first."""
    names = [str(column) for column in table]
    return names[: next((place for place, name in enumerate(names) if name.startswith(TARGET)), len(names))]


def different(table: pd.DataFrame, *, of: str) -> pd.Series:
    """By slide or case: how many different labels, or different numbers of a task, it has."""
    return table.groupby(of)[["label", *targets_of(table)]].nunique().max(axis=1)


def check_contradictions(table: pd.DataFrame) -> None:
    """A slide has one label and one patient, one site, scale and fold.

    Raises:
        CohortError: a slide with two of one; all are named.
    """
    for column, what in (
        ("label", "slides have two different labels"),
        *((name, f"slides have two different values of {name.removeprefix(TARGET)}") for name in targets_of(table)),
        ("case", "slides belong to two patients"),
        *((name, f"slides have two different values of {name}") for name in ("site", "mpp", "fold") if name in table),
    ):
        count = table.groupby("slide")[column].nunique()
        if (count > 1).any():
            wrong = [
                f"{s} ({' / '.join(table[column][table['slide'] == s].astype(str).unique())})"
                for s in count.index[count > 1]
            ]
            raise CohortError(what, found=listed(wrong), fix="correct the table")
