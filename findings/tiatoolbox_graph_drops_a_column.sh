#!/usr/bin/env bash
# What: tiatoolbox's graph of a slide leaves out every feature that is constant in *that* slide, so column k of the nodes is another feature in another slide.
# Versions: tiatoolbox 2.1.3. Seen 2026-12-01.
# Why it matters: zeros throughout are common after a ReLU. Where two slides miss a different feature, or one more tile of a slide is not zero, widths agree and a model is trained on shifted columns.
# The documentation says of the threshold (.0001) that such features are ignored, and that without it none is removed; not that two slides then do not fit together.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'tiatoolbox==2.1.3' 'numpy<2.5'
cd "$folder"
venv/bin/python - 2>&1 <<'PYTHON'
import importlib.metadata

import numpy as np
from tiatoolbox.tools.graph import SlideGraphConstructor

print("tiatoolbox", importlib.metadata.version("tiatoolbox"))
draw = np.random.default_rng(0)
places = np.stack(np.meshgrid(np.arange(12), np.arange(12)), -1).reshape(-1, 2) * 512.0
print("expected: 16 features of a tile are 16 columns of a node, feature k in column k")
widths, firsts = [], []
for constant in (3, 10):
    features = np.arange(16) + draw.random((144, 16))  # feature k lies between k and k + 1
    features[:, constant] = 0
    graph = SlideGraphConstructor.build(places, features)
    holds = [int(value) for value in graph["x"].mean(0)]
    widths.append(len(holds))
    firsts.append(holds)
    print(f"seen:     feature {constant} is 0 in all tiles of the slide: {len(holds)} columns, which hold the features {holds}")
kept = SlideGraphConstructor.build(places, features, feature_range_thresh=None)["x"].shape[1]
shifted = sum(one != other for one, other in zip(*firsts, strict=True))
print(f"seen:     {shifted} of the 15 columns are different features in the two slides; {kept} columns with feature_range_thresh=None")
raise SystemExit(0 if widths == [15, 15] and shifted == 7 and kept == 16 else "no longer as stated")
PYTHON
