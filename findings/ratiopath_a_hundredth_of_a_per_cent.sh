#!/usr/bin/env bash
# What: ratiopath's `estimate_stain_vectors(alpha=0.01)`, "which corresponds to 1%", takes the angles at 0.01 % and 99.99 %: numpy counts percentiles to 100. Of a tile of 256 x 256 px the six most extreme pixels
# at either end decide the two stains, so noise and a few pixels of pigment do.
# Versions: ratiopath 1.0.3 (the last for Python 3.11; 1.5.0 has the same lines and gives the same), against a percentile of 1 by its own argument. Seen 2026-12-01.
# Why it matters: the stain vectors of a tile are what its augmentation (`StainAugmentor`) turns the colours around. They are three times as far off in a clean tile, and that of eosin five times where one pixel in 200 is brown.
# Say `alpha=1`. Not found among its reports.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
# Only what this part of the package imports: all of it are some gigabytes.
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'numpy==2.4.6' 'scikit-image==0.26.0' 'albumentations==2.0.8'
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check --no-deps 'ratiopath==1.0.3'
cd "$folder"
NO_ALBUMENTATIONS_UPDATE=1 venv/bin/python -W ignore - <<'PYTHON'
import importlib.metadata

import numpy as np
from ratiopath.augmentations import estimate_stain_vectors
from ratiopath.augmentations.estimate_stain_vectors import HE

print("ratiopath", importlib.metadata.version("ratiopath"))
draw = np.random.default_rng(0)
stains = HE[:2] / np.linalg.norm(HE[:2], axis=1, keepdims=True)
brown = np.array([0.27, 0.57, 0.78])


def tile(share):
    """256 x 256 px of the two stains, noise of two grey levels, and a share of brown pigment."""
    mixture, amount = draw.beta(0.5, 0.5, (65536, 1)), draw.uniform(0.15, 0.8, (65536, 1))
    density = amount * (mixture * stains[0] + (1 - mixture) * stains[1])
    pigment = int(share * len(density))
    density[:pigment] = draw.uniform(0.2, 0.8, (pigment, 1)) * brown
    return np.clip(256 * 10**-density + draw.normal(0, 2, density.shape), 0, 255).astype(np.uint8).reshape(256, 256, 3)


def degrees(found):
    return [np.degrees(np.arccos(np.clip(one @ true / np.linalg.norm(one), -1, 1))) for one, true in zip(found[:2], stains, strict=True)]


print(f"expected: the two stains (which lie {np.degrees(np.arccos(stains[0] @ stains[1])):.0f} degrees apart) within a degree, at the extreme 1 % as the documentation says of the default")
far = {}
for share in (0, 0.001, 0.005):
    pixels = tile(share)
    for name, how in (("default", {}), ("alpha=1", {"alpha": 1})):
        far[share, name] = degrees(estimate_stain_vectors(pixels, HE, **how))
    print(f"seen:     {share:.1%} pigment: haematoxylin and eosin are " + ", ".join(f"{far[share, name][0]:.1f} and {far[share, name][1]:.1f} degrees off by {name}" for name in ("default", "alpha=1")))
stated = all(max(far[share, "alpha=1"]) < 1.2 and max(far[share, "default"]) > 2 for share in (0, 0.001, 0.005)) and far[0.005, "default"][1] > 4 * far[0.005, "alpha=1"][1]
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
