"""RRT-MIL in plain numpy: every region and head on its own, padding never in it."""

import math

import numpy as np
import pytest
import torch

from asmil.bags import Bag, BagBatch
from asmil.models import create_model

HEADS = 2


def linear(p, x, name):
    return x @ p[f"{name}.weight"].T + p.get(f"{name}.bias", 0)


def normed(p, x, name):
    x = x - x.mean(1, keepdims=True)
    return x / np.sqrt((x**2).mean(1, keepdims=True) + 1e-5) * p[f"{name}.weight"] + p[f"{name}.bias"]


def softmax(logits, axis=-1):
    weights = np.exp(logits - logits.max(axis, keepdims=True))
    return weights / weights.sum(axis, keepdims=True)


def members_of_regions(n, regions):
    """The tiles of each region that has any, row by row."""
    side = math.ceil(math.sqrt(n))
    regions = max(1, min(regions, side // 4))
    while side % regions:
        side += 1
    places = np.arange(side * side).reshape(side, side)
    size = side // regions
    blocks = [places[r : r + size, c : c + size] for r in range(0, side, size) for c in range(0, side, size)]
    return [kept for block in blocks if len(kept := block.flatten()[block.flatten() < n])]


def attend(p, x, name):
    """Self-attention of a group of tokens, with EPEG where there is a kernel."""
    q, k, v = np.split(linear(p, x, f"{name}.qkv"), 3, axis=1)
    width = x.shape[1] // HEADS
    merged = np.empty_like(x)
    for head in range(HEADS):
        part = slice(head * width, (head + 1) * width)
        logits = q[:, part] @ k[:, part].T / math.sqrt(width)
        if f"{name}.position.weight" in p:
            kernel = p[f"{name}.position.weight"][head, 0, :, 0]
            shifted = np.full_like(logits, p[f"{name}.position.bias"][head])
            for i in range(len(x)):
                for tap, weight in enumerate(kernel):
                    j = i + tap - len(kernel) // 2
                    if 0 <= j < len(x):
                        shifted[i] = shifted[i] + weight * logits[j]
            logits = logits + shifted
        merged[:, part] = softmax(logits) @ v[:, part]
    return linear(p, merged, f"{name}.out")


def across_regions(p, x, members):
    logits = [x[tiles] @ p["cross.slots"] for tiles in members]  # (tokens, slots) of each region
    means = np.stack([softmax(z, 0).T @ x[tiles] for z, tiles in zip(logits, members, strict=True)])
    means = np.stack([attend(p, means[:, slot], "cross.attention") for slot in range(means.shape[1])], 1)
    out = np.zeros_like(x)
    for z, tiles, mean in zip(logits, members, means, strict=True):
        spread = np.maximum(z.max(0) - z.min(0), np.finfo(float).eps)
        out[tiles] = ((z - z.min(0)) / spread * softmax(z, 1)) @ mean
    return out


def rrt_of_one_bag(p, features, *, regions, shortcut):
    """Logits, attention and scores."""
    x = np.maximum(linear(p, features, "projection.linear"), 0)
    members = members_of_regions(len(x), regions)
    h, normal = x.copy(), normed(p, x, "region_norm")
    for tiles in members:
        h[tiles] += attend(p, normal[tiles], "region")
    h = h + across_regions(p, normed(p, h, "cross_norm"), members)
    h = normed(p, h + x if shortcut else h, "norm")
    scores = linear(p, np.tanh(linear(p, h, "score.0")), "score.2")
    attention = softmax(scores[:, 0])
    return linear(p, attention @ h, "classifier"), attention, scores


@pytest.mark.parametrize(
    "options", [{"regions": 8}, {"regions": 3, "kernel": 3, "slots": 1, "shortcut": False}, {"regions": 1}], ids=str
)
def test_rrt_in_numpy(options):
    torch.manual_seed(0)
    model = create_model("rrt", in_dim=12, n_classes=3, dim=16, heads=HEADS, hidden=8, **options).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:  # else ones and zeros: a swapped one would not show
                parameter.add_(torch.randn_like(parameter) * 0.3)
    p = {key: value.numpy() for key, value in model.state_dict().items()}
    # 1: one tile; 30: one region; 100 and 145: 2 x 2 and 3 x 3 with padding; 1025: 33 x 33 tiles in 40 x 40 places.
    lengths = (1, 30, 100, 145, 1025)
    bags = [Bag(torch.from_numpy(np.random.default_rng(n).normal(size=(n, 12))), label=0) for n in lengths]
    batch = BagBatch.from_bags(bags)
    with torch.no_grad():
        output = model(batch)
    for bag, attention, scores, logits in zip(
        bags, batch.split(output.attention), batch.split(output.scores), output.logits, strict=True
    ):
        settings = {"regions": options["regions"], "shortcut": options.get("shortcut", True)}
        wanted = rrt_of_one_bag(p, bag.features.numpy(), **settings)
        np.testing.assert_allclose(logits, wanted[0], atol=1e-9)
        np.testing.assert_allclose(attention, wanted[1], atol=1e-9)
        np.testing.assert_allclose(scores, wanted[2], atol=1e-9)
