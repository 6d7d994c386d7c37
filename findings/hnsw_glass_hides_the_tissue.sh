#!/usr/bin/env bash
# What: an index of the kind HNSW that also holds a few thousand equal vectors finds few or none of the neighbours of *other* vectors: the equal ones link to each other only, and a search that enters does not leave.
# Versions: usearch 2.26.6, faiss-cpu 1.15.1, hnswlib 0.8.0. Seen 2026-12-01.
# Why it matters: blank tiles filled up by a scanner are the same to the last byte, and so are their features. A search for similar tissue then answers with tiles that are not the nearest, and says nothing.
# Qdrant found and mended it in August (https://github.com/qdrant/qdrant/pull/10239). Keep one of each vector in the index, or search exactly: 10,000 tiles take no time.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'usearch==2.26.6' 'faiss-cpu==1.15.1' 'hnswlib==0.8.0' 'numpy==2.4.6'
cd "$folder"
venv/bin/python - <<'PYTHON'
import importlib.metadata

import faiss
import hnswlib
import numpy as np
from usearch.index import Index

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("usearch", "faiss-cpu", "hnswlib")))
draw = np.random.default_rng(0)
wide, tiles = 64, 6000
kinds = draw.normal(size=(30, wide))
tissue = (kinds[draw.integers(0, 30, tiles)] + 0.5 * draw.normal(size=(tiles, wide))).astype(np.float32)
blank = draw.normal(size=(1, wide)).astype(np.float32)
asked = tissue[:200]


def by_usearch(features):
    index = Index(ndim=wide, metric="l2sq", dtype="f32")
    index.add(np.arange(len(features)), features, threads=1)
    return index.search(asked, 10, threads=1).keys.astype(int)


def by_faiss(features):
    faiss.omp_set_num_threads(1)
    index = faiss.IndexHNSWFlat(wide, 32)
    index.add(features)
    return index.search(asked, 10)[1]


def by_hnswlib(features):
    index = hnswlib.Index("l2", wide)
    index.init_index(len(features), random_seed=0)
    index.add_items(features, num_threads=1)
    return index.knn_query(asked, 10, num_threads=1)[0].astype(int)


def far(features):
    return ((asked[:, None] - features) ** 2).sum(-1)


tenth = np.sort(np.concatenate([far(part) for part in np.array_split(tissue, 20)], 1), 1)[:, 9]
print("expected: of the ten nearest tiles of a tile of tissue nearly all, with and without blank tiles in the index (none of which is among the nearest)")
found = {}
for glass in (0, 1000, 4000):
    for order in ("first", "among them")[: 1 + bool(glass)]:
        features = np.concatenate([np.repeat(blank, glass, 0), tissue])
        if order != "first":
            features = features[draw.permutation(len(features))]
        for package in (by_usearch, by_faiss, by_hnswlib):
            rows = package(features)
            near = ((asked[:, None] - features[rows]) ** 2).sum(-1) <= tenth[:, None] * 1.0001 + 1e-4
            found[package.__name__, glass, order] = near.mean()
        names = ", ".join(f"{package.__name__[3:]} {found[package.__name__, glass, order]:.0%}" for package in (by_usearch, by_faiss, by_hnswlib))
        print(f"seen:     {tiles} tiles of tissue" + (f", {glass} blank ones {order}" if glass else "") + f": {names}")
alone = min(share for (_, glass, _), share in found.items() if not glass)
worst = {package: min(share for (name, _, _), share in found.items() if name == package) for package in ("by_usearch", "by_faiss", "by_hnswlib")}
raise SystemExit(0 if alone > 0.95 and max(worst.values()) < 0.8 and min(worst.values()) < 0.5 else "no longer as stated")
PYTHON
