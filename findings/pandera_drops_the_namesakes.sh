#!/usr/bin/env bash
# What: pandera's drop_invalid_rows drops rows by their index: in two sites' tables put one below the other, an invalid row of the first takes the valid row of the same number of the second with it.
# Versions: pandera 0.35.0, pandas 2.3.3. Seen 2026-12-01.
# Why it matters: pd.concat keeps the numbers of the tables it is given. The cohort loses slides that nothing is wrong with, and the result passes the schema. ignore_index=True, or reset_index, is the way around.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'pandera==0.35.0' 'pandas==2.3.3' 'numpy==2.1.3'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata
import warnings

warnings.simplefilter("ignore")
import pandas as pd
import pandera.pandas as pa

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("pandera", "pandas")))
north = pd.DataFrame({"slide": [f"north{i}" for i in range(100)], "grade": [-1 if i % 10 == 0 else i % 5 for i in range(100)]})
south = pd.DataFrame({"slide": [f"south{i}" for i in range(100)], "grade": [i % 5 for i in range(100)]})
schema = pa.DataFrameSchema({"slide": pa.Column(str, unique=True), "grade": pa.Column(int, pa.Check.ge(0))}, drop_invalid_rows=True)
print("expected: of 100 slides of the north 10 have grade -1; of 100 of the south none: 190 are left")
seen = {}
for name, table in (("pd.concat", pd.concat([north, south])), ("pd.concat(ignore_index=True)", pd.concat([north, south], ignore_index=True))):
    kept = schema.validate(table, lazy=True)
    seen[name] = tuple(int(kept.slide.str.startswith(site).sum()) for site in ("north", "south"))
    print(f"seen:     {name:29s} {len(kept)} are left, {seen[name][0]} of the north and {seen[name][1]} of the south")
raise SystemExit(0 if list(seen.values()) == [(90, 90), (90, 100)] else "no longer as stated")
PYTHON
