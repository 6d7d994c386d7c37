"""Patient-wise folds: who is trained on, who chooses the epoch, who is tested."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from asmil.bags.cohort import Cohort
from asmil.bags.reading.twins import Twin
from asmil.bags.tables import listed, read_table
from asmil.errors import CohortError, SplitError, require_kind
from asmil.files import write_text
from asmil.shown import Shown

PARTS = ("train", "val", "test")


class Fold(NamedTuple):
    """The slide names of one fold."""

    train: list[str]
    val: list[str]
    test: list[str]


@dataclass(frozen=True, repr=False)
class Splits(Shown):
    """Folds over a cohort; `table` has columns slide, case, label, fold (from 0), part (train, val, test).

    `drawn` are the folds whose val part was drawn from the train part that was given.
    """

    table: pd.DataFrame
    drawn: tuple[int, ...] = ()

    def facts(self) -> dict[str, object]:
        """Folds, slides, patients, and how many slides the parts of a fold have."""
        said: dict[str, object] = {"folds": len(self.folds)}
        said |= {"slides": self.table["slide"].nunique(), "patients": self.table["case"].nunique()}
        for part in PARTS:
            said[part] = _range(self.table[self.table["part"] == part].groupby("fold").size())
        return said

    @property
    def folds(self) -> list[int]:
        """The numbers of the folds."""
        return sorted(self.table["fold"].unique().tolist())

    def fold(self, number: int) -> Fold:
        """The slides of a fold by part.

        Raises:
            SplitError: no such fold.
        """
        rows = self.table[self.table["fold"] == number]
        if rows.empty:
            raise SplitError(f"there is no fold {number}", found=f"folds {listed(self.folds, 20)}")
        return Fold(*(rows["slide"][rows["part"] == part].tolist() for part in PARTS))

    def check(self, cohort: Cohort) -> None:
        """Make sure that no patient leaks and every fold can be trained, selected and tested.

        Raises:
            SplitError: a slide that is not in the cohort, twice in a fold or of an unknown part; a patient in
            two
                parts of a fold; an empty part; a class without training slides; targets that a task cannot learn.
        """
        case = dict(zip(cohort.slides, cohort.cases, strict=True))
        label = dict(zip(cohort.slides, cohort.table["label"], strict=True))
        if unknown := sorted(set(self.table["slide"]) - case.keys()):
            raise SplitError("the split names slides that are not in the cohort", found=listed(unknown))
        if wrong := sorted(set(self.table["part"]) - set(PARTS)):
            raise SplitError("the split has unknown parts", found=listed(wrong), fix="use train, val and test")
        for number, rows in self.table.groupby("fold"):
            if (twice := rows["slide"].duplicated()).any():
                raise SplitError(f"slides are twice in fold {number}", found=listed(rows["slide"][twice]))
            patients = rows.assign(case=rows["slide"].map(case))[["case", "part"]].drop_duplicates()
            if (leak := patients["case"].duplicated(keep=False)).any():
                where = patients[leak].sort_values(["case", "part"]).groupby("case")["part"].agg(" and ".join)
                found = listed(f"{patient} in {parts}" for patient, parts in where.items())
                fix = "keep all slides of a patient in one part"
                raise SplitError(f"patients are in two parts of fold {number}", found=found, fix=fix)
            if missing := [part for part in PARTS if part not in set(rows["part"])]:
                raise SplitError(f"fold {number} has no {' and no '.join(missing)} slides")
            trained = set(rows["slide"][rows["part"] == "train"].map(label))
            if cohort.targets is None and (untrained := [name for name in cohort.classes if name not in trained]):
                raise SplitError(f"fold {number} has no training slides of class {listed(untrained)}")
            if cohort.task is not None:
                self._check_targets(cohort, rows)

    @staticmethod
    def _check_targets(cohort: Cohort, rows: pd.DataFrame) -> None:
        """Whether a task can learn from the training part of a fold."""
        targets = cohort.subset(rows["slide"][rows["part"] == "train"]).targets
        try:
            if cohort.task is not None and targets is not None:
                cohort.task.fit_targets(targets)
        except CohortError as error:
            fold = rows["fold"].iloc[0]
            raise SplitError(
                f"fold {fold}: {error.what}", found=error.found, fix=error.fix or "take fewer folds"
            ) from error

    def remarks(self, cohort: Cohort) -> list[str]:
        """Sentences about slides of the cohort that are in no part of any fold, about validation parts that were drawn,
        and about folds that test slides of one class only: what compares classes is not defined there."""
        rest = sorted(set(cohort.slides) - set(self.table["slide"]))
        unused = [f"{len(rest)} slides of the cohort are in no part of any fold: {listed(rest)}"] if rest else []
        if self.drawn:
            val = self.table[(self.table["part"] == "val") & self.table["fold"].isin(self.drawn)]
            what = f"{len(self.drawn)} of {len(self.folds)} folds are given without validation slides that can be used"
            unused.append(f"{what}, so some are drawn from train ({_range(val.groupby('fold').size())} in each)")
        tests = self.table[self.table["part"] == "test"].groupby("fold")["label"]
        found = [f"fold {fold} ({own.iloc[0]})" for fold, own in tests if own.nunique() == 1]
        what = f"{len(found)} of {len(self.folds)} folds test slides of one class only, where AUROC is not defined"
        return unused + ([f"{what}: {listed(found)}"] if found and cohort.task is None else [])

    def parting(self, twins: Iterable[Twin]) -> list[str]:
        """Slides of the same content that are in different parts of a fold, with these."""
        part = {(slide, fold): part for slide, fold, part in self.table[["slide", "fold", "part"]].values}
        found = []
        for twin in twins:
            for fold in self.folds:
                ours, theirs = part.get((twin.slide, fold)), part.get((twin.other, fold))
                if ours and theirs and ours != theirs:
                    found.append(f"{twin}: {ours} and {theirs} in fold {fold}")
                    break
        return found

    def summary(self) -> pd.DataFrame:
        """One row per fold and part: numbers of slides and patients, and slides per class."""
        counts = self.table.groupby(["fold", "part"], sort=True).agg(
            slides=("slide", "nunique"), patients=("case", "nunique")
        )
        classes = self.table.pivot_table(index=["fold", "part"], columns="label", values="slide", aggfunc="count")
        table = counts.join(classes.fillna(0).astype(int)).reset_index()
        order = table["part"].map(PARTS.index)
        return table.assign(_order=order).sort_values(["fold", "_order"], ignore_index=True).drop(columns="_order")

    def save(self, path: str | Path) -> None:
        """Write the table as csv."""
        write_text(path, self.table.to_csv(index=False))

    @classmethod
    def load(cls, path: str | Path) -> "Splits":
        """Read what `save` wrote, unchecked; `read_splits` reads any known form and checks it."""
        table, columns = read_table(path), ["slide", "case", "label", "fold", "part"]
        if missing := [column for column in columns if column not in table]:
            raise SplitError(f"{path} is no table that asmil saved", found=f"no column {listed(missing)}")
        return cls(table[columns].astype({"fold": int}))


def require_apart(splits: Splits, twins: Sequence[Twin], *, called: str = "", allow: bool = False) -> list[str]:
    """Refuse slides of the same content in different parts of a fold: of `called`, named by the flag or key `allow`.

    Returns:
        What there is to know of the other slides of the same content, or of all where they are allowed.

    Raises:
        SplitError: there are such slides: what is tested was trained on.
    """
    parted = splits.parting(twins)
    if parted and not allow:
        raise SplitError(
            f"{called}slides of the same content are in different parts of a fold",
            found=listed(parted),
            fix="take out one of each two, or give both the same patient; --allow-duplicates (allow_duplicates: true) "
            "goes on all the same",
        )
    return [f"slides of the same content, of which each counts: {listed(parted or twins)}"] if twins else []


def _range(counts: pd.Series) -> str | None:
    if counts.empty:
        return None
    low, high = counts.min(), counts.max()
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def make_splits(
    cohort: Cohort, *, folds: int = 5, val_fraction: float = 0.2, seed: int = 0, by_site: bool = False
) -> Splits:
    """Cross-validation: every slide is tested once, every patient of a fold is in one part.

    Test folds and the validation patients of each fold are stratified by the patients' labels (the most
    frequent one among a patient's slides). With `by_site`, no site is in the test part and another part of
    the same fold (Howard et al. 2021, doi:10.1038/s41467-021-24698-1, without its integer programme);
    validation patients may share sites with training. The result depends on the cohort's content and the
    seed, not on the order of rows.

    Raises:
        SplitError: too few patients of a class, or too few sites; the message says what is possible.
    """
    require_kind(cohort, Cohort, called="a cohort", fix="give what read_cohort returns")
    require_kind(
        folds, (int, np.integer), called="the number of folds", fix="give a whole number, or read_splits your own"
    )
    if folds < 2 or not 0 < val_fraction < 1:
        found = f"folds={folds}, val_fraction={val_fraction}"
        raise SplitError("splits need two folds or more and a val_fraction between 0 and 1", found=found)
    patients = patient_table(cohort)
    if cohort.targets is None:
        _check_possible(patients, cohort.classes, folds)
    else:
        patients["label"] = _balanced(patients["label"].to_numpy(), folds)
    rng = np.random.default_rng(seed)
    if by_site:
        fold_of = _by_site(patients, folds, rng)
    else:
        fold_of = by_label(patients["label"].to_numpy(), patients["slides"].to_numpy(), folds=folds, rng=rng)
    parts = {}
    for fold in range(folds):
        rest = patients[fold_of != fold]
        val = draw_validation(rest, val_fraction, seed=(seed, fold))
        parts[fold] = {
            case: "test" if f == fold else "val" if case in val else "train"
            for case, f in zip(patients.index, fold_of, strict=True)
        }
    splits = from_cases(cohort, parts)
    splits.check(cohort)
    return splits


def from_cases(cohort: Cohort, parts: dict[int, dict[str, str]]) -> Splits:
    """Splits from the part of each patient in each fold; rows sorted by fold, patient and slide."""
    slides = cohort.table[["slide", "case", "label"]].sort_values(["case", "slide"])
    tables = [slides.assign(fold=fold, part=slides["case"].map(part)) for fold, part in sorted(parts.items())]
    return Splits(pd.concat(tables, ignore_index=True).dropna(subset="part").reset_index(drop=True))


def patient_table(cohort: Cohort) -> pd.DataFrame:
    """One row per patient, sorted: class index (most frequent; higher on a tie), slides, site if known."""
    rows = cohort.table.sort_values(["case", "slide"])
    cases, of_case = np.unique(np.array(cohort.cases, dtype=object), return_inverse=True)
    counts = np.zeros((len(cases), len(cohort.classes)), dtype=np.int64)
    np.add.at(counts, (of_case, cohort.labels), 1)
    majority = len(cohort.classes) - 1 - counts[:, ::-1].argmax(1)
    patients = pd.DataFrame({"label": majority, "slides": counts.sum(1)}, index=cases)
    if "site" in rows:
        groups = rows.groupby("case")
        patients["site"] = groups["site"].first()
        if (several := groups["site"].nunique() > 1).any():
            patients.attrs["two_sites"] = patients.index[several].tolist()
    return patients


def draw_validation(patients: pd.DataFrame, fraction: float, *, seed: tuple[int, int]) -> set[str]:
    """A stratified draw of training patients: the fraction of each class, at least one, never the last."""
    rng = np.random.default_rng(seed)
    drawn: set[str] = set()
    for _, group in patients.groupby("label"):
        count = min(max(round(fraction * len(group)), 1), len(group) - 1)
        drawn.update(group.index[rng.permutation(len(group))[:count]])
    return drawn


def _check_possible(patients: pd.DataFrame, classes: tuple[str, ...], folds: int) -> None:
    """Each class has to be in each part of every fold."""
    counts = patients["label"].value_counts()
    for index, name in enumerate(classes):
        n = int(counts.get(index, 0))
        if not _enough(n, folds):
            most = max((f for f in range(2, n + 1) if n - -(-n // f) >= 2), default=0) if n >= 3 else 0
            fewer = " or fewer" if n > 3 else ""  # of 3 patients, 2 folds leave one for two parts
            raise SplitError(
                f"class {name!r} has too few patients for {folds} folds",
                found=_too_few(n, folds),
                fix=f"use --folds {most}{fewer}" if most else "leave the class out or merge it with another",
            )


def _too_few(patients: int, folds: int) -> str:
    fewest = next(n for n in count(patients) if _enough(n, folds))
    return f"{patients} patient{'s' * (patients != 1)}, and {fewest} are needed"


def _enough(patients: int, folds: int) -> bool:
    """Whether each part of every fold gets one: a patient to test, one to train on and one to validate with."""
    return patients >= max(folds, 3) and patients - -(-patients // folds) >= 2


def _balanced(strata: np.ndarray, folds: int) -> np.ndarray:
    """Strata of patients, those too rare for the folds made one, with the rarest of the others if need be.

    Unlike classes, strata only balance the parts: none of them has to be in each.

    Raises:
        SplitError: too few patients altogether.
    """
    indexes, counts = np.unique(strata, return_counts=True)
    if not _enough(len(strata), folds):
        fix = "use fewer folds: 2 take 4 patients" if folds > 2 and len(strata) > 3 else "add patients"
        raise SplitError(f"there are too few patients for {folds} folds", found=_too_few(len(strata), folds), fix=fix)
    order = np.argsort(counts, kind="stable")
    rare = sum(not _enough(int(count), folds) for count in counts)
    while rare and not _enough(int(counts[order[:rare]].sum()), folds):
        rare += 1
    return np.where(np.isin(strata, indexes[order[:rare]]), indexes.max() + 1, strata)


def _by_site(patients: pd.DataFrame, folds: int, rng: np.random.Generator) -> np.ndarray:
    if "site" not in patients:
        raise SplitError("the cohort has no sites to split by", fix="add a site column, or split without by_site")
    if two := patients.attrs.get("two_sites"):
        raise SplitError("patients have slides from two sites", found=listed(two))
    if (blank := patients["site"] == "").any():
        raise SplitError("patients have no site", found=listed(patients.index[blank]), fix="fill in the site column")
    sites, site_of = np.unique(patients["site"].to_numpy(str), return_inverse=True)
    if len(sites) < folds:
        fix = f"use --folds {len(sites)} or fewer" if len(sites) > 1 else "split without --by-site"
        raise SplitError(f"{folds} folds need as many sites", found=f"{len(sites)} sites", fix=fix)
    counts = np.zeros((len(sites), int(patients["label"].max()) + 1))
    np.add.at(counts, (site_of, patients["label"].to_numpy()), 1)
    return by_site(counts, folds=folds, rng=rng)[site_of]


def by_label(labels: np.ndarray, slides: np.ndarray, *, folds: int, rng: np.random.Generator) -> np.ndarray:
    """Fold of each patient from class index and number of slides, both (patients,) in a fixed order.

    Patients of a class differ by at most one between folds; among the folds open to a patient, the one with
    the fewest slides gets it, patients with many slides first. Own code because sklearn's
    StratifiedGroupKFold balances slides instead of patients (a class can miss from a fold) and depends on the
    order of rows.
    """
    fold_of = np.empty(len(labels), dtype=np.int64)
    totals = np.zeros(folds)
    classes, sizes = np.unique(labels, return_counts=True)
    for label in classes[np.argsort(sizes, kind="stable")]:
        members = rng.permutation(np.flatnonzero(labels == label))
        members = members[np.argsort(-slides[members], kind="stable")]
        patients, chance = np.zeros(folds), rng.permutation(folds)
        for member in members:
            fold = np.lexsort((chance, totals, patients))[0]
            fold_of[member] = fold
            patients[fold] += 1
            totals[fold] += slides[member]
    return fold_of


def by_site(counts: np.ndarray, *, folds: int, rng: np.random.Generator) -> np.ndarray:
    """Fold of each site, given its patients per class (sites, classes).

    Large sites first into the fold where they fit best; then sites move, or swap places in pairs, as long as
    that brings the folds closer to equal class counts. A local optimum, found without an integer-programming
    solver.
    """
    counts = counts / counts.sum(0).clip(min=1)
    fold_of = np.full(len(counts), -1)
    sums = np.zeros((folds, counts.shape[1]))
    order = rng.permutation(len(counts))
    for site in order[np.argsort(-counts[order].sum(1), kind="stable")]:
        # Adding c to a fold of sum s changes its squared distance from the mean by c.(c + 2s) up to a
        # constant.
        cost = sums @ counts[site]
        fold_of[site] = np.lexsort((sums.sum(1), cost))[0]
        sums[fold_of[site]] += counts[site]
    while (better := _improved(counts, fold_of, sums)) is not None:
        fold_of = better
        sums = np.stack([counts[fold_of == fold].sum(0) for fold in range(folds)])
    return fold_of


def _improved(counts: np.ndarray, fold_of: np.ndarray, sums: np.ndarray) -> np.ndarray | None:
    """The assignment after the best single move or swap, or None where none helps."""
    best, gain = None, -1e-9
    sizes = np.bincount(fold_of, minlength=len(sums))
    for site, home in enumerate(fold_of):
        # A fold never gives away its last site.
        if sizes[home] > 1:
            change = _change(sums, counts[site][None], home=home, away=np.arange(len(sums)))
            change[home] = 0
            if change.min() < gain:
                gain, best = change.min(), fold_of.copy()
                best[site] = change.argmin()
        change = _change(sums, counts[site] - counts, home=home, away=fold_of)
        change[fold_of == home] = 0
        if change.min() < gain:
            gain, best, other = change.min(), fold_of.copy(), change.argmin()
            best[site], best[other] = fold_of[other], home
    return best


def _change(sums: np.ndarray, given: np.ndarray, *, home: int, away: np.ndarray) -> np.ndarray:
    """Change of the summed squares of fold totals when `given` goes from fold `home` to each of `away`."""
    return ((sums[home] - given) ** 2 + (sums[away] + given) ** 2 - sums[home] ** 2 - sums[away] ** 2).sum(1)
