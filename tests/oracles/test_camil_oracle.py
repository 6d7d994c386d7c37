"""CAMIL in plain numpy: neighbours by looking positions up, attention and similarity as whole matrices."""

import numpy as np
import pytest
import torch

from asmil.bags import Bag, BagBatch
from asmil.models import create_model

HEADS, LANDMARKS = 4, 8


def make_bags(*, coordinates):
    bags = []
    for n in (40, 1, 23):
        rng = np.random.default_rng(n)
        places = rng.permutation(81)[:n]  # a 9 x 9 grid with holes
        xy = torch.from_numpy(1000 + 224 * np.stack([places % 9, places // 9], 1)) if coordinates else None
        side = 224.0 if n != 23 else None  # else found from the coordinates
        bags.append(Bag(torch.from_numpy(rng.normal(size=(n, 12))), level0_xy=xy, label=0, tile_level0_px=side))
    return bags


def similarity(features, xy):
    """s (tiles, tiles): 0 for tiles that are not neighbours."""
    s = np.zeros((len(features), len(features)))
    for i in range(len(s)):
        around = [] if xy is None else [j for j in range(len(s)) if 0 < np.abs(xy[i] - xy[j]).max() <= 1.1 * 224]
        distances = np.array([np.linalg.norm(features[i] - features[j]) for j in around])
        s[i, around] = np.exp(-distances / np.sqrt((distances**2).sum()))
        s[i, i] = s[i].max() if around else 1
    return s


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def camil_of_one_bag(p, bag, nystrom):
    """Logits, attention and scores."""
    features = bag.features.numpy()
    x = np.maximum(features @ p["projection.linear.weight"].T + p["projection.linear.bias"], 0)
    context = {key.removeprefix("context."): value for key, value in p.items() if key.startswith("context.")}
    t = x + nystrom(context, x, heads=HEADS, landmarks=LANDMARKS)[0]
    q, k = t @ p["query.weight"].T, t @ p["key.weight"].T
    xy = None if bag.level0_xy is None else bag.level0_xy.numpy()
    u = (similarity(features, xy) * (q @ k.T / np.sqrt(q.shape[1]))).sum(1)
    alpha = np.exp(u - u.max()) / np.exp(u - u.max()).sum()
    local = alpha[:, None] * (x @ p["value.weight"].T + p["value.bias"])
    w = sigmoid(-local) ** 2
    o = 2 * local * w + 2 * t * (1 - w)
    scores = (np.tanh(o @ p["tanh.weight"].T) * sigmoid(o @ p["gate.weight"].T)) @ p["score.weight"].T
    attention = np.exp(scores[:, 0]) / np.exp(scores[:, 0]).sum()
    return attention @ o @ p["classifier.weight"].T + p["classifier.bias"], attention, scores


@pytest.mark.parametrize("coordinates", [True, False])
def test_camil_in_numpy(plain_nystrom, coordinates):
    torch.manual_seed(0)
    options = {"dim": 32, "heads": HEADS, "landmarks": LANDMARKS, "hidden": 16}
    model = create_model("camil", in_dim=12, n_classes=3, **options).double().eval()
    with torch.no_grad():
        for layer in (model.query, model.key, model.value):  # so that neighbours decide
            layer.weight.mul_(4)
    p = {key: value.numpy() for key, value in model.state_dict().items()}
    bags = make_bags(coordinates=coordinates)
    batch = BagBatch.from_bags(bags)
    with torch.no_grad():
        output = model(batch)
    for bag, attention, scores, logits in zip(
        bags, batch.split(output.attention), batch.split(output.scores), output.logits, strict=True
    ):
        wanted = camil_of_one_bag(p, bag, plain_nystrom)
        np.testing.assert_allclose(logits, wanted[0], atol=1e-9)
        np.testing.assert_allclose(attention, wanted[1], atol=1e-9)
        np.testing.assert_allclose(scores, wanted[2], atol=1e-9)


def test_neighbours_matter():
    """The comparison above would not see a model that leaves the neighbours out of the scores."""
    torch.manual_seed(0)
    model = create_model("camil", in_dim=12, n_classes=3, dim=32).double().eval()
    with torch.no_grad():
        there, gone = (model(BagBatch.from_bags(make_bags(coordinates=known))) for known in (True, False))
    assert (there.scores - gone.scores).abs().max() > 1e-6
