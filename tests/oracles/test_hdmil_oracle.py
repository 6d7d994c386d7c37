"""HDMIL against its formulas in numpy, bag by bag and class by class, with known noise."""

import numpy as np
import pytest
import torch
from numpy.polynomial import chebyshev

from asmil.attention import kl_divergence
from asmil.bags.bag import Bag, BagBatch
from asmil.models import create_model, hdmil

LENGTHS = (9, 1, 30)


def bags_of(*lengths):
    generator = torch.Generator().manual_seed(4)
    return [Bag(torch.randn(n, 12, generator=generator), label=i % 3) for i, n in enumerate(lengths)]


def model_of(**options):
    torch.manual_seed(0)
    model = create_model("hdmil", in_dim=12, n_classes=3, **{"dim": 16, "hidden": 8, "dropout": 0, "k": 2, **options})
    with torch.no_grad():
        model.attention.score.weight.mul_(8)  # else every score is near 0
    return model


def softmax(x, axis=-1):
    weights = np.exp(x - x.max(axis, keepdims=True))
    return weights / weights.sum(axis, keepdims=True)


class Oracle:
    """One bag: tiles, scores, and the two poolings with their logits, for a mask (tiles, classes)."""

    def __init__(self, model):
        self.p = {name: value.detach().double().numpy() for name, value in model.state_dict().items()}

    def linear(self, x, name):
        return x @ self.p[f"{name}.weight"].T + self.p[f"{name}.bias"]

    def scores(self, features):
        tiles = np.maximum(self.linear(features.double().numpy(), "projection.linear"), 0)
        gate = 1 / (1 + np.exp(-self.linear(tiles, "attention.gate")))
        return tiles, self.linear(np.tanh(self.linear(tiles, "attention.tanh")) * gate, "attention.score")

    def classify(self, pooled):
        """numpy's own Chebyshev series, one for each class and feature."""
        logits = np.zeros(3)
        for c in range(3):
            for d in range(16):
                logits[c] += chebyshev.chebval(np.tanh(pooled[c, d]), self.p["classifier.weight"][:, c, d])
        return logits

    def pool(self, tiles, scores, mask):
        """Attention (tiles, classes) and what it pools, over the kept tiles of each class, or all if none is."""
        attention = np.zeros_like(scores)
        for c in range(3):
            rows = np.flatnonzero(mask[:, c]) if mask[:, c].any() else np.arange(len(tiles))
            attention[rows, c] = softmax(scores[rows, c])
        return attention, attention.T @ tiles

    def instances(self, tiles, attention, label):
        """The smooth SVM on the 2 most and 2 least attended tiles of the true class."""
        k = min(2, max(len(tiles) // 2, 1))
        order = np.argsort(-attention[:, label])
        chosen = [(i, 1) for i in order[:k]] + [(i, 0) for i in (order[::-1][:k] if len(tiles) > 1 else [])]
        losses = []
        for index, target in chosen:
            two = self.linear(tiles[index], "instances.linear").reshape(3, 2)[label]
            losses.append(np.log(np.exp(two[target]) + np.exp(two[1 - target] + 1)) - two[target])
        return np.mean(losses)


def same(found, wanted):
    np.testing.assert_allclose(found.detach().numpy(), np.array(wanted), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("degree", [1, 12])
@pytest.mark.parametrize("evaluate_on", ["kept", "all"])
def test_evaluation_in_numpy(degree, evaluate_on):
    model = model_of(degree=degree, evaluate_on=evaluate_on).eval()
    oracle, bags = Oracle(model), bags_of(*LENGTHS)
    output = model(BagBatch.from_bags(bags))
    rows = [oracle.scores(bag.features) for bag in bags]
    pooled = [oracle.pool(tiles, scores, (scores > 0) | (evaluate_on == "all")) for tiles, scores in rows]
    share = np.mean(np.concatenate([scores for _, scores in rows]) > 0)
    assert 0.1 < share < 0.9  # masks that mask something
    same(output.scores, np.concatenate([scores for _, scores in rows]))
    same(output.attention, np.concatenate([attention.mean(1) for attention, _ in pooled]))
    same(output.embedding, [vectors.ravel() for _, vectors in pooled])
    same(output.logits, [oracle.classify(vectors) for _, vectors in pooled])
    assert output.losses == {}


def test_training_in_numpy(monkeypatch):
    model = model_of(keep=0.7).train()
    oracle, bags = Oracle(model), bags_of(*LENGTHS)
    uniform = torch.rand(sum(LENGTHS), 3, generator=torch.Generator().manual_seed(1))
    monkeypatch.setattr(hdmil, "uniform", lambda shape, device: uniform)
    output = model(BagBatch.from_bags(bags))
    wanted = {"logits": [], "features": [], "kept": [], "instances": []}
    logits = []
    for bag, noise in zip(bags, np.split(uniform.double().numpy(), np.cumsum(LENGTHS)[:-1]), strict=True):
        tiles, scores = oracle.scores(bag.features)
        mask = 1 / (1 + np.exp(-(scores + np.log(noise / (1 - noise))) / 0.7)) > 0.5
        attention, full = oracle.pool(tiles, scores, np.ones_like(mask))
        _, kept = oracle.pool(tiles, scores, mask)
        logits.append(oracle.classify(full))
        p, q = softmax(logits[-1]), softmax(oracle.classify(kept))
        wanted["logits"].append(0.5 * (p * np.log(p / q)).sum())
        wanted["features"].append(0.5 * ((full - kept) ** 2).mean())
        wanted["kept"].append(2 * (mask.any(1).mean() - 0.7) ** 2)
        wanted["instances"].append(0.3 * oracle.instances(tiles, attention, bag.label))
    same(output.logits, logits)
    assert output.losses.keys() == wanted.keys()
    for name, values in wanted.items():
        same(output.losses[name], np.array(values) / 0.7)
        assert np.max(values) > 1e-3


def test_without_labels_only_the_instance_loss_is_missing():
    model = model_of().train()
    unlabelled = [Bag(bag.features) for bag in bags_of(*LENGTHS)]
    assert set(model(BagBatch.from_bags(unlabelled)).losses) == {"logits", "features", "kept"}


def test_a_mask_that_keeps_nothing_uses_all_tiles():
    model = model_of().eval()
    with torch.no_grad():
        model.attention.score.bias.fill_(-1e3)
    output = model(BagBatch.from_bags(bags_of(20)))
    assert (output.attention > 0).all()
    torch.testing.assert_close(output.attention, output.scores.softmax(0).mean(1))


def test_the_masks_gradient_moves_the_share_of_kept_tiles():
    """Steps on the loss of the share alone bring it to `keep`, through a hard mask."""
    model = model_of(keep=0.2).train()
    batch = BagBatch.from_bags(bags_of(200))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    torch.manual_seed(2)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = model(batch).losses["kept"].mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 0.1
    assert np.mean(losses[-10:]) < 0.1 * losses[0]


@pytest.mark.parametrize("scale", [0.1, 1, 30])
def test_its_divergence_is_the_one_of_attention(scale):
    target, logits = torch.from_numpy(np.random.default_rng(0).normal(0, scale, (2, 7, 4)))
    found = hdmil._divergence(target, logits)
    expected = kl_divergence(target.log_softmax(1), logits.log_softmax(1), each=True)
    torch.testing.assert_close(found, expected)
