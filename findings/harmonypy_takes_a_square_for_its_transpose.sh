#!/usr/bin/env bash
# What: harmonypy finds out by the shape which side of a table are the slides. With as many slides as features it takes the features for slides, corrects those, and gives the table back on its side.
# Versions: harmonypy 2.1.0. Seen 2026-12-01.
# Why it matters: 50 components of 50 slides is what a pilot has. The answer has the shape that was expected; rows are now features, and of the difference between the sites nothing is removed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'harmonypy==2.1.0' 'numpy==2.4.6' 'pandas==2.3.3'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata
import logging

logging.disable(logging.CRITICAL)
import harmonypy
import numpy as np
import pandas as pd

print("harmonypy", importlib.metadata.version("harmonypy"))
draw = np.random.default_rng(0)
slides = 50
site = pd.DataFrame({"site": draw.choice(["A", "B"], slides)})
of_b = (site.site == "B").to_numpy()
table = draw.normal(size=(slides, slides + 1)) + 1.5 * of_b[:, None]


def gap(values):
    return np.abs(values[of_b].mean(0) - values[~of_b].mean(0)).mean()


print("expected: a row of the answer is the slide of the row that was given, and the sites are nearer to each other, for 49, 50 and 51 features")
seen = {}
for width in (slides - 1, slides, slides + 1):
    given = table[:, :width]
    answer = np.asarray(harmonypy.run_harmony(given.copy(), site, ["site"]).Z_corr)
    own = np.mean([np.corrcoef(given[i], answer[i])[0, 1] for i in range(slides)])
    turned = np.mean([np.corrcoef(given[i], answer.T[i])[0, 1] for i in range(slides)]) if width == slides else np.nan
    seen[width] = own, turned, gap(given), gap(answer.T if turned > own else answer)
    print(f"seen:     {slides} x {width} -> {answer.shape}: a row correlates with the slide given by {own:.2f}" + (f", a column by {turned:.2f}" if width == slides else "") + f"; between the sites {seen[width][2]:.2f} before, {seen[width][3]:.2f} after")
sound = all(seen[width][0] > 0.8 and seen[width][3] < 0.8 * seen[width][2] for width in (slides - 1, slides + 1))
own, turned, before, after = seen[slides]
raise SystemExit(0 if sound and own < 0.3 and turned > 0.9 and abs(after - before) < 0.05 else "no longer as stated")
PYTHON
