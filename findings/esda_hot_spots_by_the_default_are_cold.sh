#!/usr/bin/env bash
# What: esda's local Getis-Ord G, with the weights that it takes unless told otherwise (transform="R", row-standardised), gives z scores (`Zs`) and p values (`p_norm`) of a single neighbour:
# with eight neighbours z is a third of what it should be. With transform="B" it is that of the formula, in which the scale of a row cancels out.
# Versions: esda 2.9.0, libpysal 4.14.1. Seen 2026-12-01.
# Why it matters: hot spots of attention, of a score or of a marker on the grid of tiles; most of them are "not significant". The p values by permutation (`p_sim`) are right in both.
# The variance is computed from the sum of a row's weights where it needs the number of neighbours; that sum is 1 here.
# Of the reports one says that equal weights are taken for granted in the permutations (https://github.com/pysal/esda/issues/121); none that we found is about z.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'esda==2.9.0' 'libpysal==4.14.1' 'numpy==2.4.6' 'scipy==1.17.1' 'pandas==2.3.3'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata
import warnings

warnings.simplefilter("ignore")
import numpy as np
from esda import G_Local
from libpysal.weights import lat2W

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("esda", "libpysal")))
side, draw = 40, np.random.default_rng(0)
number = side * side


def by_hand(scores, binary):
    """z of Gi* as Ord and Getis have it, for any weights."""
    sums, squares = binary.sum(1), (binary**2).sum(1)
    return (binary @ scores - scores.mean() * sums) / (scores.std() * np.sqrt((number * squares - sums**2) / (number - 1)))


neighbours = lat2W(side, side, rook=False).full()[0] + np.eye(number)
row, column = np.divmod(np.arange(number), side)
focus = (row >= 10) & (row < 18) & (column >= 10) & (column < 18)
scores = draw.gamma(2, 1, number) + 1.5 * focus
right = by_hand(scores, neighbours)
standardised = by_hand(scores, neighbours / neighbours.sum(1, keepdims=True))
assert np.abs(right - standardised).max() < 1e-9  # the scale of a row does not matter
print(f"expected: Gi* of the formula: {(right[focus] > 1.96).mean():.0%} of the 64 tiles of the focus have a z above 1.96, whatever the scale of the weights")
hot, off = {}, {}
for transform in ("B", "R"):
    local = G_Local(scores, lat2W(side, side, rook=False), transform=transform, star=True, permutations=0)
    hot[transform], off[transform] = (local.Zs[focus] > 1.96).mean(), np.median(local.Zs / right)
    print(f"seen:     transform={transform!r}: {hot[transform]:.0%} of them; z is {off[transform]:.2f} of the formula's")
default = G_Local(scores, lat2W(side, side, rook=False), permutations=0)
print(f"seen:     by default (no star, {default.w_transform!r}): {(default.Zs[focus] > 1.96).mean():.0%}")
noise = {transform: [] for transform in "BR"}
for _ in range(20):
    nothing = draw.gamma(2, 1, number)
    for transform, p in noise.items():
        p.append((G_Local(nothing, lat2W(side, side, rook=False), transform=transform, permutations=0).p_norm < 0.05).mean())
rates = {transform: np.mean(p) for transform, p in noise.items()}
print(f"seen:     without any pattern p_norm, one-sided by the side of the value, is below .05 in {rates['B']:.1%} (B) and {rates['R']:.2%} (R) where 10% is due")
stated = abs(off["B"] - 1) < 0.01 and off["R"] < 0.4 and hot["R"] < 0.5 * hot["B"] and rates["R"] < 0.01 < 0.07 < rates["B"]
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
