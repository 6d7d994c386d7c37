#!/usr/bin/env bash
# What: an equivariant graph network (EGNN of egnn-pytorch) over tiles at their places in pixels. (1) In a batch with its mask, padding is put at a squared distance of 100,000, that is 316 px: tiles of 224 or 256 px, of which the 8 nearest should speak, hear the 4 beside them and not the diagonal ones, since padding is nearer; tiles of 512 px hear nobody. Padding itself is left out, so no wrong tile speaks, but the right ones do not. Alone, the same slide has all 8. (2) `valid_radius` is held against the squared distance: a radius of 3 tiles is one of 1.7. (3) Without a mask it is not applied at all: all 48 that are looked at speak; nor is `only_sparse_neighbors` where a tile has fewer neighbours than the largest number (a corner hears 4 for 2). (4) With an adjacency without the tiles themselves a tile takes one of its own neighbours' places (3 for 4).
# Who speaks is counted by the gradient of one tile's answer by all tiles' features: where it is exactly 0 a tile has no influence.
# Of the same author's En-transformer the first, second and fourth are right; the third is the same there.
# Versions: egnn-pytorch 0.2.8, En-transformer 1.6.6, torch 2.13.0. Seen 2026-12-01.
# Why it matters: places of tiles are in pixels of level 0. A slide alone and in a batch has two graphs, and in micrometres (128 for 256 px at .5) another; no shape and no error tells. Divide places by the side of a tile, square the radius, and always give a mask.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check 'egnn-pytorch==0.2.8' 'En-transformer==1.6.6' 'torch==2.13.0' 'numpy==2.4.6' 'einops==0.8.2' 'jaxtyping==0.3.11'
cd "$folder"
cat > trial.py <<'PYTHON'
import importlib.metadata
import warnings

warnings.simplefilter("ignore")
import torch
from egnn_pytorch import EGNN
from en_transformer import EnTransformer

for name in ("egnn-pytorch", "En-transformer", "torch"):
    print(name, importlib.metadata.version(name).split("+")[0], end="; ")
print()
SIDE, WIDTH, PADDING = 9, 16, 20
TILES, MIDDLE = SIDE * SIDE, SIDE * SIDE // 2
grid = torch.cartesian_prod(torch.arange(SIDE), torch.arange(SIDE)).float()
whole = torch.ones(TILES, dtype=torch.bool)
distance = torch.cdist(grid, grid)
beside = distance == 1


def heard(layer, places, mask=None, adjacency=None, tile=MIDDLE):
    features = torch.randn(1, len(places), WIDTH, generator=torch.Generator().manual_seed(1), requires_grad=True)
    answer = layer(features, places[None], mask=None if mask is None else mask[None], adj_mat=None if adjacency is None else adjacency.clone())[0]
    answer[0, tile].square().sum().backward()
    speaks = features.grad[0].abs().sum(1) > 0
    speaks[tile] = False
    return int(speaks.sum())


def egnn(nearest=0, **options):
    torch.manual_seed(0)
    return EGNN(dim=WIDTH, num_nearest_neighbors=nearest, init_eps=0.3, **options)


def transformer(nearest=0, valid_radius=float("inf"), **options):
    torch.manual_seed(0)
    return EnTransformer(dim=WIDTH, depth=1, heads=2, dim_head=32, neighbors=nearest, valid_neighbor_radius=valid_radius, **options)


def tell(expected, *seen):
    print("expected:", expected)
    print("seen:    ", *seen)


kinds = {"EGNN": egnn, "En-transformer": transformer}
found = {}
for name, make in kinds.items():
    eight = make(9)  # a tile is one of its own nearest
    for side in (1, 128, 224, 256, 512):
        padded = torch.cat([grid * side, torch.zeros(PADDING, 2)])
        found[name, "padded", side] = heard(eight, grid * side, whole), heard(eight, padded, torch.arange(len(padded)) < TILES)
    for radius in (1.5, 2, 3):
        near = make(49, valid_radius=radius)
        found[name, "radius", radius] = heard(near, grid, whole), heard(near, grid)
    adjacent = make(only_sparse_neighbors=True)
    itself = torch.eye(TILES, dtype=torch.bool)
    found[name, "corner"] = heard(adjacent, grid, whole, beside | itself, 0), heard(adjacent, grid, None, beside | itself, 0)
    found[name, "adjacent"] = heard(adjacent, grid, whole, beside | itself), heard(adjacent, grid, whole, beside)

sides = (1, 128, 224, 256, 512)
tell(f"8 nearest of tiles {sides} px apart, alone and in a batch with padding and mask: 8, 8", *(f"{name}: {[found[name, 'padded', side] for side in sides]};" for name in kinds))
true = [int((distance[MIDDLE] <= radius).sum()) - 1 for radius in (1.5, 2, 3)]
tell(f"within a radius of 1.5, 2, 3 tiles {true}, with a mask of True and without", *(f"{name}: {[found[name, 'radius', radius] for radius in (1.5, 2, 3)]};" for name in kinds))
tell("a corner of the grid has 2 neighbours, with a mask of True and without", *(f"{name}: {found[name, 'corner']};" for name in kinds))
tell("a tile in the middle has 4, with and without the diagonal in the adjacency", *(f"{name}: {found[name, 'adjacent']};" for name in kinds))
stated = [found["EGNN", "padded", side] for side in sides] == [(8, 8), (8, 8), (8, 4), (8, 4), (8, 0)]
stated &= all(found["En-transformer", "padded", side] == (8, 8) for side in sides)
stated &= true == [8, 12, 28] and [found["EGNN", "radius", radius] for radius in (1.5, 2, 3)] == [(4, 48), (8, 48), (8, 48)]
stated &= [found["En-transformer", "radius", radius] for radius in (1.5, 2, 3)] == [(8, 48), (12, 48), (28, 48)]
stated &= all(found[name, "corner"] == (2, 4) for name in kinds)
stated &= found["EGNN", "adjacent"] == (4, 3) and found["En-transformer", "adjacent"] == (4, 4)
raise SystemExit(0 if stated else "no longer as stated")
PYTHON
OMP_NUM_THREADS=1 venv/bin/python trial.py 2> said || { cat said >&2; exit 1; }
