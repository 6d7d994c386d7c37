"""How a model does in parts of the cohort: by site, scanner, sex, or any column."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asmil.errors import MetricError
from asmil.evaluation.intervals import Interval, bootstrap_ci
from asmil.evaluation.metrics import check_probabilities

FEW_PATIENTS = 10
"""Below this many patients of any class a value of a group says little."""


@dataclass(frozen=True)
class Share:
    """A share of slides with its interval; nan where there are no such slides."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Subgroup:
    """One group: its size, AUROC where every class occurs (else None), and the recall of each class.

    With two classes the recall of class 1 is the sensitivity, that of class 0 the specificity. `few` marks a group
    with fewer than `FEW_PATIENTS` patients of some class.
    """

    name: str
    n_slides: int
    n_patients: int
    auroc: Interval | None
    recalls: tuple[Share, ...]
    few: bool


def by_subgroup(
    y: np.ndarray,
    prob: np.ndarray,
    names: Sequence[str],
    *,
    groups: np.ndarray,
    called: np.ndarray | None = None,
    n: int = 1000,
    seed: int = 0,
) -> list[Subgroup]:
    """Every group of `names` by itself, in sorted order, however small.

    AUROC intervals resample patients. Recalls have Wilson intervals with the patients as the number of trials, which
    errs on the wide side where a patient has several slides and, unlike a bootstrap, is not a point at 100 %.

    Args:
        y: (slides,) class indices.
        prob: (slides, classes).
        names: (slides,) the group of each slide.
        groups: (slides,) the patient of each slide.
        called: (slides,) index of the class that was decided for; None: the most probable one.

    Raises:
        MetricError: not probabilities, or not one name and one patient per slide.
    """
    y, prob = check_probabilities(y, prob)
    named, groups = np.asarray(names, dtype=object), np.asarray(groups)
    if not named.shape == groups.shape == y.shape:
        raise MetricError("subgroups need a name and a patient per slide", found=f"{named.shape}, {groups.shape}")
    right = (prob.argmax(axis=1) if called is None else np.asarray(called)) == y
    rows = {name: named == name for name in sorted(set(named.tolist()), key=str)}
    return [
        _one(str(name), y[own], prob[own], right=right[own], patients=groups[own], n=n, seed=seed)
        for name, own in rows.items()
    ]


def _one(
    name: str, y: np.ndarray, prob: np.ndarray, *, right: np.ndarray, patients: np.ndarray, n: int, seed: int
) -> Subgroup:
    classes = range(prob.shape[1])
    by_class = [len(np.unique(patients[y == c])) for c in classes]
    auroc = bootstrap_ci("auroc", y, prob, groups=patients, strata=y, n=n, seed=seed) if all(by_class) else None
    recalls = tuple(wilson(right[y == c], trials=by_class[c]) for c in classes)
    few = min(by_class) < FEW_PATIENTS
    return Subgroup(name, len(y), len(np.unique(patients)), auroc, recalls, few)


def wilson(successes: np.ndarray, *, trials: int | None = None) -> Share:
    """A share with its 95 % interval (Wilson 1927).

    Args:
        successes: (n,) bool.
        trials: how many of them are independent, all by default.
    """
    n, m = len(successes), len(successes) if trials is None else trials
    if not n or not m:
        return Share(np.nan, np.nan, np.nan, n)
    share, z = float(np.mean(successes)), 1.959964  # 97.5 % point of the normal distribution
    centre = (share + z**2 / (2 * m)) / (1 + z**2 / m)
    half = z / (1 + z**2 / m) * float(np.sqrt(share * (1 - share) / m + z**2 / (4 * m**2)))
    return Share(share, max(centre - half, 0.0), min(centre + half, 1.0), n)
