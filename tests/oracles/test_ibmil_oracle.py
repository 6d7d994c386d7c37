"""IBMIL's classifier in numpy, and its stages on bags of known clusters."""

import numpy as np
import pytest
import torch

from asmil.bags import Bag, BagBatch
from asmil.models import create_model


def bags_of(*lengths):
    generator = torch.Generator().manual_seed(4)
    return [Bag(torch.randn(n, 12, generator=generator), label=i % 2) for i, n in enumerate(lengths)]


def model_of(**options):
    torch.manual_seed(0)
    return create_model("ibmil", in_dim=12, n_classes=3, **{"dim": 16, "hidden": 8, **options}).eval()


def softmax(x):
    weights = np.exp(x - x.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


@pytest.mark.parametrize("merge", ["cat", "add", "sub"])
@pytest.mark.parametrize("found", [5, 3])
def test_ibmil_in_numpy(merge, found):
    model = model_of(merge=merge, confounders=5)
    generator = np.random.default_rng(0)
    confounders = generator.normal(size=(found, 16)) * 3
    model.classifier.fill(torch.from_numpy(confounders).float())
    p = {name: value.double().numpy() for name, value in model.state_dict().items()}

    def linear(x, name):
        return x @ p[f"{name}.weight"].T + p.get(f"{name}.bias", 0)

    bags, expected = bags_of(9, 1, 30), []
    output = model(BagBatch.from_bags(bags))
    for index, bag in enumerate(bags):
        tiles = np.maximum(linear(bag.features.double().numpy(), "projection.linear"), 0)
        scores = linear(np.tanh(linear(tiles, "tanh")) / (1 + np.exp(-linear(tiles, "gate"))), "score")[:, 0]
        bag_vector = softmax(scores) @ tiles
        query = linear(bag_vector, "classifier.query")
        context = softmax(linear(confounders, "classifier.key") @ query / np.sqrt(128)) @ confounders
        merged = {
            "cat": np.concatenate([bag_vector, context]),
            "add": bag_vector + context,
            "sub": bag_vector - context,
        }[merge]
        expected.append(linear(merged, "classifier"))
        np.testing.assert_allclose(output.embedding[index].detach(), bag_vector, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(output.logits.detach(), np.stack(expected), rtol=1e-4, atol=1e-5)


def test_without_prepare_it_is_its_host():
    model, host = model_of(), create_model("abmil", in_dim=12, n_classes=3, dim=16, hidden=8).eval()
    state = {k: v for k, v in model.state_dict().items() if not k.startswith("classifier")}
    weight = {"classifier.weight": model.classifier.weight[:, :16], "classifier.bias": model.classifier.bias}
    host.load_state_dict({**state, **weight})
    batch = BagBatch.from_bags(bags_of(9, 20))
    torch.testing.assert_close(model(batch).logits, host(batch).logits)


class Stage:
    """A `train_stage` that keeps what it was given, with weights that make embeddings the means of the tiles."""

    def __call__(self, module):
        self.module = module
        with torch.no_grad():
            module.projection.linear.weight.copy_(torch.eye(16, 12))
            module.projection.linear.bias.zero_()
            module.score.weight.zero_()
        return module


def clustered(count):
    """Bags of two tiles whose means lie in one of three directions, at different distances."""
    directions = torch.eye(12)[:3]
    means = [directions[i % 3] * (1 + i) for i in range(count)]
    return [Bag(torch.stack([0.5 * mean, 1.5 * mean]), label=0) for mean in means]


def test_prepare_finds_the_clusters_and_averages_bags_as_they_are():
    model, stage, train = model_of(confounders=3), Stage(), clustered(9)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    model.prepare(train, stage)
    assert type(stage.module).__name__ == "ABMIL"
    assert stage.module.tanh.weight.shape == (8, 16)  # the model's own options
    wanted = torch.eye(16)[:3] * torch.tensor([[4.0], [5.0], [6.0]])  # means of 1, 4, 7; 2, 5, 8; 3, 6, 9
    found = model.classifier.confounders
    torch.testing.assert_close(found[found.argmax(1).argsort()], wanted)
    assert model.classifier.present.all()
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name])  # stage three starts from scratch


def test_prepare_with_fewer_kinds_of_bags_than_confounders():
    model = model_of(confounders=8)
    model.prepare([*clustered(3), *clustered(3)], Stage())
    assert model.classifier.present.tolist() == [True] * 3 + [False] * 5
    assert model.classifier.confounders[3:].abs().max() == 0
    assert model(BagBatch.from_bags(bags_of(4))).logits.isfinite().all()


def test_every_parameter_learns_once_there_are_confounders():
    model = model_of().train()
    model.prepare(bags_of(5, 6, 7, 8, 9), lambda module: module)
    model(BagBatch.from_bags(bags_of(9, 20))).logits.square().sum().backward()
    still = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert set(still) <= {"score.bias"}  # a softmax does not see the level of all scores
    other = model_of()
    other.load_state_dict(model.state_dict())
    batch = BagBatch.from_bags(bags_of(6))
    assert torch.equal(other(batch).logits, model.eval()(batch).logits)
