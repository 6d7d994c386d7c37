#!/usr/bin/env bash
# What: hyppo's tests of dependence and of two samples with a kernel, `Hsic(bias=True)` and `MMD(bias=True)`, find noise significant every time from 21 rows on: by default (`auto=True`) the p value comes from
# a chi-squared approximation that is of the estimate without bias only. With up to 20 rows, or with `auto=False`, it comes from permutations and is right; so is the default `bias=False`.
# Versions: hyppo 0.5.2, numpy 2.4.6. Seen 2026-12-01.
# Why it matters: the biased estimate is the usual CKA of two encoders, and the usual MMD of two sites: "related" and "shifted" are said of everything, with p below .001.
# `Hsic.test` asks for the number of rows and not for `bias` before it takes the approximation; `Dcorr` asks for both.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'hyppo==0.5.2' 'numpy==2.4.6' 'scipy==1.17.1' 'scikit-learn==1.9.1'
cd "$folder"
OMP_NUM_THREADS=1 venv/bin/python - <<'PYTHON'
import importlib.metadata
import warnings

warnings.simplefilter("ignore")
import numpy as np
from hyppo.independence import Hsic
from hyppo.ksample import MMD

print("hyppo", importlib.metadata.version("hyppo"))
draw = np.random.default_rng(0)


def noise(slides):
    return draw.normal(size=(slides, 32))


def significant(test, times=100):
    return np.mean([test() < 0.05 for _ in range(times)])


print("expected: the features of two encoders that have nothing in common, of 60 slides, have a p below .05 in 5% of 100 trials")
seen = {
    "Hsic()": significant(lambda: Hsic().test(noise(60), noise(60))[1]),
    "Hsic(bias=True)": significant(lambda: Hsic(bias=True).test(noise(60), noise(60))[1]),
    "Hsic(bias=True), auto=False": significant(lambda: Hsic(bias=True).test(noise(60), noise(60), auto=False, reps=99)[1]),
    "MMD(), two sites of 30 slides": significant(lambda: MMD().test(noise(30), noise(30))[1]),
    "MMD(bias=True), the same": significant(lambda: MMD(bias=True).test(noise(30), noise(30))[1]),
}
for name, share in seen.items():
    print(f"seen:     {name}: {share:.0%}")
p = [Hsic(bias=True).test(noise(slides), noise(slides), reps=99)[1] for slides in (20, 21)]
print(f"seen:     Hsic(bias=True) of noise of 20 and of 21 slides: p = {p[0]:.2f} and {p[1]:.1e}")
hsic, biased, permuted, mmd, biased_mmd = seen.values()
raise SystemExit(0 if biased == biased_mmd == 1 and max(hsic, permuted, mmd) < 0.15 and p[0] > 0.01 > p[1] else "no longer as stated")
PYTHON
