#!/usr/bin/env bash
# What: torchmil's reader of TRIDENT's folders divides level-0 places by the side that was asked for, not by the one at level 0 that TRIDENT writes beside them: tiles of 512 px at 20x
# have eight neighbours in a slide scanned at 20x and none in one scanned at 40x. Of a table of labels the slide names are cut at their last dot once per slide, so that of
# names as TCGA has them only the first slide keeps its label, and the others get 0 in its batch.
# Versions: torchmil 1.0.2, torch 2.13.0. Seen 2026-12-01.
# Why it matters: graph and smoothing models see neighbours or none by the scanner, which goes with the hospital; and positives become negatives.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'torchmil==1.0.2' 'torch==2.13.0'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata
import pathlib

import h5py
import numpy as np
from torchmil.data import collate_fn
from torchmil.datasets import TridentWSIDataset

print("torchmil", importlib.metadata.version("torchmil"))
base = pathlib.Path("20x_512px_0px_overlap")
for inside in ("features_encoder", "patches"):
    (base / inside).mkdir(parents=True)
labels = {f"TCGA-XX-000{i}-01Z-00-DX1.0000000{i}-0000-4000-8000-000000000000": label for i, label in enumerate((1, 0, 1, 1))}
grid = np.stack(np.meshgrid(np.arange(5), np.arange(6)), -1).reshape(-1, 2)
for i, slide in enumerate(labels):
    scanned = 20 if i % 2 else 40
    side = 512 * scanned // 20  # of a tile of 512 px at 20x, in pixels of level 0
    with h5py.File(base / "features_encoder" / f"{slide}.h5", "w") as file:
        file["features"] = np.random.default_rng(i).random((30, 8), dtype=np.float32)
    with h5py.File(base / "patches" / f"{slide}_patches.h5", "w") as file:  # as TRIDENT writes it
        file["coords"] = grid * side
        file["coords"].attrs.update(patch_size=512, patch_size_level0=side, level0_magnification=scanned, target_magnification=20, overlap=0)
table = pathlib.Path("labels.csv")
table.write_text("slide,label\n" + "".join(f"{slide}.svs,{label}\n" for slide, label in labels.items()))
read = TridentWSIDataset(
    f"{base}/", str(table), "encoder", bag_keys=["X", "Y", "adj", "coords"], patch_size=512, wsi_name_col="slide", wsi_label_col="label"
)
edges = [read[i]["adj"]._nnz() for i in range(4)]
print("expected: as many neighbours in each of four slides of 5 x 6 tiles, scanned at 40x, 20x, 40x, 20x")
print("seen:     pairs of neighbours", edges)
alone = [read[i]["Y"].tolist() for i in range(4)]
together = collate_fn([read[i] for i in range(4)])["Y"].flatten().tolist()
print("expected: labels", list(labels.values()))
print("seen:     alone", alone, "in one batch", together)
raise SystemExit(0 if edges == [0, 178, 0, 178] and alone == [[1], [], [], []] and together == [1, 0, 0, 0] else "no longer as stated")
PYTHON
