"""Two runs side by side: paired differences on the slides that both predicted."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from asmil.errors import RunError
from asmil.evaluation.compare import compare_predictions
from asmil.evaluation.intervals import Interval, percentile_interval, resample_counts
from asmil.evaluation.metrics import METRICS
from asmil.evaluation.paired import CorrectedMean, corrected_mean
from asmil.report.words import listed
from asmil.runs import Run

MAPS = ("entropy", "effective_tiles", "top1_mass", "tile_auroc", "tile_ap")


@dataclass(frozen=True)
class Pair:
    """Two runs of the same labels; differences are `own` minus `other`."""

    own: Run
    other: Run

    @cached_property
    def names(self) -> tuple[str, str]:
        """What the runs are called on the page: the names of their folders."""
        own, other = (run.folder.resolve().name for run in (self.own, self.other))
        return (own, other) if own != other else (own, f"{other} (the other)")

    @cached_property
    def slides(self) -> pd.DataFrame:
        """One row per shared slide: slide, case, label, y, fold and a_<column>, b_<column> of both runs.

        Raises:
            RunError: another task than classification, other classes, other labels, or no shared slide.
        """
        self._check()
        tables = [run.predictions.set_index("slide") for run in (self.own, self.other)]
        shared = [slide for slide in tables[0].index if slide in set(tables[1].index)]
        a, b = (table.loc[shared] for table in tables)
        if not shared or (a["label"] != b["label"]).any():
            wrong = [slide for slide in shared if a["label"][slide] != b["label"][slide]]
            raise RunError(
                f"{self.other.folder} predicts other {'labels' if shared else 'slides'}",
                found=f"{len(shared)} slides in both runs" + (f"; labels differ for {listed(wrong)}" if wrong else ""),
                fix="compare runs of the same table of labels",
            )
        rows = a[["case", "label"]].join([a.add_prefix("a_"), b.add_prefix("b_")])
        y = rows["label"].map({name: i for i, name in enumerate(self.own.classes)})
        return rows.assign(y=y.astype(int)).reset_index()

    def _check(self) -> None:
        for run in (self.own, self.other):
            if not run.classes:
                raise RunError(
                    "only runs of classification can be compared", found=f"{run.folder} is of {run.task_name}",
                    fix="put their reports side by side",
                )  # fmt: skip
        if set(self.own.classes) != set(self.other.classes):
            found = f"{', '.join(self.own.classes)} and {', '.join(self.other.classes)}"
            raise RunError("the runs have other classes", found=found, fix="compare runs of the same labels")

    @cached_property
    def scored(self) -> pd.DataFrame:
        """The rows of `slides` that metrics count: one per patient where bags are patients."""
        patients = "case" in (self.own.unit, self.other.unit)
        return self.slides.drop_duplicates("case") if patients else self.slides

    def probabilities(self, side: str, rows: pd.DataFrame | None = None) -> np.ndarray:
        """(rows, classes) of side "a" (own) or "b" (other), of `scored` or other rows; classes as in the own run."""
        rows = self.scored if rows is None else rows
        return rows[[f"{side}_prob_{c}" for c in self.own.classes]].to_numpy(dtype=np.float64)

    @cached_property
    def same_folds(self) -> bool:
        """Whether every slide had the same part in every fold of both runs."""
        keys = ["slide", "fold", "part"]
        tables = [run.splits for run in (self.own, self.other)]
        a, b = (table[keys].sort_values(keys).reset_index(drop=True) for table in tables)
        return a.equals(b)

    @cached_property
    def folds(self) -> np.ndarray | None:
        """(scored,) the fold of each row where both runs have the same several folds, else None."""
        folds = self.scored["a_fold"].to_numpy() if self.same_folds and "a_fold" in self.scored else None
        return folds if folds is not None and len(np.unique(folds)) > 1 else None

    def differences(self, *, n_boot: int = 1000) -> dict[str, Interval]:
        """Every metric, own minus other: mean over folds where they are the same, else pooled."""
        y, cases = self.scored["y"].to_numpy(), self.scored["case"].to_numpy(str)
        a, b = self.probabilities("a"), self.probabilities("b")
        return compare_predictions(y, b, a, groups=cases, metrics=METRICS.names(), strata=y, folds=self.folds, n=n_boot)

    def values(self, side: str) -> dict[str, float]:
        """Every metric of one run on the shared slides, as `differences` summarises it."""
        y, prob = self.scored["y"].to_numpy(), self.probabilities(side)
        return {name: float(np.nanmean(self._by_fold(name, y, prob))) for name in METRICS.names()}

    def over_training(self) -> dict[str, CorrectedMean]:
        """Differences by fold with the interval for other training sets; nothing where folds differ."""
        if self.folds is None:
            return {}
        y, a, b = self.scored["y"].to_numpy(), self.probabilities("a"), self.probabilities("b")
        counts = self.own.splits.groupby(["fold", "part"]).size().unstack(fill_value=0)
        learned = counts.get("train", 0) + (counts.get("val", 0) if self.own.settings.refit else 0)
        ratio = float((counts["test"] / learned).mean())
        return {
            name: corrected_mean(self._by_fold(name, y, a) - self._by_fold(name, y, b), test_to_train=ratio)
            for name in METRICS.names()
        }

    def _by_fold(self, name: str, y: np.ndarray, prob: np.ndarray) -> np.ndarray:
        folds = np.zeros(len(y)) if self.folds is None else self.folds
        return np.array([METRICS[name](y[folds == fold], prob[folds == fold]) for fold in np.unique(folds)])

    def map_differences(self, *, n_boot: int = 1000) -> dict[str, tuple[float, float, Interval, int]]:
        """By measure of a slide's map: mean of own, of other, the difference with its interval, and the slides."""
        found = {}
        for column in MAPS:
            if not {f"a_{column}", f"b_{column}"} <= set(self.slides):
                continue
            a, b = (pd.to_numeric(self.slides[f"{side}_{column}"], errors="coerce") for side in "ab")
            both = a.notna() & b.notna()
            if both.any():
                gap = (a - b)[both].to_numpy()
                interval = _mean_over_patients(gap, self.slides["case"][both].to_numpy(str), n=n_boot)
                found[column] = (float(a[both].mean()), float(b[both].mean()), interval, int(both.sum()))
        return found

    def settings(self) -> list[tuple[str, Any, Any]]:
        """The settings in which the runs differ: name, own value, other value."""
        a, b = (run.settings.model_dump(mode="json", exclude={"out"}) for run in (self.own, self.other))
        return [(name, a[name], b[name]) for name in a if a[name] != b[name]]


def _mean_over_patients(values: np.ndarray, cases: np.ndarray, *, n: int) -> Interval:
    """Mean of values (slides,) with the interval from resampling patients."""
    counts = resample_counts(cases, n=n)
    patients = np.unique(cases, return_inverse=True)[1]
    sums, sizes = np.bincount(patients, weights=values), np.bincount(patients)
    return percentile_interval(float(values.mean()), (counts @ sums) / (counts @ sizes))
