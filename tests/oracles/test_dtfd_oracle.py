"""DTFD-MIL against its formulas in plain numpy, pseudo-bag by pseudo-bag."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from asmil.attention import AttentionStabilizer
from asmil.bags import Bag, BagBatch
from asmil.errors import ConfigError
from asmil.models import create_model

LENGTHS = (21, 1, 6, 3)


def make(n_classes=3, **options):
    """A model whose rows are far from uniform, and four bags."""
    torch.manual_seed(0)
    options = {"in_dim": 10, "n_classes": n_classes, "dim": 16, "hidden": 8, "dropout": 0, **options}
    model = create_model("dtfd", **options).double()
    with torch.no_grad():
        for tier in (model.tier1, model.tier2):
            tier.attention.score.weight.mul_(10)
    generator = torch.Generator().manual_seed(5)
    bags = [
        Bag(torch.randn(n, 10, generator=generator, dtype=torch.float64), label=i % n_classes)
        for i, n in enumerate(LENGTHS)
    ]
    return model, bags


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def dtfd(model, x, label, *, split, distill):
    """scores, attention, logits and tier-1 loss of one bag whose tiles are split like this."""
    p = {name: value.numpy() for name, value in model.state_dict().items()}

    def linear(y, name):
        return y @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    def score(y, tier):
        gate = 1 / (1 + np.exp(-linear(y, f"{tier}.attention.gate")))
        return linear(np.tanh(linear(y, f"{tier}.attention.tanh")) * gate, f"{tier}.attention.score")[:, 0]

    h = np.maximum(x @ p["projection.linear.weight"].T, 0)
    scores, weights, losses, instances, owner = score(h, "tier1"), np.zeros(len(x)), [], [], []
    for index, tiles in enumerate(split):
        weights[tiles] = softmax(scores[tiles])
        contributions = weights[tiles, None] * h[tiles]
        losses.append(-np.log(softmax(linear(contributions.sum(0), "tier1.classifier"))[label]))
        probability = softmax(contributions @ p["tier1.classifier.weight"].T)
        like = probability[:, 1] if probability.shape[1] == 2 else probability.max(1)
        best, worst = h[tiles[int(like.argmax())]], h[tiles[int(like.argmin())]]
        new = {"afs": [contributions.sum(0)], "maxs": [best], "maxmins": [best, worst]}[distill]
        instances += new
        owner += [index] * len(new)
    instances = np.stack(instances)
    shares = softmax(score(instances, "tier2"))
    attention = np.zeros(len(x))
    for index, tiles in enumerate(split):
        attention[tiles] = weights[tiles] * shares[np.array(owner) == index].sum()
    return scores, attention, linear(shares @ instances, "tier2.classifier"), np.mean(losses)


def compare(model, bags, output, *, splits, distill):
    start = 0
    for index, (bag, split) in enumerate(zip(bags, splits, strict=True)):
        scores, attention, logits, loss = dtfd(model, bag.features.numpy(), bag.label, split=split, distill=distill)
        rows = slice(start, start + len(bag))
        np.testing.assert_allclose(output.scores.detach()[rows, 0], scores, atol=1e-10)
        np.testing.assert_allclose(output.attention.detach()[rows], attention, atol=1e-10)
        np.testing.assert_allclose(output.logits.detach()[index], logits, atol=1e-10)
        if output.losses:
            np.testing.assert_allclose(float(output.losses["tier1"][index].detach()), loss, atol=1e-6)
        start += len(bag)


def splits_of(output):
    """The pseudo-bags of each bag, tiles counted within the bag, as the output tells them."""
    segments = np.split(output.score_order.numpy(), output.score_layout.offsets.numpy()[1:-1])
    starts = np.cumsum([0, *LENGTHS])
    return [[segment - start for segment in segments if start <= segment[0] < end] for start, end in pairwise(starts)]


@pytest.mark.parametrize("distill", ["afs", "maxs", "maxmins"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_evaluation_in_numpy(distill, n_classes):
    model, bags = make(n_classes, distill=distill)
    output = model.eval()(BagBatch.from_bags(bags))
    splits = [[np.arange(n)[group::4] for group in range(min(4, n))] for n in LENGTHS]
    compare(model, bags, output, splits=splits, distill=distill)
    assert not output.losses
    assert output.attention[:21].max() > 2 / 21  # not the trivial, uniform map


@pytest.mark.parametrize("distill", ["afs", "maxs", "maxmins"])
def test_training_in_numpy(distill):
    model, bags = make(distill=distill)
    batch, seen = BagBatch.from_bags(bags), set()
    for _ in range(5):
        output = model.train()(batch)
        splits = splits_of(output)
        for split, length in zip(splits, LENGTHS, strict=True):
            assert sorted(np.concatenate(split)) == list(range(length))
            sizes = [len(part) for part in np.array_split(np.arange(length), min(4, length))]
            assert [len(part) for part in split] == sizes
        compare(model, bags, output, splits=splits, distill=distill)
        seen.add(tuple(output.score_order.tolist()))
    assert len(seen) == 5


def test_one_backward_pass_equals_two_optimisers():
    """Tier 1 learns from its own loss alone, tier 2 from the slide's alone."""
    model, bags = make()
    batch = BagBatch.from_bags(bags)

    def gradients(loss_of):
        torch.manual_seed(3)
        model.train().zero_grad()
        output = model(batch)
        loss_of(output.losses["tier1"].mean(), F.cross_entropy(output.logits, batch.labels)).backward()
        return {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}

    both = gradients(lambda first, second: first + second)
    first, second = gradients(lambda first, _: first), gradients(lambda _, second: second)
    for name, gradient in both.items():
        own, other = (second, first) if name.startswith("tier2") else (first, second)
        np.testing.assert_allclose(gradient, own[name], atol=1e-12)
        assert gradient.any() or name.endswith("attention.score.bias")  # softmax does not see its shift
        assert other[name] is None


@pytest.mark.parametrize("scores", ["auto", "tier1.attention"])
def test_stabilised_under_the_online_split(scores):
    """The loss is the mean over pseudo-bags of KL(NSF || softmax), in the online branch's random split."""
    model, bags = make()
    batch = BagBatch.from_bags(bags)
    equal = AttentionStabilizer(model, gated=False, scores=scores, beta=1.0, anchor_normalizer="softmax")
    model.train()(batch)
    assert float(equal.loss().detach()) == pytest.approx(0, abs=1e-15)
    equal.detach()

    stabilizer = AttentionStabilizer(model, gated=False, scores=scores, beta=0.5)
    model(batch)
    stabilizer.loss()  # the anchor starts here
    anchored = model.attention_scores(batch)[:, 0].detach().numpy()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    for _ in range(2):
        output = model(batch)
        loss = stabilizer.loss()
        online, terms = output.scores.detach().numpy()[:, 0], []
        for segment in np.split(output.score_order.numpy(), output.score_layout.offsets.numpy()[1:-1]):
            target = 1 / (1 + np.exp(-anchored[segment]))
            target /= target.sum()
            terms.append((target * np.log(target / softmax(online[segment]))).sum())
        assert len(terms) == 4 + 1 + 4 + 3
        assert 0 < float(loss.detach()) < math.inf
        np.testing.assert_allclose(float(loss.detach()), 0.5 * np.mean(terms), rtol=1e-9)
    loss.backward()
    assert model.tier1.attention.score.weight.grad.any()


def test_options_out_of_range():
    for options in ({"groups": 0}, {"distill": "mean"}, {"hidden": 0}):
        with pytest.raises(ConfigError):
            create_model("dtfd", in_dim=8, n_classes=2, **options)
