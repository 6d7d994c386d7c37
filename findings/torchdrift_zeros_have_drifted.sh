#!/usr/bin/env bash
# What: torchdrift's KSDriftDetector takes equal values for unequal ones: two samples of one distribution with many zeros (after a ReLU), or with one dead feature among normal ones, have "drifted", with a median p near 1e-6 and 1e-16.
# Its statistic sorts both samples together and reads the running difference at every place of the order, also between equal values, where the order is by lot or by the sample; the difference counts only behind the last of them. Two constant samples have a distance of .8 instead of 0.
# Versions: torchdrift 0.1.0.post1, torch 2.13.0; against scipy 1.17.1. Seen 2026-12-01.
# Why it matters: "has the new scanner changed the features?" is answered yes for encoders that end in a ReLU, for counts, and for any encoder with a dead feature, whatever the slides are. The library's MMD detector is right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'torchdrift==0.1.0.post1' 'torch==2.13.0' 'numpy==2.4.6' 'scipy==1.17.1' 'tqdm==4.67.1'
cd "$folder"
cat > trial.py <<'PYTHON'
import importlib.metadata
import warnings

warnings.simplefilter("ignore")
import torch
from scipy.stats import ks_2samp
from torchdrift.detectors import KernelMMDDriftDetector, KSDriftDetector
from torchdrift.detectors.ks import ks_two_sample_multi_dim

print("torchdrift", importlib.metadata.version("torchdrift"))
torch.manual_seed(0)
OLD, NEW, FEATURES, TIMES = 60, 40, 16, 30


def dead(slides):
    features = torch.randn(slides, FEATURES)
    features[:, 0] = 0
    return features


kinds = {
    "normal": lambda slides: torch.randn(slides, FEATURES),
    "normal, one dead feature": dead,
    "after a ReLU, half zeros": lambda slides: torch.randn(slides, FEATURES).relu(),
    "counts of 0, 1 and 2": lambda slides: torch.randint(0, 3, (slides, FEATURES)).float(),
}


def by_scipy(old, new):  # the same rule: the least p times the number of features
    return min(1.0, FEATURES * min(ks_2samp(old[:, i], new[:, i], method="exact").pvalue for i in range(FEATURES)))


def detected(detector, old, new):
    detector.fit(old)
    return float(detector(new))


print(f"expected: of {TIMES} pairs of samples of one distribution, {OLD} and {NEW} slides, some 5 % or less have a p below .05")
shares = {}
for name, draw in kinds.items():
    p = {"torchdrift": [], "scipy": [], "torchdrift's MMD": []}
    for _ in range(TIMES):
        old, new = draw(OLD), draw(NEW)
        p["torchdrift"].append(detected(KSDriftDetector(return_p_value=True), old, new))
        p["scipy"].append(by_scipy(old.numpy(), new.numpy()))
        p["torchdrift's MMD"].append(detected(KernelMMDDriftDetector(return_p_value=True, n_perm=60), old, new))
    shares[name] = {package: sum(value < 0.05 for value in values) / TIMES for package, values in p.items()}
    print(f"seen:     {name:25s} " + ", ".join(f"{package} {share:.0%}" for package, share in shares[name].items()) + f"; median p of torchdrift {torch.tensor(p['torchdrift']).median().item():.1g}")
constant = ks_two_sample_multi_dim(torch.zeros(NEW, 1), torch.zeros(OLD, 1)).item()
print(f"seen:     distance of {NEW} zeros from {OLD} zeros: {constant:.2f}, scipy {ks_2samp([0.0] * NEW, [0.0] * OLD).statistic:.2f}")
normal, *tied = shares.values()
stated = normal["torchdrift"] <= 0.1 and all(kind["torchdrift"] > 0.8 for kind in tied) and constant > 0.5
right = all(kind["scipy"] <= 0.15 and kind["torchdrift's MMD"] <= 0.2 for kind in shares.values())
raise SystemExit(0 if stated and right else "no longer as stated")
PYTHON
venv/bin/python trial.py
