#!/usr/bin/env bash
# What: kaiko-eva's embeddings writer puts each later flush of a slide's tiles before the earlier ones.
# Versions: kaiko-eva 0.4.5, torch 2.13.0. Seen 2026-11-29.
# Why it matters: the rows of a slide's .pt are no longer in the order of its coordinates, so a heat map shows the right weights at wrong places.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'kaiko-eva==0.4.5' 'torch==2.13.0'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata
import queue

import torch
from eva.core.callbacks.writers.embeddings.base import _as_io_buffers
from eva.core.callbacks.writers.embeddings.classification import ClassificationEmbeddingsWriter
from eva.core.callbacks.writers.embeddings.typings import QUEUE_ITEM

print("kaiko-eva", importlib.metadata.version("kaiko-eva"))
tiles = queue.Queue()
for number in range(25):  # 25 tiles of one slide, as the callback hands them to its writing process
    embedding, target = _as_io_buffers(torch.full((4,), float(number)), torch.tensor(1))
    tiles.put(QUEUE_ITEM(prediction_buffer=embedding, target_buffer=target, data_name="slide.tif", save_name="slide.pt", split="train", metadata=None))
tiles.put(None)
ClassificationEmbeddingsWriter._process_write_queue(tiles, ".", [], 10, False)  # save_every_n=10
rows = [int(row[0]) for row in torch.load("slide.pt", weights_only=False)]
print("expected: rows in the order in which the tiles came, 0 1 2 ... 24")
print("seen:    ", *rows)
raise SystemExit(0 if rows[:4] == [21, 22, 23, 24] and rows[-1] == 10 else "no longer as stated")
PYTHON
