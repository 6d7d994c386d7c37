#!/usr/bin/env bash
# What: fast-pytorch-kmeans takes features in half precision, and adds up each cluster, and counts it, in half precision too. Beyond 65,504 the sum is infinite, which becomes a centre of 65,504 in that
# feature; a count that is infinite makes the centre 0. Above 65,504 tiles of a kind all tiles are one cluster with its centre on 0, without a warning.
# Versions: fast-pytorch-kmeans 0.2.2, torch 2.13.0, against the same in single precision and scikit-learn 1.9.1. Seen 2026-12-01.
# Why it matters: features are stored in half precision, and kinds of tissue, prototypes and phenotypes are clustered over the tiles of a whole cohort. A trial on a few slides is right to three digits.
# Not reported there; kornia found the same in a rewrite of its own before it was merged: https://github.com/kornia/kornia/pull/4545
# That a cluster without tiles is put on the origin has an open report: https://github.com/DeMoriarty/fast_pytorch_kmeans/issues/29
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'fast-pytorch-kmeans==0.2.2' 'psutil==7.2.2' 'torch==2.13.0' 'numpy==2.4.6' 'scikit-learn==1.9.1'
cd "$folder"
OMP_NUM_THREADS=1 venv/bin/python - <<'PYTHON'
import importlib.metadata

import torch
from fast_pytorch_kmeans import KMeans
from sklearn.cluster import KMeans as ByScikit

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("fast-pytorch-kmeans", "torch", "scikit-learn")))
draw = torch.Generator().manual_seed(0)
kinds = torch.randn(4, 32, generator=draw) + 2 * torch.rand(4, 1, generator=draw)


def found(features, precision):
    """Sizes of the clusters, and how far the centres are from those of the four kinds; the first tile of each kind is the start."""
    start = features[:4].to(precision).clone()
    package = KMeans(4, mode="euclidean", max_iter=100)
    labels = package.fit_predict(features.to(precision), centroids=start)
    return torch.bincount(labels, minlength=4).tolist(), (package.centroids.float() - kinds).abs().max().item()


print("expected: tiles of four kinds of tissue, far apart and in equal numbers, are four clusters; features in half precision are as good for that as in single precision")
seen = {}
for tiles in (4_000, 40_000, 100_000, 300_000):
    features = kinds[torch.arange(tiles) % 4] + 0.3 * torch.randn(tiles, 32, generator=draw)
    seen[tiles] = {name: found(features, precision) for name, precision in (("single", torch.float32), ("half", torch.float16))}
    print(f"seen:     {tiles} tiles, largest of a feature {features.abs().max():.1f}: " + "; ".join(f"{name} precision {sizes}, centres {off:.2f} off" for name, (sizes, off) in seen[tiles].items()))
other = ByScikit(4, init=features[:4].half().numpy(), n_init=1).fit(features.half().numpy())
sizes = [int((other.labels_ == kind).sum()) for kind in range(4)]
print(f"seen:     {tiles} tiles by scikit-learn, given half precision: {sizes}")
right = all(set(seen[tiles]["single"][0]) == {tiles // 4} for tiles in seen)
small = all(set(seen[tiles]["half"][0]) == {tiles // 4} for tiles in (4_000, 40_000))
stated = right and small and max(seen[100_000]["half"][0]) > 60_000 and seen[300_000]["half"][0] == [300_000, 0, 0, 0] and set(sizes) == {75_000}
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
