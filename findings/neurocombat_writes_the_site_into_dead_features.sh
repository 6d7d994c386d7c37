#!/usr/bin/env bash
# What: neuroCombat gives a feature that is the same in every slide another value for each site: the correction writes into it what it was to remove.
# inmoose, pyComBat and pycombat answer NaN in the whole table, combatlearn leaves the feature as it is.
# Versions: neuroCombat 0.2.12, inmoose 0.9.1, combat (pyComBat) 0.3.3, pycombat 0.20, combatlearn 2.3.0. Seen 2026-12-01.
# Why it matters: features of encoders with a ReLU can be zero throughout a cohort; corrected, such a feature is a clean label of the hospital, of the size of the others.
# The variance of such features is set to the median of True and False instead of that of the others (an open pull request: https://github.com/Jfortin1/neuroCombat/pull/21).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'neurocombat==0.2.12' 'inmoose==0.9.1' 'combat==0.3.3' 'pycombat==0.20' 'combatlearn==2.3.0' 'numpy==2.4.6' 'pandas==2.3.3'
cd "$folder"
venv/bin/python - <<'PYTHON'
import contextlib
import io
import warnings

warnings.simplefilter("ignore")
import numpy as np
import pandas as pd
from combat.pycombat import pycombat
from combatlearn import ComBat
from inmoose.pycombat import pycombat_norm
from neuroCombat import neuroCombat
from pycombat import Combat

draw = np.random.default_rng(0)
slides, features, dead = 90, 32, 7
site = np.array(list("ABC"))[draw.permutation(slides) % 3]
brighter = pd.Series(site).map({"A": -0.5, "B": 0.0, "C": 0.6}).to_numpy()[:, None]
table = 0.2 + 0.05 * (draw.normal(size=(slides, features)) + brighter * (1 + 0.5 * draw.normal(size=features)))
table[:, dead] = 0
packages = {
    "neuroCombat": lambda: neuroCombat(dat=table.T.copy(), covars=pd.DataFrame({"site": site}), batch_col="site")["data"].T,
    "inmoose": lambda: np.asarray(pycombat_norm(table.T.copy(), list(site))).T,
    "combat": lambda: pycombat(pd.DataFrame(table.T), list(site)).to_numpy().T,
    "pycombat": lambda: Combat().fit_transform(Y=table.copy(), b=site),
    "combatlearn": lambda: ComBat(batch=pd.Series(site)).fit_transform(pd.DataFrame(table)).to_numpy(),
}
print("expected: a feature that is 0 in all 90 slides is 0 after the correction, or refused")
seen = {}
for name, package in packages.items():
    with contextlib.redirect_stdout(io.StringIO()):
        seen[name] = np.asarray(package())
    values = {of: np.unique(seen[name][site == of, dead].round(3)).tolist() for of in "ABC"}
    print(f"seen:     {name}: {values}, {np.isnan(seen[name]).mean():.0%} of the table NaN")
corrected = seen["neuroCombat"]
deviation = np.delete(corrected, dead, 1).std(0).mean()
print(f"seen:     neuroCombat's other features have a deviation of {deviation:.3f}, so the dead one alone names the site of every slide")
levels = [np.ptp(corrected[site == of, dead]) < 1e-9 for of in "ABC"] + [np.unique(corrected[:, dead].round(6)).size == 3]
nothing = all(np.isnan(seen[name]).all() for name in ("inmoose", "combat", "pycombat"))
left = np.abs(seen["combatlearn"][:, dead]).max() < 1e-9
raise SystemExit(0 if all(levels) and nothing and left else "no longer as stated")
PYTHON
