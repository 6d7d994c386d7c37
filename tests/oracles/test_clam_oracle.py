"""CLAM against numpy: its attention, its heads, and its instance loss from the definition of the smooth SVM."""

from itertools import combinations

import numpy as np
import pytest
import torch

from asmil.bags import Bag, BagBatch
from asmil.models import create_model

LENGTHS = (25, 1, 3, 40)
BATCH = BagBatch.from_bags(
    [Bag(torch.from_numpy(np.random.default_rng(n).normal(size=(n, 12))), label=i % 3) for i, n in enumerate(LENGTHS)]
)


def make_clam(name, **options):
    """A model in training mode, without dropout, whose attention is far from uniform."""
    torch.manual_seed(0)
    model = create_model(name, in_dim=12, n_classes=3, dim=16, dropout=0, **options).double()
    with torch.no_grad():
        model.attention.score.weight.mul_(20)
    return model, {key: value.numpy() for key, value in model.state_dict().items()}


def softmax(x):
    e = np.exp(x - x.max(0))
    return e / e.sum(0)


def smooth_topk_svm(scores, target, *, k=1, alpha=1.0, tau=1.0):
    """Berrada et al. 2018: soft maximum over all sets of k classes, with the margin where the target is missing."""

    def soft_max(sets):
        return tau * np.log(
            sum(np.exp(((target not in s) * alpha + sum(scores[j] for j in s) / k) / tau) for s in sets)
        )

    sets = list(combinations(range(len(scores)), k))
    return soft_max(sets) - soft_max([s for s in sets if target in s])


def cross_entropy(scores, target):
    return np.log(np.exp(scores).sum()) - scores[target]


def embed(p, x):
    """The embedded tiles and their scores."""
    h = np.maximum(x @ p["projection.linear.weight"].T + p["projection.linear.bias"], 0)
    tanh = np.tanh(h @ p["attention.tanh.weight"].T + p["attention.tanh.bias"])
    gate = 1 / (1 + np.exp(-(h @ p["attention.gate.weight"].T + p["attention.gate.bias"])))
    return h, (tanh * gate) @ p["attention.score.weight"].T + p["attention.score.bias"]


def instance_loss(p, h, attention, *, label, k, loss, subtyping):
    k_most, k_least = min(k, max(len(h) // 2, 1)), min(k, len(h) // 2)
    total = 0.0
    for c in range(3):
        weight, bias = p["instances.linear.weight"][2 * c : 2 * c + 2], p["instances.linear.bias"][2 * c : 2 * c + 2]
        order = np.argsort(attention[:, c if attention.shape[1] == 3 else 0])
        most, least = order[len(h) - k_most :], order[:k_least]
        if c == label:
            terms = [loss(weight @ h[i] + bias, 1) for i in most] + [loss(weight @ h[i] + bias, 0) for i in least]
        else:
            terms = [loss(weight @ h[i] + bias, 0) for i in most] if subtyping else [0.0]
        total += np.mean(terms)
    return total / 3 if subtyping else total


@pytest.mark.parametrize("name", ["clam_sb", "clam_mb"])
def test_clam_in_numpy(name):
    model, p = make_clam(name)
    output = model(BATCH)
    for bag, (features, attention, scores) in enumerate(
        zip(*map(BATCH.split, (BATCH.features, output.attention, output.scores)), strict=True)
    ):
        h, wanted_scores = embed(p, features.numpy())
        wanted = softmax(wanted_scores)
        pooled = [wanted[:, c] @ h for c in range(wanted.shape[1])]
        logits = [
            p["classifier.weight"][c] @ pooled[c if name == "clam_mb" else 0] + p["classifier.bias"][c]
            for c in range(3)
        ]
        np.testing.assert_allclose(scores.detach(), wanted_scores, atol=1e-12)
        np.testing.assert_allclose(attention.detach(), wanted.mean(1), atol=1e-12)
        np.testing.assert_allclose(output.embedding[bag].detach(), np.concatenate(pooled), atol=1e-12)
        np.testing.assert_allclose(output.logits[bag].detach(), logits, atol=1e-12)
    assert output.scores.shape[1] == (3 if name == "clam_mb" else 1)
    assert output.attention[-40:].max() > 3 / 40  # not the trivial, uniform map


@pytest.mark.parametrize("name", ["clam_sb", "clam_mb"])
@pytest.mark.parametrize("loss", ["svm", "ce"])
@pytest.mark.parametrize("subtyping", [False, True])
@pytest.mark.parametrize("k", [8, 2])
def test_instance_loss_in_numpy(name, loss, subtyping, k):
    model, p = make_clam(name, instance_loss=loss, subtyping=subtyping, k=k, bag_weight=0.6)
    found = model(BATCH).losses["instances"].detach()
    plain = {"svm": smooth_topk_svm, "ce": cross_entropy}[loss]
    wanted = []
    for features, label in zip(BATCH.split(BATCH.features), BATCH.labels.tolist(), strict=True):
        h, scores = embed(p, features.numpy())
        term = instance_loss(p, h, softmax(scores), label=label, k=k, loss=plain, subtyping=subtyping)
        wanted.append(0.4 / 0.6 * term)
    np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_instance_loss_teaches_tiles_and_its_classifiers_but_not_the_ranking():
    model, _ = make_clam("clam_mb")
    model(BATCH).losses["instances"].sum().backward()
    assert model.projection.linear.weight.grad.abs().max() > 0
    assert (model.instances.linear.weight.grad.abs().amax(1) > 0).all()
    assert all(parameter.grad is None for parameter in model.attention.parameters())


def test_no_instance_loss_without_labels_or_in_evaluation():
    model, _ = make_clam("clam_sb")
    assert not model.eval()(BATCH).losses
    assert not model.train()(BagBatch.from_bags(Bag(BATCH.features))).losses
