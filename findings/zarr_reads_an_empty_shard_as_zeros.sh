#!/usr/bin/env bash
# What: a file of a Zarr array that a full disk left empty: as a chunk it is an error, as a shard zarr reads it as rows of zeros where it reads whole shards, and as an error where it reads a part. tensorstore refuses all.
# Versions: zarr 3.1.6, tensorstore 0.1.86, numpy 2.4.6. Seen 2026-12-01.
# Why it matters: shards are there so that a store of features has few files; each holds thousands of tiles. A copy that ran out of space or quota leaves files of no bytes, and the tiles come as zeros, which no check for finite values finds.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'zarr==3.1.6' 'tensorstore==0.1.86' 'numpy==2.4.6'
cd "$folder"
venv/bin/python - <<'PYTHON'
from importlib.metadata import version
from pathlib import Path

import numpy as np
import tensorstore
import zarr

print("zarr", zarr.__version__, "tensorstore", version("tensorstore"))
features = np.random.default_rng(0).normal(size=(4000, 64)).astype(np.float32)


def by_zarr(path):
    return zarr.open_array(path, mode="r")[:]


def by_zarr_in_part(path):
    array = zarr.open_array(path, mode="r")
    return np.concatenate([array[row : row + 50] for row in range(0, array.shape[0], 50)])


def by_tensorstore(path):
    return tensorstore.open({"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{Path(path).absolute()}/"}}).result().read().result()


print("expected: an error where a file has no bytes; one that is not there means the fill value, as the format says")
seen = {}
for kind, shards in (("chunks", None), ("shards", (1000, 64))):
    for damage in ("none", "cut to half", "emptied"):
        path = f"{kind}_{damage.replace(' ', '_')}.zarr"
        zarr.create_array(path, data=features, chunks=(100, 64), shards=shards)
        stored = Path(path) / "c" / "1" / "0"
        if damage != "none":
            stored.write_bytes(stored.read_bytes()[: stored.stat().st_size // 2] if damage == "cut to half" else b"")
        for read in (by_zarr, by_zarr_in_part, by_tensorstore):
            try:
                found = read(path)
            except Exception as error:
                seen[kind, damage, read] = f"error, {type(error).__name__}"
            else:
                zeros = (found == 0).all(1).sum()
                seen[kind, damage, read] = "right" if np.array_equal(found, features) else f"{zeros} rows of zeros"
            print(f"seen:     {kind}, one {damage:11s} {read.__name__:15s} {seen[kind, damage, read]}")
stated = seen["shards", "emptied", by_zarr] == "1000 rows of zeros" and all(said.startswith("error") for case, said in seen.items() if case[1] != "none" and case != ("shards", "emptied", by_zarr))
raise SystemExit(0 if stated and all(said == "right" for case, said in seen.items() if case[1] == "none") else "no longer as stated")
PYTHON
