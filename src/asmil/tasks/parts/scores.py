"""How good predicted values are: numpy, one number per function, targets first; nan where undefined."""

import numpy as np
from jaxtyping import Bool, Float

RISK_TOLERANCE = 1e-8
"""Risks closer than this are tied, as in scikit-survival."""


def r2(targets: Float[np.ndarray, "rows 1"], values: Float[np.ndarray, "rows 1"]) -> float:
    """Coefficient of determination; 0 is what the mean of these targets reaches."""
    spread = np.square(targets - targets.mean()).sum()
    return float(1 - np.square(targets - values).sum() / spread) if spread > 0 else float("nan")


def median_level(values: Float[np.ndarray, "rows levels"]) -> np.ndarray:
    """The level in which the cumulative probability passes one half, int64 (rows,)."""
    return (np.cumsum(values, axis=1)[:, :-1] < 0.5).sum(1)


def quadratic_kappa(targets: Float[np.ndarray, "rows 1"], values: Float[np.ndarray, "rows levels"]) -> float:
    """Agreement of the median level beyond chance, far misses counting by their square (Cohen 1968)."""
    true, predicted = targets[:, 0], median_level(values)
    by_chance = np.square(true[:, None] - predicted).mean()
    return float(1 - np.square(true - predicted).mean() / by_chance) if by_chance > 0 else float("nan")


def auroc(
    positive: Bool[np.ndarray, " rows"], scores: Float[np.ndarray, "*several rows"]
) -> Float[np.ndarray, " *several"]:
    """Area under the ROC curve by ranks (Mann-Whitney), ties counting half; nan where a kind is missing."""
    n, others = int(positive.sum()), int((~positive).sum())
    if not (n and others):
        return np.full(scores.shape[:-1], np.nan)
    ranks = np.apply_along_axis(mean_ranks, -1, scores)
    return (ranks[..., positive].sum(-1) - n * (n + 1) / 2) / (n * others)


def mean_ranks(values: Float[np.ndarray, " rows"]) -> Float[np.ndarray, " rows"]:
    """The rank of each value, from 1; equal ones share their mean rank. All are nan where one value is."""
    _, position, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    return ranks[position] if not np.isnan(values).any() else np.full(len(values), np.nan)


def auroc_of_classes(labels: np.ndarray, probabilities: Float[np.ndarray, "rows classes"]) -> float:
    """Mean one-versus-rest AUROC of the classes that occur; nan where only one does."""
    present = np.unique(labels)
    if len(present) < 2:
        return float("nan")
    return float(np.mean([auroc(labels == c, probabilities[:, c]) for c in present]))


def macro_auroc(targets: Float[np.ndarray, "rows labels"], values: Float[np.ndarray, "rows labels"]) -> float:
    """Mean AUROC of the labels for which both values are known."""
    each = [float(auroc(t[~np.isnan(t)] == 1, v[~np.isnan(t)])) for t, v in zip(targets.T, values.T, strict=True)]
    defined = [value for value in each if np.isfinite(value)]
    return float(np.mean(defined)) if defined else float("nan")


def concordance(targets: Float[np.ndarray, "rows 2"], risk: Float[np.ndarray, " rows"]) -> float:
    """Harrell's C-index: of the pairs whose order of times is known, the share in which the earlier has more risk."""
    won, pairs = (table.sum() for table in concordant_shares(targets, risk))
    return float(won / pairs) if pairs else float("nan")


def concordant_shares(
    targets: Float[np.ndarray, "rows 2"], risk: Float[np.ndarray, " rows"]
) -> tuple[Float[np.ndarray, "rows rows"], Float[np.ndarray, "rows rows"]]:
    """Of rows as the earlier (first axis) and the later of a pair: 1 where the earlier has more risk, .5 where equal;
    and 1 where the order is known.

    `targets` are time and event. The order is known if the earlier time is an event; of equal times, if one alone is
    an event, which counts as the earlier.
    """
    time, event = targets[:, 0], targets[:, 1] == 1
    known = event[:, None] & ((time[:, None] < time) | ((time[:, None] == time) & ~event))
    ahead = risk[:, None] - risk
    share = np.where(np.abs(ahead) <= RISK_TOLERANCE, 0.5, ahead > 0)
    return share * known, known.astype(np.float64)
