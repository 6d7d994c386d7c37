"""DSMIL against plain numpy and, for the bag classifier, the convolution the paper writes it as."""

import numpy as np
import pytest
import torch

from asmil.bags import Bag, BagBatch
from asmil.models import create_model

LENGTHS = (25, 1, 40)
BATCH = BagBatch.from_bags(
    [Bag(torch.from_numpy(np.random.default_rng(n).normal(size=(n, 12))), label=i) for i, n in enumerate(LENGTHS)]
)


def linear(p, x, name):
    return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]


def dsmil_of_one_bag(p, features, *, passing_v):
    """Scores, weights, pooled values, bag logits and the largest tile logits."""
    h = np.maximum(linear(p, features, "projection.linear"), 0)
    tile_logits = linear(p, h, "tile_classifier")
    queries = np.tanh(linear(p, np.maximum(linear(p, h, "query.0"), 0), "query.2"))
    values = np.maximum(linear(p, h, "value.0"), 0) if passing_v else h
    scores = np.empty_like(tile_logits)
    for c in range(3):
        critical = queries[max(range(len(h)), key=lambda i, c=c: tile_logits[i, c])]
        for i in range(len(h)):
            scores[i, c] = queries[i] @ critical / np.sqrt(len(critical))
    weights = np.exp(scores) / np.exp(scores).sum(0)
    pooled = np.stack([sum(weights[i, c] * values[i] for i in range(len(h))) for c in range(3)])
    kernel = torch.from_numpy(p["classifier.weight"]).reshape(3, 3, -1)  # (out, classes, dim): mixes all classes
    bias = torch.from_numpy(p["classifier.bias"])
    logits = torch.nn.functional.conv1d(torch.from_numpy(pooled)[None], kernel, bias).flatten().numpy()
    return scores, weights, pooled, logits, tile_logits.max(0)


@pytest.mark.parametrize("passing_v", [False, True])
def test_dsmil_in_numpy(passing_v):
    torch.manual_seed(0)
    model = create_model("dsmil", in_dim=12, n_classes=3, dim=16, hidden=32, dropout=0, passing_v=passing_v).double()
    with torch.no_grad():
        model.query[2].weight.mul_(20)
    p = {key: value.numpy() for key, value in model.state_dict().items()}
    output = model(BATCH)
    bags = zip(*map(BATCH.split, (BATCH.features, output.scores.detach(), output.attention.detach())), strict=True)
    for bag, (features, scores, attention) in enumerate(bags):
        wanted_scores, weights, pooled, logits, largest = dsmil_of_one_bag(p, features.numpy(), passing_v=passing_v)
        np.testing.assert_allclose(scores, wanted_scores, atol=1e-12)
        np.testing.assert_allclose(attention, weights.mean(1), atol=1e-12)
        np.testing.assert_allclose(output.embedding[bag].detach(), pooled.flatten(), atol=1e-12)
        np.testing.assert_allclose(output.logits[bag].detach(), logits, atol=1e-12)
        critical_loss = np.log(np.exp(largest).sum()) - largest[BATCH.labels[bag]]
        np.testing.assert_allclose(output.losses["critical"][bag].detach(), critical_loss, atol=1e-6)
    assert output.attention[-40:].max() > 1.5 / 40  # not the trivial, uniform map


def test_the_largest_tile_logit_alone_is_taught_by_the_critical_loss():
    torch.manual_seed(0)
    model = create_model("dsmil", in_dim=12, n_classes=3, dim=16, dropout=0).double()
    features = BATCH.features.clone().requires_grad_()
    model(BATCH.with_features(features)).losses["critical"].sum().backward()
    tiles = torch.relu(model.projection.linear(BATCH.features))
    winners = [bag.argmax(0).unique() for bag in BATCH.split(model.tile_classifier(tiles))]
    taught = [grad.abs().amax(1).nonzero().flatten() for grad in BATCH.split(features.grad)]
    assert all(torch.equal(a, b) for a, b in zip(winners, taught, strict=True))


def test_no_extra_loss_without_labels_or_in_evaluation():
    model = create_model("dsmil", in_dim=12, n_classes=3).double()
    assert not model.eval()(BATCH).losses
    assert not model.train()(BagBatch.from_bags(Bag(BATCH.features))).losses
