#!/usr/bin/env bash
# What: `train_test_split` of LitData, which shuffles by default, shuffles the files that hold the bags and not the bags: with bags in one file the test part is what was written last, whatever the seed. Bags that the shares round away are in no part.
# Versions: litdata 0.2.76, torch 2.13.0. Seen 2026-12-01.
# Why it matters: features are written folder by folder, one class or hospital after the other. The test part then has one class or one hospital only, and a cohort of some hundred bags of 100 tiles fits into one file of the usual 64 MB.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'litdata==0.2.76' 'torch==2.13.0' 'numpy==2.4.6'
cd "$folder"
cat > trial.py <<'PYTHON'
import importlib.metadata
import logging

import litdata
import numpy as np

N = 101


def bag(number):
    """The first half of the bags is of class 0, the second of class 1; 100 tiles of 384 values."""
    return {"number": number, "label": int(number > N // 2), "features": np.full((100, 384), number, np.float32)}


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    print("litdata", importlib.metadata.version("litdata"))
    litdata.optimize(fn=bag, inputs=list(range(N)), output_dir="bags", chunk_bytes="64MB", num_workers=1, verbose=False)
    print("expected: three parts drawn from all bags, other ones for another seed, together all of them")
    tests, lost = set(), set()
    for seed in (1, 2, 3):
        parts = litdata.train_test_split(litdata.StreamingDataset("bags"), splits=[0.7, 0.15, 0.15], seed=seed)
        numbers = [[int(part[row]["number"]) for row in range(len(part))] for part in parts]
        missing = sorted(set(range(N)) - {number for part in numbers for number in part})
        tests.add(tuple(sorted(numbers[2])))
        lost.update(missing)
        classes = [[sum(number <= N // 2 for number in part), sum(number > N // 2 for number in part)] for part in numbers]
        print(f"seen:     seed {seed}: test bags {min(numbers[2])} to {max(numbers[2])}; bags of class 0 and 1 in train, validation, test {classes}; in no part {missing}")
    stated = tests == {tuple(range(85, 100))} and lost == {100}
    raise SystemExit(0 if stated else "no longer as stated")
PYTHON
venv/bin/python trial.py 2> said || { cat said >&2; exit 1; }
