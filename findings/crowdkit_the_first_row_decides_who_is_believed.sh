#!/usr/bin/env bash
# What: crowd-kit's MACE, which learns how often each reader guesses and what, and is made to see through readers who always say the same, believes exactly those where the first row of the table is a positive one. Six readers, three for each of 200 slides, two of whom call everything positive: 92 % right with the rows sorted by label, 51 % (the two are believed in all) with the same rows in the opposite order. Dawid-Skene of the same package says the same in every order (91 %).
# Versions: crowd-kit 1.4.2, numpy 2.1.3, pandas 2.3.3. Seen 2026-12-01.
# Why it matters: votes of readers are joined by such models before a MIL model is trained, and tables come sorted by slide, so that one reading decides. Readers are numbered likewise: what one reader says when he guesses is laid at another's door where they do not first appear in the order of their names.
# Readers and labels are numbered in the order of their first appearance (pandas.factorize), and what readers say when they guess is counted in a table that is sorted by reader and by label, whose rows and columns are then taken for those numbers. All of the `n_restarts`, 10 by default, begin with the same random numbers and end alike: nine of them only take time.
# Source: fit, _initialize and _e_step in crowdkit/aggregation/classification/mace.py. No report of it was found.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'attrs==25.4.0' 'nltk==3.9.2' 'numpy==2.1.3' 'pandas==2.3.3' 'scipy==1.17.1' 'scikit-learn==1.6.1' 'tqdm==4.67.1'
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check --no-deps 'crowd-kit==1.4.2'
cd "$folder"
OMP_NUM_THREADS=1 venv/bin/python - <<'PYTHON'
import importlib.metadata
import warnings

warnings.simplefilter("ignore")
import numpy as np
import pandas as pd
from crowdkit.aggregation import MACE, DawidSkene

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("crowd-kit", "numpy", "pandas")))
generator = np.random.default_rng(0)
true = pd.Series((generator.random(200) < 0.5).astype(int), index=[f"slide {number:03}" for number in range(200)])
rows = []
for slide, label in true.items():
    for reader in generator.permutation(6)[:3]:
        right = generator.random() < 0.9
        rows.append((slide, f"reader {reader}", 1 if reader < 2 else int(label if right else 1 - label)))
table = pd.DataFrame(rows, columns=["task", "worker", "label"])
orders = {
    "labels and readers upwards": table.sort_values(["label", "worker", "task"]),
    "labels downwards": table.sort_values(["label", "worker", "task"], ascending=[False, True, True]),
    "readers downwards": table.sort_values(["label", "worker", "task"], ascending=[True, False, True]),
    "as it came": table,
}
lazy = {"reader 0", "reader 1"}
print("expected: the same labels in any order of the rows, and trust in the readers 2 to 5")
right, theirs = {}, {}
for order, rows in orders.items():
    model = MACE().fit(rows)
    names = pd.factorize(rows["worker"])[1]
    trust = {name: float(value) for name, value in sorted(zip(names, model.spamming_[:, 1].round(2)))}
    right[order], theirs[order] = (model.labels_.reindex(true.index) == true).mean(), (DawidSkene().fit_predict(rows).reindex(true.index) == true).mean()
    print(f"seen:     {order} (first row: {rows.iloc[0].label}): MACE is right of {right[order]:.1%}, trust in readers 0 to 5 {list(trust.values())}; Dawid-Skene {theirs[order]:.1%}")
once, ten = (MACE(n_restarts=number).fit(table).thetas_ for number in (1, 10))
print(f"seen:     one start and ten end alike: {np.array_equal(once, ten)}")
stated = right["labels and readers upwards"] > 0.9 and right["labels downwards"] < 0.6 and len(set(theirs.values())) == 1 and np.array_equal(once, ten)
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
