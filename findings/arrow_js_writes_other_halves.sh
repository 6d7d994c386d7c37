#!/usr/bin/env bash
# What: numbers given to Apache Arrow for JavaScript as Float16 become others: 1.9998 is 1 and .49995 is .25 (the carry of rounding is lost), 70000 is 2.13 where half precision has infinity, 1e-8 is minus infinity and 1e-10 is 5e-5, where it has 0. hyparquet-writer and pyarrow give the nearest half for all.
# Versions: apache-arrow 21.2.0, hyparquet-writer 0.17.0 (npm), pyarrow 26.0.1. Seen 2026-12-01.
# Why it matters: attention of thousands of tiles is full of numbers below 3e-8, and half precision is what features and maps are sent to a viewer in. One minus infinity makes every sum and mean of the map so.
# Source: float64ToUint16 in util/math: exponent and rounded fraction are put together by "or"; below 2^-25 the fraction is shifted by a negative number of bits, which JavaScript takes modulo 32; above 65536 the exponent is cut.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --no-compile --disable-pip-version-check 'pyarrow==26.0.1' 'numpy==2.4.6'
npm init -y > log
npm install --silent --no-audit --no-fund --ignore-scripts 'apache-arrow@21.2.0' 'hyparquet-writer@0.17.0' >> log
cat > write.mjs <<'JS'
import fs from 'fs';
import {Float16, Table, tableToIPC, vectorFromArray} from 'apache-arrow';
import {parquetWriteBuffer} from 'hyparquet-writer';

const bytes = fs.readFileSync('numbers.bin');
const numbers = Array.from(new Float64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length)));
fs.writeFileSync('numbers.arrow', tableToIPC(new Table({half: vectorFromArray(numbers, new Float16())}), 'file'));
fs.writeFileSync('numbers.parquet', Buffer.from(parquetWriteBuffer({columnData: [{name: 'half', data: numbers, type: 'FLOAT16'}]})));
JS
cat > compare.py <<'PYTHON'
import json
import subprocess
import warnings

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

warnings.simplefilter("ignore")
print("pyarrow", pa.__version__, *(f"{name} {json.load(open(f'node_modules/{name}/package.json'))['version']}" for name in ("apache-arrow", "hyparquet-writer")))


def written(numbers):
    np.asarray(numbers, float).tofile("numbers.bin")
    subprocess.check_call(["node", "write.mjs"])
    return (np.asarray(column["half"].to_numpy(zero_copy_only=False), float) for column in (pa.ipc.open_file("numbers.arrow").read_all(), pq.read_table("numbers.parquet")))


some = [0.1, 1.9998, 0.49995, -1.9999, 65504, 70000, 1e6, 6e-5, 6e-8, 2.9e-8, 1e-8, 1e-9, 1e-10, 1e-12]
by_arrow, by_hyparquet = written(some)
nearest = np.array(some).astype(np.float16).astype(float)
print("expected: the nearest half, as numpy gives it")
for number, *found in zip(some, nearest, by_arrow, by_hyparquet):
    print(f"seen:     {number:8g}: nearest {found[0]:.6g}, Apache Arrow {found[1]:.6g}, hyparquet-writer {found[2]:.6g}")
random = np.random.default_rng(0)
scores = 4 * random.normal(size=20000)
attention = np.exp(scores) / np.exp(scores).sum()
features = random.normal(size=100000)
shares = {}
for name, numbers in (("attention of 20,000 tiles", attention), ("100,000 features", features)):
    arrow, hyparquet = written(numbers)
    right = numbers.astype(np.float16).astype(float)
    shares[name] = (arrow != right).mean(), np.isinf(arrow).sum(), (hyparquet != right).mean(), arrow.sum()
    print(f"seen:     {name}: {shares[name][0]:.4%} are not the nearest half, {shares[name][1]} infinite, sum {arrow.sum():.4f} for {right.sum():.4f}; hyparquet-writer {shares[name][2]:.4%}")
wrong = [number for number, a, b in zip(some, nearest, by_arrow) if a != b]
stated = {1.9998, 0.49995, -1.9999, 70000, 1e6, 1e-8} <= set(wrong) and not {0.1, 65504, 6e-5, 6e-8} & set(wrong) and by_arrow[1] == 1 and by_arrow[2] == 0.25 and by_arrow[10] == -np.inf
stated = stated and shares["attention of 20,000 tiles"][1] > 0 and shares["100,000 features"][0] > 0
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
venv/bin/python compare.py
