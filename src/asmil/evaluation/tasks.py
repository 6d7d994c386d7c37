"""The numbers of a run of another task than classification, from its table of predictions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from asmil.errors import MetricError
from asmil.evaluation.intervals import Interval, percentile_interval, resample_counts
from asmil.evaluation.summary import averaged, or_none, parts, tested_rows
from asmil.evaluation.task_scores import (
    label_scores,
    level_confusion,
    multilabel_scores,
    ordinal_scores,
    regression_scores,
    risk_groups,
    survival_scores,
)

if TYPE_CHECKING:
    from asmil.tasks import Task

Scores = dict[str, np.ndarray]
NAMES = {"case": "patients", "slide": "slides"}
AT_ONCE = 4_000_000
"""Weights (resamples times rows) that are scored together, to bound memory."""


@dataclass(frozen=True)
class _Part:
    """Rows to score: patients (rows,), targets (rows, width) and values (rows, values)."""

    cases: np.ndarray
    targets: np.ndarray
    values: np.ndarray

    def scored(self, score: Callable[..., Scores], counts: np.ndarray | None = None) -> Scores:
        """Every score (samples,), rows drawn as often as their patient in `counts` (samples, patients), else once."""
        if counts is None:
            return score(self.targets, self.values, weight=np.ones((1, len(self.cases))))
        step = max(1, AT_ONCE // max(1, len(self.cases)))
        blocks = [
            score(self.targets, self.values, weight=counts[start : start + step, self.cases].astype(np.float64))
            for start in range(0, len(counts), step)
        ]
        return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def evaluate_task(table: pd.DataFrame, task: "Task", *, n_boot: int = 1000, seed: int = 0) -> dict[str, object]:
    """Every metric of out-of-fold predictions of a task, with 95 % intervals over patients.

    `table` has slide, case, fold, target_<name> for each of `task.target_names`, the columns `task.value_names`,
    and `seed` and `part` as for `evaluate_predictions`, whose keys are returned too (`test`, `test_is`, `pooled`,
    `mean_of_folds`, `per_fold`, `per_seed`, `n_slides`, `n_patients`). Seeds are averaged. Survival is scored by
    patient, the values of whose slides are averaged; all else by slide. Besides: `confusion` and `levels` (ordinal),
    `per_label` (multi-label), `n_events`, `times` and `risk_groups` (survival; cut at the median risk of the rows
    whose part is "val", and absent without them). A task that is none of ours is scored by its `select_metric`.

    Raises:
        MetricError: missing columns, values that are not finite, or rows of a slide that contradict each other.
    """
    score = _score_of(task)
    targets, values = [f"target_{name}" for name in task.target_names], list(task.value_names)
    tested = tested_rows(table, [*targets, *values], constant=("case", *targets))
    if tested.empty or not np.isfinite(tested[values].to_numpy(np.float64)).all():
        raise MetricError("there are no predictions, or some are not finite", found=f"{len(tested)} rows")
    tested["code"] = np.unique(tested["case"], return_inverse=True)[1]
    unit = "case" if "survival" in task.name else "slide"
    if unit == "case" and (tested.groupby("case")[targets].nunique() > 1).any(axis=None):
        raise MetricError("a patient has slides of different times or events", fix="correct the table of labels")
    rows = partial(averaged, first=["code", *targets], mean=values)
    part = partial(_part, targets=targets, values=values)
    by_fold, pooled = rows(tested, [unit, "fold"]), part(rows(tested, [unit]))
    folds = [(fold, part(own)) for fold, own in parts(by_fold, "fold")]
    results = {
        "pooled": _intervals([pooled], score, n=n_boot, seed=seed),
        "mean_of_folds": _intervals([own for _, own in folds], score, n=n_boot, seed=seed),
    }
    headline = "mean_of_folds" if len(folds) > 1 else "pooled"
    by_seed = []
    for key, own in parts(tested, "seed"):
        sets = [part(one) for _, one in parts(rows(own, [unit, "fold"]), "fold")]
        by_seed.append({"seed": key} | _means([one.scored(score) for one in sets]))
    return {
        "test": results[headline],
        "test_is": headline,
        **results,
        "per_fold": [
            {"fold": fold, f"n_{NAMES[unit]}": len(own.cases)} | _means([own.scored(score)]) for fold, own in folds
        ],
        "per_seed": {"values": by_seed, "spread": _spread(by_seed)},
        "n_slides": int(tested["slide"].nunique()),
        "n_patients": int(tested["case"].nunique()),
        **_besides(task, pooled, n_boot=n_boot, seed=seed),
        **(_survival_besides(task, table, by_fold) if unit == "case" else {}),
    }


def _score_of(task: "Task") -> Callable[..., Scores]:
    known: dict[str, Callable[..., Scores]] = {
        "regression": regression_scores,
        "ordinal": ordinal_scores,
        "multilabel": multilabel_scores,
        "survival": partial(survival_scores, times=np.array(getattr(task, "times", ()))),
        "survival_cox": partial(survival_scores, times=np.empty(0)),
    }
    return known.get(task.name, partial(_own_score, task=task))


def _own_score(targets: np.ndarray, values: np.ndarray, *, weight: np.ndarray, task: "Task") -> Scores:
    """What a task of somebody else selects its epochs by."""
    drawn = [np.repeat(np.arange(len(values)), counts) for counts in weight.astype(int)]
    return {"select_metric": np.array([task.select_metric(values[rows], targets[rows]) for rows in drawn])}


def _part(rows: pd.DataFrame, *, targets: list[str], values: list[str]) -> _Part:
    return _Part(*(rows[columns].to_numpy() for columns in ("code", targets, values)))


def _intervals(sets: Sequence[_Part], score: Callable[..., Scores], *, n: int, seed: int) -> dict[str, object]:
    """Each score as the mean over sets (folds), with the interval of drawing patients within their set.

    Sets in which a score is undefined are left out of it. Patients who are in several sets are drawn once for all.
    """
    cases = np.concatenate([own.cases for own in sets])
    place = np.repeat(np.arange(len(sets)), [len(own.cases) for own in sets])
    apart = len(np.unique(np.stack([cases, place]), axis=1).T) == len(np.unique(cases))
    counts = resample_counts(cases, strata=place if apart else None, n=n, seed=seed)
    values, drawn = [own.scored(score) for own in sets], [own.scored(score, counts) for own in sets]
    found = {}
    for name in dict.fromkeys(key for own in values for key in own):
        defined = [i for i, own in enumerate(values) if np.isfinite(own.get(name, np.nan)).all()]
        if not defined:
            found[name] = Interval(np.nan, np.nan, np.nan, 0, n, (0, len(sets)))
            continue
        resampled = np.mean([drawn[i][name] for i in defined], axis=0)
        mean = percentile_interval(float(np.mean([values[i][name] for i in defined])), resampled)
        found[name] = replace(mean, folds=(len(defined), len(sets)))
    return {name: interval.as_dict() for name, interval in found.items()}


def _means(sets: Sequence[Scores]) -> dict[str, float | None]:
    """Each score (1,) as the mean over the sets in which it is defined."""
    table = pd.DataFrame([{name: value[0] for name, value in own.items()} for own in sets]).astype(float)
    return {str(name): or_none(value) for name, value in table.mean().items()}


def _spread(by_seed: list[dict[str, object]]) -> dict[str, dict[str, float | None]]:
    table = pd.DataFrame(by_seed).drop(columns="seed").astype(float)
    return {str(name): {"mean": or_none(own.mean()), "sd": or_none(own.std())} for name, own in table.items()}


def _besides(task: "Task", pooled: _Part, *, n_boot: int, seed: int) -> dict[str, object]:
    """What a task says in more than one number per metric, of all rows together."""
    if task.name == "ordinal":
        levels = [name.removeprefix("level_") for name in task.value_names]
        return {"confusion": level_confusion(pooled.targets, pooled.values), "levels": levels}
    if task.name != "multilabel":
        return {}
    per_label = {}
    for i, name in enumerate(task.target_names):
        own = _Part(pooled.cases, pooled.targets[:, i], pooled.values[:, i])
        counted = {"known": int(np.isfinite(own.targets).sum()), "positive": int((own.targets == 1).sum())}
        per_label[name] = counted | _intervals([own], label_scores, n=n_boot, seed=seed)
    return {"per_label": per_label}


def _survival_besides(task: "Task", table: pd.DataFrame, by_fold: pd.DataFrame) -> dict[str, object]:
    once = by_fold.drop_duplicates("case")
    found: dict[str, object] = {
        "n_events": int((once["target_event"] == 1).sum()),
        "times": list(getattr(task, "times", ())),
    }
    if "part" not in table.columns or not (table["part"] == "val").any():
        return found
    val = averaged(table[table["part"] == "val"], ["fold", "case"], first=(), mean=["risk"])
    cuts = val.groupby("fold")["risk"].median().to_dict()
    groups = risk_groups(once, cuts)
    return found | ({"risk_groups": groups} if groups else {})
