#!/usr/bin/env bash
# What: slides that come one after the other from an `IterableDataset`, a bag of (tiles, features) and a label each, are shared between two processes by accelerate with its defaults. It joins the two bags by their tiles, cuts the tiles into halves, and cuts the two labels at the number of tiles: the first process gets a bag of tiles of both slides and both labels, the second one the rest of the tiles and no label. The last pair is filled up with tiles of the first slide.
# Versions: accelerate 1.15.0, torch 2.13.0. Seen 2026-12-01.
# Why it matters: streams (webdataset and the like) are iterable. Nothing is raised: the loss of the first process takes the mean over two labels of one answer, that of the second over none (NaN, or 0 for a sum). Bags that differ in another dimension than the first one are refused since https://github.com/huggingface/accelerate/pull/2325; bags differ in the first. `dispatch_batches=False` gives whole slides.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'torch==2.13.0' 'accelerate==1.15.0' 'numpy==2.4.6'
cd "$folder"
cat > trial.py <<'PYTHON'
import json
import sys

import torch
from accelerate import Accelerator, DataLoaderConfiguration
from torch.utils.data import DataLoader, IterableDataset


class Slides(IterableDataset):
    def __iter__(self):
        for slide, tiles in enumerate((3, 5, 4, 6, 2, 7)):
            yield torch.full((tiles, 1), float(slide)), torch.tensor([float(slide)])


whole = sys.argv[1] == "whole"
accelerator = Accelerator(cpu=True, dataloader_config=DataLoaderConfiguration(dispatch_batches=False)) if whole else Accelerator(cpu=True)
bags = [(bag.flatten().tolist(), label.tolist()) for bag, label in accelerator.prepare(DataLoader(Slides(), batch_size=1, collate_fn=lambda slides: slides[0]))]
with open(f"{sys.argv[1]}_{accelerator.process_index}", "w") as file:
    json.dump(bags, file)
accelerator.wait_for_everyone()
PYTHON
export OMP_NUM_THREADS=1
for way in default whole; do
  venv/bin/torchrun --nproc_per_node 2 trial.py "$way" > said 2>&1 || { cat said >&2; exit 1; }
done
venv/bin/python - <<'PYTHON'
import json

print("expected: each bag has the tiles of one slide, and its label (tiles and labels are the number of their slide)")
seen = {}
for way in ("default", "whole"):
    seen[way] = [json.load(open(f"{way}_{process}")) for process in (0, 1)]
    for process, bags in enumerate(seen[way]):
        for tiles, labels in bags:
            if way == "default":
                print(f"seen:     process {process}: tiles {[int(tile) for tile in tiles]}, labels {[int(label) for label in labels]}")
mixed = {way: sum(len(set(tiles)) > 1 for bags in seen[way] for tiles, _ in bags) for way in seen}
unlabelled = {way: sum(not labels for bags in seen[way] for _, labels in bags) for way in seen}
print(f"seen:     bags of tiles of several slides, and without a label: {mixed['default']} and {unlabelled['default']}; with dispatch_batches=False {mixed['whole']} and {unlabelled['whole']}")
stated = seen["default"][0][0] == [[0, 0, 0, 1], [0, 1]] and seen["default"][1][0] == [[1, 1, 1, 1], []] and unlabelled["default"] == 3 and mixed["whole"] == unlabelled["whole"] == 0
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
