#!/usr/bin/env bash
# What: tiles in a table, rows in the order of their features: after an UPDATE of a label Lance has those rows at the end, and `take([300])` is another tile; so has DuckDB where the column is the key, has an index or is a list. Both keep the order before.
# Versions: pylance 14.0.2, duckdb 2.0.1, pyarrow 26.0.1. Seen 2026-12-01.
# Why it matters: attention, features and coordinates kept outside are joined by row. A label corrected in one slide shifts all slides behind it, and every array still has its length.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'pylance==14.0.2' 'duckdb==2.0.1' 'pyarrow==26.0.1' 'numpy==2.4.6'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata

import duckdb
import lance
import numpy as np
import pyarrow as pa

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("pylance", "duckdb")))
N, PER_SLIDE = 1000, 100
tiles = np.arange(N)
table = pa.table({"tile": tiles, "slide": tiles // PER_SLIDE, "label": np.zeros(N, np.int64)})


def kept(order):
    return bool(np.array_equal(order, tiles))


def by_lance(name, **how):
    store = lance.write_dataset(table, name, **how)
    assert kept(store.to_table()["tile"].to_numpy())
    store.update({"label": "1"}, where="slide = 3")
    return lance.dataset(name)


def by_duckdb(change, *, key, index):
    data = duckdb.connect()
    data.execute(f"create table t (tile bigint {key}, slide bigint, label bigint, xy bigint[])")
    data.execute(f"insert into t select i, i // {PER_SLIDE}, 0, [i, i] from range({N}) r(i)")
    if index:
        data.execute("create index by_label on t(label)")
    assert kept(data.execute("select tile from t").fetchnumpy()["tile"])
    data.execute(f"update t set {change} where slide = 3")
    return data.execute("select tile from t").fetchnumpy()["tile"]


print("expected: the label of slide 3 (tiles 300 to 399) is changed, nothing else")
seen = {}
for name, how in (("Lance", {}), ("Lance, enable_stable_row_ids", {"enable_stable_row_ids": True})):
    store = by_lance(f"{len(seen)}.lance", **how)
    order = store.to_table()["tile"].to_numpy()
    seen[name] = kept(order)
    print(f"seen:     {name:29s} order kept {seen[name]}; row 300 is tile {store.take([300])['tile'][0]}, the last is {order[-1]}")
for name, change, key, index in (
    ("DuckDB", "label = 1", "", False),
    ("DuckDB, an index on the label", "label = 1", "", True),
    ("DuckDB, a list", "xy = [0, 0]", "", False),
    ("DuckDB, the key", "tile = tile", "primary key", False),
):
    order = by_duckdb(change, key=key, index=index)
    seen[name] = kept(order)
    print(f"seen:     {name:29s} order kept {seen[name]}; row 300 is tile {order[300]}, the last is {order[-1]}")
stated = [name for name, same in seen.items() if same] == ["DuckDB"]
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
