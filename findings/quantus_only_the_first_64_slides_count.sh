#!/usr/bin/env bash
# What: Sensitivity-n of Quantus. (1) Of more than 64 slides, the size of a batch unless said, only the first 64 are judged: of 200, noise in the place of the explanations of the last 136 changes nothing (.72 and .72; .01 for all slides together), and in the place of the first 64 all (-.07; .21 for all). (2) The exact explanation of a model that adds up its tiles, one feature each, has .72 and not 1: the model's change is that by all tiles taken away so far, and the explanation's sum is that of the last step only. With both added up it is 1.00 (by hand here).
# The results of the batches are kept in a list, of which the last step reads the first.
# Versions: quantus 0.6.0 (0.5.3 judges all slides, and adds up one side only too), torch 2.13.0. Seen 2026-12-01.
# Why it matters: which explanation of slides is the most faithful is said of the first 64 in the table, often one class or one hospital; a last batch of one slide does not matter, a first one of one slide gives no number. Say batch_size=len(x_batch).
# That it correlates over slides and not over the parts of a slide is an open report: https://github.com/understandable-machine-intelligence-lab/Quantus/issues/354; of these two we found none.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'quantus==0.6.0' 'torch==2.13.0' 'numpy==2.4.6' 'scipy==1.17.1' 'pandas==3.1.1' 'scikit-image==0.26.0' 'scikit-learn==1.9.1' 'matplotlib==3.11.2'
cd "$folder"
cat > trial.py <<'PYTHON'
import importlib.metadata
import warnings

warnings.simplefilter("ignore")
import numpy as np
import quantus
import torch

print("quantus", importlib.metadata.version("quantus"), "torch", torch.__version__.split("+")[0])
SLIDES, TILES, FIRST = 200, 40, 64


class Sum(torch.nn.Module):
    """A slide's logit is the sum of its tiles, one feature each."""

    def forward(self, bags):
        logit = bags[:, 0].sum(1)
        return torch.stack([-logit, logit], 1)


draws = np.random.default_rng(0)
bags = draws.normal(size=(SLIDES, 1, TILES)).astype(np.float32)
label = np.ones(SLIDES, dtype=int)
noise = draws.normal(size=bags.shape).astype(np.float32)
last, first = bags.copy(), bags.copy()
last[FIRST:], first[:FIRST] = noise[FIRST:], noise[:FIRST]


def by_quantus(explanation, **options):
    measure = quantus.SensitivityN(features_in_step=1, abs=False, normalise=False, perturb_baseline=0.0, disable_warnings=True)
    return float(np.mean(np.asarray(measure(model=Sum().eval(), x_batch=bags, y_batch=label, a_batch=explanation, softmax=False, channel_first=True, **options), dtype=float)))


def by_hand(explanation, added_up):
    """Correlation over all slides between what n tiles, the most important first, take away and what is said of them; mean over n up to .8 of the tiles, as there."""
    order = np.argsort(-explanation[:, 0], axis=1)
    lost = np.cumsum(np.take_along_axis(bags[:, 0], order, 1), axis=1)
    said = np.take_along_axis(explanation[:, 0], order, 1)
    said = np.cumsum(said, axis=1) if added_up else said
    return float(np.mean([np.corrcoef(lost[:, n], said[:, n])[0, 1] for n in range(int(0.8 * TILES))]))


kinds = {"exact": bags, "noise from slide 65 on": last, "noise in the first 64": first}
seen = {}
for name, explanation in kinds.items():
    seen[name] = by_hand(explanation, True), by_hand(explanation, False), by_quantus(explanation), by_quantus(explanation, batch_size=SLIDES)
    right, step, theirs, whole = seen[name]
    print(f"expected: {name:22s} {right:.2f}, by hand over {SLIDES} slides, both sides added up")
    print(f"seen:     {name:22s} {theirs:.2f}; with batch_size={SLIDES} {whole:.2f}, as by hand where only the model's side is added up, {step:.2f}")
exact, end, begin = (seen[name] for name in kinds)
stated = exact[0] > 0.999 and 0.6 < exact[2] < 0.85 and end[2] == exact[2] and end[0] < 0.2 and abs(begin[2]) < 0.2 and begin[0] > 0.25
stated = stated and all(abs(row[3] - row[1]) < 1e-3 for row in seen.values())
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
OMP_NUM_THREADS=1 MPLCONFIGDIR="$folder" venv/bin/python trial.py 2> said || { cat said >&2; exit 1; }
