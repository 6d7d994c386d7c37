"""Which fold each patient or site is tested in: balanced, seeded, independent of the order of a table."""

import numpy as np


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
