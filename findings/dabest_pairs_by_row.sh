#!/usr/bin/env bash
# What: a paired comparison in dabest takes the first row of one method with the first row of the other; `id_col`, which it requires, pairs nothing. Rows in another order, or a slide that one method
# lacks and another slide that the other lacks, and the interval and every p-value are those of random pairs. The mean difference stays, so nothing looks wrong.
# Versions: dabest 2025.10.20. Seen 2026-12-01.
# Why it matters: predictions of two models come in the order of their folds, files or workers. Pairing is what makes a small, steady gain visible on few slides.
# Mended in an open pull request: https://github.com/ACCLAB/DABEST-python/pull/237
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'dabest==2025.10.20' 'numpy==2.1.3' 'pandas==2.2.3' 'scipy==1.15.3'
cd "$folder"
MPLBACKEND=agg TQDM_DISABLE=1 venv/bin/python - <<'PYTHON'
import importlib.metadata
import warnings

warnings.simplefilter("ignore")
import dabest
import numpy as np
import pandas as pd

print("dabest", importlib.metadata.version("dabest"))
draw = np.random.default_rng(0)
slides = 20
first = draw.normal(0.8, 0.08, slides)
second = first + 0.02 + draw.normal(0, 0.01, slides)
wide = pd.DataFrame({"slide": [f"slide {i}" for i in range(slides)], "A": first, "B": second})
table = wide.melt(id_vars="slide", var_name="method", value_name="score")
lacks = table[~((table.method == "A") & (table.slide == "slide 2")) & ~((table.method == "B") & (table.slide == "slide 15"))]
tables = {"in order": table, "rows shuffled": table.sample(frac=1, random_state=0), "A lacks slide 2, B slide 15": lacks}
print("expected: B is better by .02 on nearly every slide, whatever the order of the rows; slides that one lacks are left out")
p = {}
for name, rows in tables.items():
    result = dabest.load(rows.reset_index(drop=True), x="method", y="score", idx=("A", "B"), paired="baseline", id_col="slide").mean_diff.results.iloc[0]
    p[name] = result.pvalue_paired_students_t
    print(f"seen:     {name}: {result.difference:.3f}, 95 % of [{result.bca_low:.3f}, {result.bca_high:.3f}], t-test {p[name]:.1e}, Wilcoxon {result.pvalue_wilcoxon:.1e}, {result.control_N} pairs")
ordered, shuffled, lacking = p.values()
raise SystemExit(0 if ordered < 1e-8 and shuffled > 0.1 and lacking > 0.1 else "no longer as stated")
PYTHON
