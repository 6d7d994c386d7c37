#!/usr/bin/env bash
# What: the 95 % interval of a macro F1 by confidenceinterval is up to two and a half times too wide; it covered always. Of the published variance two products are written as sums.
# Intervals of macro precision and recall, and of micro F1, are right.
# Versions: confidenceinterval 1.0.5. Seen 2026-12-01.
# Why it matters: macro F1 is what is reported for subtypes of unequal frequency, and classification_report_with_ci prints this interval beside the right ones. Of 150 slides of two classes it is .24 wide instead of .10: no two models differ.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'confidenceinterval==1.0.5' 'numpy==2.4.6' 'scikit-learn==1.9.1' 'scipy==1.17.1' 'pandas==2.3.3'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata
import warnings

warnings.simplefilter("ignore")
import confidenceinterval
import numpy as np
from sklearn.metrics import confusion_matrix, f1_score, precision_score, recall_score

print("confidenceinterval", importlib.metadata.version("confidenceinterval"))
draw = np.random.default_rng(0)


def predict(slides, classes):  # four of five slides are known, the others are guessed at
    true = draw.integers(0, classes, slides)
    return true, np.where(draw.random(slides) < 0.8, true, draw.integers(0, classes, slides))


def by_hand(true, said):
    """Half the interval by the variance of macro F1 in Takahashi 2022, section 3.2."""
    share = confusion_matrix(true, said) / len(true)
    both = share.sum(0) + share.sum(1)
    f1, missed = 2 * share.diagonal() / both, both - 2 * share.diagonal()
    own = (f1 * missed / both**2 * (missed / both + f1 / 2)).sum()
    between = (share - np.diag(share.diagonal())) * np.outer(f1, f1) / np.outer(both, both)
    return 1.96 * np.sqrt(2 * (own + between.sum()) / len(f1) ** 2 / len(true))


slides, repeats = 150, 300
print(f"expected: of {repeats} tests of {slides} slides 95 % of the intervals hold the true value, and they are as wide as the values are spread")
seen = {}
for classes in (2, 3, 5):
    many = predict(400_000, classes)
    for name, theirs, plain in (
        ("precision", confidenceinterval.precision_score, precision_score),
        ("recall", confidenceinterval.recall_score, recall_score),
        ("F1", confidenceinterval.f1_score, f1_score),
    ):
        truth = plain(*many, average="macro")
        tests = [predict(slides, classes) for _ in range(repeats)]
        answers = [theirs(*test, average="macro") for test in tests]
        values, widths = np.array([value for value, _ in answers]), np.array([high - low for _, (low, high) in answers])
        covered = np.mean([low <= truth <= high for _, (low, high) in answers])
        seen[name, classes] = covered, widths.mean() / (3.92 * values.std())
        hand = f"; by the published formula {np.mean([2 * by_hand(*test) for test in tests]):.3f}" if name == "F1" else ""
        print(f"seen:     {classes} classes, macro {name}: covered {covered:.0%}, {widths.mean():.3f} wide where {3.92 * values.std():.3f} is right{hand}")
right = all(0.9 < covered < 0.98 and wide < 1.2 for (name, _), (covered, wide) in seen.items() if name != "F1")
wrong = [seen["F1", classes] for classes in (2, 3, 5)]
raise SystemExit(0 if right and all(covered > 0.98 for covered, _ in wrong) and wrong[0][1] > 2 and wrong[1][1] > 1.5 else "no longer as stated")
PYTHON
