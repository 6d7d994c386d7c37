#!/usr/bin/env bash
# What: cleanlab's `OutOfDistribution` learned from tiles of which more than half are equal (glass) gives every tile that is not one of them the score 0, those it learned from, new tissue and artefacts alike; nothing is left to rank by. At 49 % it tells artefacts from tissue with an AUC of 1.
# Versions: cleanlab 2.9.0, scikit-learn 1.9.1, numpy 2.4.6. Seen 2026-12-01.
# Why it matters: tiles of pure white or black have the same features to the bit, and without a tissue mask they are most of a slide. The step from a good detector to none is one tile.
# Source: cleanlab/outlier.py scales distances by their median over what it learned from, which is 0 there, and takes 100 times the machine's precision in its place, so that the exponential of every other distance is 0. https://github.com/cleanlab/cleanlab/pull/1056 set that number for data whose rows are all equal, and names large sets of equal rows as not covered.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'cleanlab==2.9.0' 'numpy==2.4.6' 'scikit-learn==1.9.1' 'pandas==3.1.1'
cd "$folder"
venv/bin/python - <<'PYTHON'
import warnings
from importlib.metadata import version

import numpy as np
from cleanlab.outlier import OutOfDistribution
from sklearn.metrics import roc_auc_score

warnings.simplefilter("ignore")
print(*(f"{name} {version(name)}" for name in ("cleanlab", "scikit-learn", "numpy")))
random = np.random.default_rng(0)
kinds = random.normal(size=(4, 64))
glass = random.normal(size=64)


def tissue(count):
    return kinds[random.integers(0, 3, count)] + 0.5 * random.normal(size=(count, 64))


new, artefacts = tissue(300), kinds[3] + 0.5 * random.normal(size=(50, 64))
seen = {}
for equal in (0, 200, 400, 490, 510, 600, 800):
    learned = np.concatenate([np.tile(glass, (equal, 1)), tissue(1000 - equal)])
    detector = OutOfDistribution()
    scores = detector.fit_score(features=learned, verbose=False)
    fresh, odd = (detector.score(features=tiles) for tiles in (new, artefacts))
    auc = roc_auc_score([1] * len(fresh) + [0] * len(odd), np.concatenate([fresh, odd]))
    seen[equal] = auc, np.unique(np.concatenate([scores[equal:], fresh, odd]))
    print(f"expected: {equal / 10:.0f} % glass: artefacts have lower scores than tissue")
    print(f"seen:     {equal / 10:.0f} % glass: median of tissue learned from {np.median(scores[equal:]):.3f}, of new tissue {np.median(fresh):.3f}, of artefacts {np.median(odd):.3f}; AUC {auc:.2f}; {len(seen[equal][1])} different scores")
stated = all(auc > 0.99 and len(values) > 300 for equal, (auc, values) in seen.items() if equal < 500)
raise SystemExit(0 if stated and all(auc == 0.5 and values.tolist() == [0] for equal, (auc, values) in seen.items() if equal > 500) else "no longer as stated")
PYTHON
