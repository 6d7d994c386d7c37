#!/usr/bin/env bash
# What: a missing value of a categorical column, written to an R file by rdata and read by it again, is the last class. It is written as class 0 instead of R's code for missing, and the class before the first is the last one when it is read.
# Versions: rdata 1.1.0, pyreadr 0.5.8, pandas 2.3.3. Seen 2026-12-01.
# Why it matters: classes are in the order negative, positive, or by stage: slides without a label are positive, or of stage IV. pyreadr reads the same file as missing, and what pyreadr has written is right in both.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'rdata==1.1.0' 'pyreadr==0.5.8' 'pandas==2.3.3' 'numpy==2.1.3' 'xarray==2026.9.0'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata
import warnings

warnings.simplefilter("ignore")
import pandas as pd
import pyreadr
import rdata

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("rdata", "pyreadr", "pandas")))
stage = pd.Categorical(["I", "II", None, "III", None], categories=["I", "II", "III", "IV"])
table = pd.DataFrame({"slide": [f"s{i}" for i in range(5)], "stage": stage, "age": pd.array([61, None, 70, 55, None], dtype="Int64")})
rdata.write_rds("by_rdata.rds", table)
pyreadr.write_rds("by_pyreadr.rds", table)
print("expected: I, II, missing, III, missing")
seen = {}
for name in ("by_rdata.rds", "by_pyreadr.rds"):
    for reader, read in (("rdata", rdata.read_rds), ("pyreadr", lambda path: pyreadr.read_r(path)[None])):
        back = read(name)
        seen[name, reader] = [None if pd.isna(value) else str(value) for value in back.stage]
        print(f"seen:     {name:14s} read by {reader:7s} {seen[name, reader]}, ages missing in {int(back.age.isna().sum())}")
right = ["I", "II", None, "III", None]
stated = seen["by_rdata.rds", "rdata"] == ["I", "II", "IV", "III", "IV"]
raise SystemExit(0 if stated and [value for key, value in seen.items() if key != ("by_rdata.rds", "rdata")] == [right] * 3 else "no longer as stated")
PYTHON
