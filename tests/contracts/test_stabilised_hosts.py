"""The stabiliser on other people's models: exactly nothing at the start, and then the formula of the method."""

import pytest
import torch

from asmil.attention import AttentionStabilizer
from asmil.bags.bag import Bag, BagBatch
from asmil.models import create_model

HOSTS = {
    "clam_sb": {"dropout": 0},
    "clam_mb": {"dropout": 0},
    "dsmil": {"dropout": 0},
    "aem": {"dropout": 0},
    "transformer": {"dropout": 0, "feature_dropout": 0},
}
GENERATOR = torch.Generator().manual_seed(0)
BATCH = BagBatch.from_bags([Bag(torch.randn(n, 12, generator=GENERATOR), label=i) for i, n in enumerate((9, 1, 33))])

every_host = pytest.mark.parametrize(("name", "options"), HOSTS.items(), ids=HOSTS)


def make_host(name, options):
    torch.manual_seed(0)
    return create_model(name, in_dim=12, n_classes=3, **options).train()


@every_host
def test_an_anchor_equal_to_the_model_costs_nothing(name, options):
    model = make_host(name, options)
    stabilizer = AttentionStabilizer(model, anchor_normalizer="softmax")
    model(BATCH)
    assert stabilizer.loss().item() == 0


@every_host
def test_a_step_is_stabilised_by_the_formula(name, options):
    """beta * mean over bags and rows of sum_i p'_i (log p'_i - log p_i), p' the NSF of the anchor's scores."""
    model = make_host(name, options)
    stabilizer = AttentionStabilizer(model, beta=0.5)
    with torch.no_grad():
        anchored = model.eval()(BATCH).scores
    model.train()(BATCH)
    stabilizer.loss()  # the anchor starts here
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    output = model(BATCH)
    loss = stabilizer.loss()
    terms = []
    for target, online in zip(BATCH.split(anchored.double()), BATCH.split(output.scores.double()), strict=True):
        sigmoid = 1 / (1 + torch.exp(-target))
        target = sigmoid / sigmoid.sum(0)
        online = torch.exp(online) / torch.exp(online).sum(0)
        terms.append((target * (target / online).log()).sum(0).mean())
    torch.testing.assert_close(loss.double(), 0.5 * torch.stack(terms).mean(), rtol=1e-3, atol=1e-6)
    assert loss > 1e-5
    loss.backward()
    optimizer.step()
    stabilizer.update()
    assert all(p.isfinite().all() for p in model.parameters())
