#!/usr/bin/env bash
# What: ott-jax's distances of many pairs of bags at once (`segment_sinkhorn_divergence`, `segment_sinkhorn`) fill all bags up to the largest with rows of zeros, and take those rows
# into the mean cost from which the default regularisation comes: a pair has another distance for each company. With `epsilon=` said it is the same.
# Versions: ott-jax 0.6.0, jax 0.10.2. Seen 2026-12-01.
# Why it matters: which of two slides is nearer turns over with what else is in the batch. Features of encoders do not lie around zero, and the farther, the worse. `scale_cost` does the same with epsilon said.
# It was reported in 2022 (https://github.com/ott-jax/ott/issues/100) and closed; the documentation of these functions says that the default is a function of the mean cost, not that padding is in it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'ott-jax==0.6.0' 'jax==0.10.2' 'jaxlib==0.10.2' 'numpy==2.4.6'
cd "$folder"
JAX_PLATFORMS=cpu venv/bin/python - <<'PYTHON'
import importlib.metadata
import warnings

warnings.simplefilter("ignore")
import jax.numpy as jnp
import numpy as np
from ott.geometry.pointcloud import PointCloud
from ott.tools.segment_sinkhorn import segment_sinkhorn
from ott.tools.sinkhorn_divergence import segment_sinkhorn_divergence, sinkhorn_divergence

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("ott-jax", "jax")))
draw = np.random.default_rng(0)


def bag(tiles, mean):
    return jnp.array(3 + draw.normal(mean, 1, (tiles, 32)), dtype=jnp.float32)


first, second = (bag(40, 0), bag(40, 0.25)), (bag(300, 0), bag(300, 0.5))  # two pairs of slides, of 40 and of 300 tiles


def together(function, *pairs, **options):
    left, right = ([pair[side] for pair in pairs] for side in (0, 1))
    sizes = [jnp.array([len(one) for one in bags]) for bags in (left, right)]
    return np.asarray(function(jnp.concatenate(left), jnp.concatenate(right), num_per_segment_x=sizes[0], num_per_segment_y=sizes[1], **options))


alone = [float(sinkhorn_divergence(PointCloud, *pair)[0]) for pair in (first, second)]
print(f"expected: the distance of a pair of slides is the same in any company: {alone[0]:.1f} for the pair of 40 tiles, {alone[1]:.1f} for that of 300")
company = together(segment_sinkhorn_divergence, first, second)
print(f"seen:     segment_sinkhorn_divergence of both: {company[0]:.1f} and {company[1]:.1f}, so that the other pair is the nearer one")
single, cost = together(segment_sinkhorn, first)[0], together(segment_sinkhorn, first, second)[0]
print(f"seen:     segment_sinkhorn of the first: {single:.1f} by itself, {cost:.1f} beside the second")
said = [together(segment_sinkhorn_divergence, *pairs, epsilon=1.0)[0] for pairs in ((first,), (first, second))]
scaled = [together(segment_sinkhorn, *pairs, epsilon=0.05, scale_cost="max_cost")[0] for pairs in ((first,), (first, second))]
print(f"seen:     with epsilon=1 {said[0]:.2f} and {said[1]:.2f}; with epsilon=.05 and scale_cost='max_cost' {scaled[0]:.2f} and {scaled[1]:.2f}")
stated = alone[0] > alone[1] and company[0] < 0.85 * alone[0] and company[0] < company[1] and abs(company[1] - alone[1]) < 0.1 and cost > 1.1 * single
stated &= abs(said[0] - said[1]) < 0.01 * said[0] and abs(scaled[0] - scaled[1]) > 0.2 * scaled[0]
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
