"""ACMIL against its formulas in plain numpy, the random masks found by trying all of them."""

from itertools import combinations, product

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from asmil.attention import AttentionStabilizer
from asmil.bags import Bag, BagBatch
from asmil.errors import ConfigError
from asmil.models import create_model
from asmil.models.parts.layers import Dropout

LENGTHS = (12, 1, 7)


def make(**options):
    """A model whose rows are far from uniform, its weights as numpy, and three bags."""
    torch.manual_seed(0)
    model = create_model("acmil", in_dim=10, n_classes=3, dim=16, dropout=0, **options).double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("attend.tokens"):
                parameter.copy_(torch.randn_like(parameter) * 15)
            elif "norm" in name:
                parameter.add_(torch.randn_like(parameter) * 0.3)
            elif "score.weight" in name:
                parameter.mul_(10)
    generator = torch.Generator().manual_seed(5)
    bags = [Bag(torch.randn(n, 10, generator=generator, dtype=torch.float64), label=i) for i, n in enumerate(LENGTHS)]
    return model, {name: value.numpy() for name, value in model.state_dict().items()}, bags


def linear(x, p, name):
    return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]


def softmax(z):
    e = np.exp(z - z.max(0))
    return e / e.sum(0)


def cross_entropy(logits, label):
    return float(np.log(np.exp(logits).sum()) - logits[label])


def layer_norm(x, weight, bias):
    return (x - x.mean()) / np.sqrt(x.var() + 1e-6) * weight + bias


def mean_cosine(rows):
    """Mean cosine over pairs of the columns of (tiles, tokens)."""
    pairs = [(rows[:, i], rows[:, j]) for i, j in combinations(range(rows.shape[1]), 2)]
    return np.mean([a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in pairs])


def gated(p, x, label, masked=()):
    """scores, attention, logits and losses of one bag; `masked` has (tile, token) pairs."""
    h = np.maximum(x @ p["projection.linear.weight"].T, 0)
    content = np.tanh(linear(h, p, "branches.scores.tanh"))
    scores = linear(content / (1 + np.exp(-linear(h, p, "branches.scores.gate"))), p, "branches.scores.score")
    z = scores.copy()
    for tile, token in masked:
        z[tile, token] = -np.inf
    rows = softmax(z)
    subs = [linear(rows[:, k] @ h, p, f"token_classifiers.{k}") for k in range(rows.shape[1])]
    attention = rows.mean(1)
    losses = {"tokens": np.mean([cross_entropy(sub, label) for sub in subs]), "diversity": mean_cosine(rows)}
    return scores, attention, linear(attention @ h, p, "classifier"), losses


def multihead(p, x, label):
    """The same of the multi-head variant: every token with its own projections, head by head."""
    h = np.maximum(x @ p["projection.linear.weight"].T, 0)
    a = {name.removeprefix("branches.attend."): value for name, value in p.items() if "attend" in name}
    tokens, dim = a["tokens"].shape
    heads, size = 8, dim // 8
    scores, subs = np.zeros((len(x), tokens, heads)), []
    for t in range(tokens):
        q, k, v = (
            y @ a[f"{name}.weight"][t].T + a[f"{name}.bias"][t]
            for name, y in (("query", a["tokens"][t]), ("key", h), ("value", h))
        )
        out = []
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            scores[:, t, head] = k[:, part] @ q[part] / np.sqrt(size)
            out.append(softmax(scores[:, t, head]) @ v[:, part])
        out = np.concatenate(out) @ a["out.weight"][t].T + a["out.bias"][t]
        subs.append(linear(layer_norm(out, a["norm_weight"][t], a["norm_bias"][t]), p, f"token_classifiers.{t}"))
    rows = softmax(scores)
    v = linear(h, p, "branches.value").reshape(-1, heads, size)
    slide = np.concatenate([rows[:, :, head].mean(1) @ v[:, head] for head in range(heads)])
    slide = layer_norm(linear(slide, p, "branches.out"), p["branches.norm.weight"], p["branches.norm.bias"])
    losses = {
        "tokens": np.mean([cross_entropy(sub, label) for sub in subs]),
        "diversity": np.mean([mean_cosine(rows[:, :, head]) for head in range(heads)]),
    }
    return scores.reshape(len(x), -1), rows.mean((1, 2)), linear(slide, p, "classifier"), losses


@pytest.mark.parametrize("variant", ["gated", "multihead"])
def test_acmil_in_numpy(variant):
    model, p, bags = make(attention=variant, tokens=3, masked_tiles=0, hidden=8)
    model.train()
    for module in model.modules():  # the dropout inside the cross-attention is fixed
        if isinstance(module, Dropout):
            module.p = 0.0
    batch = BagBatch.from_bags(bags)
    output = model(batch)
    oracle = {"gated": gated, "multihead": multihead}[variant]
    wanted = [oracle(p, bag.features.numpy(), bag.label) for bag in bags]
    scores, attention, logits, losses = zip(*wanted, strict=True)
    np.testing.assert_allclose(output.scores.detach(), np.concatenate(scores), atol=1e-10)
    np.testing.assert_allclose(output.attention.detach(), np.concatenate(attention), atol=1e-10)
    np.testing.assert_allclose(output.logits.detach(), np.stack(logits), atol=1e-10)
    for name in ("tokens", "diversity"):
        # The classifiers' logits are taken in float32 for the loss, as everywhere.
        np.testing.assert_allclose(output.losses[name].detach(), [loss[name] for loss in losses], atol=1e-6)
    assert softmax(scores[0]).max() > 3 / LENGTHS[0]  # rows far from uniform
    evaluated = model.eval()(batch)
    np.testing.assert_allclose(evaluated.logits.detach(), np.stack(logits), atol=1e-10)
    assert not evaluated.losses


def test_stkim_drops_a_random_one_of_the_three_strongest_of_each_row():
    model, p, bags = make(tokens=2, masked_tiles=3, mask_drop=0.5, hidden=8)
    bag, x = bags[0], bags[0].features.numpy()
    top = np.argsort(-gated(p, x, bag.label)[0], axis=0)[:3]
    candidates = list(product(top[:, 0], top[:, 1]))
    seen = set()
    for seed in range(40):
        torch.manual_seed(seed)
        output = model.train()(BagBatch.from_bags(bag))
        fits = []
        for first, second in candidates:
            _, attention, logits, losses = gated(p, x, bag.label, masked=[(first, 0), (second, 1)])
            if np.allclose(output.attention.detach(), attention, atol=1e-9):
                np.testing.assert_allclose(output.logits.detach()[0], logits, atol=1e-9)
                found = [float(output.losses[name].detach()) for name in ("tokens", "diversity")]
                np.testing.assert_allclose(found, [losses["tokens"], losses["diversity"]], atol=1e-6)
                fits.append((first, second))
        assert len(fits) == 1
        seen.update(fits)
    assert len(seen) > 5


def test_a_bag_shorter_than_the_mask_keeps_tiles():
    model, _, bags = make(tokens=2, masked_tiles=10, mask_drop=0.9)
    for bag, kept in zip(bags, (3, 1, 1), strict=True):  # 12 - 9 of the top 10, 1 - 0, 7 - 6
        one_row = model.train()(BagBatch.from_bags(bag)).attention
        assert kept <= int((one_row > 0).sum()) <= 2 * kept


@pytest.mark.parametrize("variant", ["gated", "multihead"])
def test_stabilised(variant):
    batch = BagBatch.from_bags(make()[2])
    model = make(attention=variant)[0].train()
    for normalizer, moved in (("softmax", False), ("nsf", True)):
        stabilizer = AttentionStabilizer(model, beta=1.0, anchor_normalizer=normalizer)
        output = model(batch)
        loss = stabilizer.loss()
        if not moved:
            assert float(loss.detach()) == pytest.approx(0, abs=1e-15)
        stabilizer.update()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)
        output = model(batch)
        loss = stabilizer.loss()
        assert loss.isfinite()
        assert float(loss.detach()) > 0
        (F.cross_entropy(output.logits, batch.labels) + loss).backward()
        stabilizer.detach()


def test_options_out_of_range():
    for options in ({"tokens": 1}, {"attention": "mean"}, {"mask_drop": 1.0}, {"masked_tiles": -1}, {"hidden": 0}):
        with pytest.raises(ConfigError):
            create_model("acmil", in_dim=8, n_classes=2, **options)
