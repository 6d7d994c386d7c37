"""MHIM against its formulas in plain numpy: every mask the text allows occurs, and no other."""

import copy
import math
from itertools import combinations

import numpy as np
import pytest
import torch

from asmil.attention import AttentionStabilizer
from asmil.bags import Bag, BagBatch
from asmil.errors import ConfigError
from asmil.models import create_model


def make(*lengths, seed=0, **options):
    """A model whose teacher differs from its student, and bags."""
    torch.manual_seed(seed)
    model = create_model("mhim", in_dim=10, n_classes=3, dim=16, hidden=8, **{"dropout": 0, **options}).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    generator = torch.Generator().manual_seed(5)
    bags = [
        Bag(torch.randn(n, 10, generator=generator, dtype=torch.float64), label=i % 3) for i, n in enumerate(lengths)
    ]
    return model, bags


def abmil(model, branch, x):
    """scores, weights, embedding and logits of one branch on these tiles."""
    p = {name: value.numpy() for name, value in model.state_dict().items()}

    def linear(y, name):
        return y @ p[f"{branch}.{name}.weight"].T + p[f"{branch}.{name}.bias"]

    h = np.maximum(linear(x, "projection.linear"), 0)
    scores = linear(np.tanh(linear(h, "tanh")), "score")[:, 0]
    weights = np.exp(scores - scores.max())
    weights /= weights.sum()
    return scores, weights, weights @ h, linear(weights @ h, "classifier")


def possible_masks(attention, *, random, low, high, share):
    """All sets of masked tiles that can come out, by the text."""
    n, found = len(attention), set()
    order = np.argsort(attention)
    for first in combinations(range(n), math.ceil(n * random)):
        masked = set(first)
        masked |= set(order[: math.ceil((n - len(masked)) * low)])
        pool = order[::-1][: math.ceil((n - len(masked)) * high / share)]
        for last in combinations(pool, math.ceil(len(pool) * share)):
            found.add(frozenset(int(i) for i in masked | set(last)))
    return {frozenset() if len(mask) == n else mask for mask in found}


@pytest.mark.parametrize(
    ("random", "low", "high", "share"),
    [(0.5, 0.0, 0.4, 0.5), (0.25, 0.3, 0.3, 0.5), (0.0, 0.4, 0.3, 1.0), (0.0, 0.0, 0.5, 0.5), (0.6, 0.6, 0.6, 0.8)],
)
def test_masks_and_losses_in_numpy(random, low, high, share):
    model, (bag,) = make(5, mask_random=random, mask_low=low, mask_high=high, high_share=share, consistency=0.3)
    x, batch = bag.features.numpy(), BagBatch.from_bags(bag)
    _, attention, teacher, _ = abmil(model, "teacher", x)
    target = np.exp(teacher / 0.1) / np.exp(teacher / 0.1).sum()
    possible, seen = possible_masks(attention, random=random, low=low, high=high, share=share), set()
    for _ in range(40 * len(possible)):
        output = model.train()(batch)
        mask = frozenset(np.flatnonzero(output.attention.detach() == 0).tolist())
        assert mask in possible
        if mask not in seen:
            kept = [i for i in range(5) if i not in mask]
            _, weights, embedding, logits = abmil(model, "student", x[kept])
            np.testing.assert_allclose(output.attention.detach()[kept], weights, atol=1e-10)
            np.testing.assert_allclose(output.logits.detach()[0], logits, atol=1e-10)
            cross = -(target * (embedding - np.log(np.exp(embedding).sum()))).sum()
            np.testing.assert_allclose(float(output.losses["consistency"].detach()), 0.3 * cross, rtol=1e-5)
            np.testing.assert_allclose(output.scores.detach()[:, 0], abmil(model, "student", x)[0], atol=1e-10)
        seen.add(mask)
        if seen == possible:
            break
    assert seen == possible


def test_evaluation_is_the_students_and_takes_all_tiles():
    model, bags = make(9, 1, 4)
    output = model.eval()(BagBatch.from_bags(bags))
    wanted = [abmil(model, "student", bag.features.numpy()) for bag in bags]
    np.testing.assert_allclose(output.logits.detach(), np.stack([w[3] for w in wanted]), atol=1e-10)
    np.testing.assert_allclose(output.attention.detach(), np.concatenate([w[1] for w in wanted]), atol=1e-10)
    assert not output.losses


def test_the_high_mask_decays_by_a_cosine():
    model, (bag,) = make(100, mask_random=0, mask_high=0.4, high_share=1.0)
    batch = BagBatch.from_bags(bag)
    for progress, masked in ((0.0, 40), (0.25, 35), (0.5, 20), (0.75, 6), (1.0, 0)):  # 40 (1 + cos(pi p)) / 2, up
        model.progress.fill_(progress)
        found = int((model.train()(batch).attention == 0).sum())
        assert found == masked or (progress in (0.0, 0.5) and found == masked + 1)  # rounding of 100 * .4


def test_the_teacher_follows_and_gets_no_gradient():
    model, bags = make(9, momentum=0.9)
    model(BagBatch.from_bags(bags)).logits.sum().backward()
    before = copy.deepcopy(model.state_dict())
    model.after_step(0.25)
    assert float(model.progress) == 0.25
    for name, value in model.teacher.named_parameters():
        assert value.grad is None
        wanted = 0.9 * before[f"teacher.{name}"] + 0.1 * before[f"student.{name}"]
        np.testing.assert_allclose(value.detach(), wanted, atol=1e-12)
        assert torch.equal(model.state_dict()[f"student.{name}"], before[f"student.{name}"])


@pytest.mark.parametrize("pretrain", [True, False])
def test_prepare_starts_the_teacher_from_a_trained_baseline(pretrain):
    model, bags = make(9, pretrain=pretrain)
    before = copy.deepcopy(model.state_dict())
    stages = []

    def train_stage(module):
        assert module(BagBatch.from_bags(bags)).logits.requires_grad
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(1)
        stages.append(module)
        return module

    model.prepare(bags, train_stage)
    assert len(stages) == pretrain
    for name, value in model.state_dict().items():
        shifted = name.startswith(("teacher", "student.projection")) and pretrain
        rest = name.partition(".")[2]
        wanted = before[f"student.{rest}"] + 1 if shifted else before[name]
        assert torch.equal(value, wanted), name
    assert all(p.requires_grad for p in model.student.parameters())
    assert not any(p.requires_grad for p in model.teacher.parameters())


def test_stabilised():
    model, bags = make(30, 1, 8)
    batch = BagBatch.from_bags(bags)
    stabilizer = AttentionStabilizer(model, beta=1.0, anchor_normalizer="softmax")
    model.train()(batch)
    # The masks differ from call to call, what is aligned does not.
    assert float(stabilizer.loss().detach()) == pytest.approx(0, abs=1e-15)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model(batch)
    loss = stabilizer.loss()
    loss.backward()
    assert 0 < float(loss.detach()) < math.inf
    assert model.student.score.weight.grad.any()


def test_options_out_of_range():
    for options in ({"mask_random": 1.0}, {"high_share": 0}, {"temperature": 0}, {"momentum": 2}, {"consistency": -1}):
        with pytest.raises(ConfigError):
            create_model("mhim", in_dim=8, n_classes=2, **options)
