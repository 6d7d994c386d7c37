"""A step with an anchor: nothing to align while the two are one, a loss with a gradient once they are not."""

import pytest
import torch

from asmil import AttentionStabilizer
from asmil.bags.bag import Bag, BagBatch
from asmil.models import create_model

NO_DROPOUT = {"ilra": {"dropout": 0}, "ibmil": {"dropout": 0}, "hdmil": {"dropout": 0}}


def batch_of(*lengths):
    generator = torch.Generator().manual_seed(3)
    return BagBatch.from_bags([Bag(torch.randn(n, 12, generator=generator), label=i) for i, n in enumerate(lengths)])


@pytest.mark.parametrize("name", NO_DROPOUT)
def test_anchor_and_model_part_and_are_pulled_together(name):
    torch.manual_seed(0)
    model = create_model(name, in_dim=12, n_classes=2, **NO_DROPOUT[name]).train()
    stabilizer = AttentionStabilizer(model, anchor_normalizer="softmax", beta=1.0)
    batch = batch_of(20, 7)
    model(batch)
    assert stabilizer.loss() == 0
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model(batch)
    loss = stabilizer.loss()
    loss.backward()
    assert loss.isfinite()
    assert loss > 1e-4
    assert model.projection.linear.weight.grad.abs().max() > 0
