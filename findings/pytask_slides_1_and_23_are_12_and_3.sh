#!/usr/bin/env bash
# What: pytask runs a task again where a value that is to be watched (`PythonNode(value=..., hash=True)`) has changed. A list is watched by the hashes of its elements written one after the other, without anything between them, and the hash of a whole number is the number: slides [1, 23] are [12, 3] and [123]. The hash of -1 is that of -2 in Python. And two files that change places are no change, as each of them is what it was.
# Versions: pytask 0.6.0. Seen 2026-12-01.
# Why it matters: folds are lists of numbers of slides, seeds and widths of layers are lists, -1 stands for "all", and training and test file are exchanged: the task is "skipped because unchanged", and the results of other slides stand. The documentation names the built-in hash(), and says nothing of lists. No report was found. Source: hash_value in _pytask/_hashlib.py.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'pytask==0.6.0'
mkdir "$folder/study"
cd "$folder/study"
printf 's1\n' > north.csv
printf 's2\n' > south.csv
cat > task_study.py <<'PYTHON'
import os
import pathlib
from typing import Annotated, Any

from pytask import Product, PythonNode, task

AFTER = int(os.environ["AFTER"])
HERE = pathlib.Path(__file__).parent
VALUES = {
    "slides": ([1, 23], [12, 3])[AFTER],
    "order": ([1, 11], [11, 1])[AFTER],
    "widths": ([51, 2], [512])[AFTER],
    "minus": (-1, -2)[AFTER],
    "far_apart": ([1, 23], [1, 24])[AFTER],
    "text": (["1", "23"], ["12", "3"])[AFTER],
    "number": (1, 2)[AFTER],
}
for name, value in VALUES.items():

    @task(id=name)
    def task_value(value: Annotated[Any, PythonNode(value=value, hash=True)], path: Annotated[pathlib.Path, Product] = HERE / f"{name}.txt") -> None:
        path.write_text(str(value))


FILES = [HERE / name for name in (("north.csv", "south.csv"), ("south.csv", "north.csv"))[AFTER]]


@task(id="files")
def task_files(train: Annotated[pathlib.Path, FILES[0]], test: Annotated[pathlib.Path, FILES[1]], path: Annotated[pathlib.Path, Product] = HERE / "files.txt") -> None:
    path.write_text(f"train {train.name}, test {test.name}")
PYTHON
AFTER=0 ../venv/bin/pytask > ../said 2>&1 || { cat ../said >&2; exit 1; }
AFTER=1 ../venv/bin/pytask > ../again 2>&1 || { cat ../again >&2; exit 1; }
seen=$(for name in slides order widths minus far_apart text number files; do printf '%s: %s; ' "$name" "$(cat $name.txt)"; done)
echo "expected: slides: [12, 3]; order: [11, 1]; widths: [512]; minus: -2; far_apart: [1, 24]; text: ['12', '3']; number: 2; files: train south.csv, test north.csv;"
echo "seen:     $seen"
[ "$seen" = "slides: [1, 23]; order: [1, 11]; widths: [51, 2]; minus: -1; far_apart: [1, 24]; text: ['12', '3']; number: 2; files: train north.csv, test south.csv; " ] || { echo "no longer as stated" >&2; exit 1; }
