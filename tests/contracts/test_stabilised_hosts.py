"""The stabiliser on every model with attention: exactly nothing at the start, and then the formula of the method."""

import itertools

import pytest
import torch

from asmil.attention import AttentionStabilizer
from asmil.bags import Bag, BagBatch
from asmil.models import create_model, list_models, model_info, model_options

HOSTS = [name for name in list_models() if model_info(name).aligned]
RANDOM = ("dropout", "feature_dropout", "token_drop", "mask_random", "mask_high")
GENERATOR = torch.Generator().manual_seed(0)
LENGTHS = (9, 1, 33)
BATCH = BagBatch.from_bags(
    [
        Bag(
            torch.randn(n, 12, generator=GENERATOR),
            level0_xy=256 * torch.stack([torch.arange(n) % 4, torch.arange(n) // 4], 1),
            tile_level0_px=256.0,
            label=i,
        )
        for i, n in enumerate(LENGTHS)
    ]
)

every_host = pytest.mark.parametrize("name", HOSTS)


def make_host(name):
    torch.manual_seed(0)
    options = {option: 0.0 for option in RANDOM if option in model_options(name)}
    return create_model(name, in_dim=12, n_classes=3, **options).train()


@every_host
def test_an_anchor_equal_to_the_model_costs_nothing(name):
    model = make_host(name)
    stabilizer = AttentionStabilizer(model, anchor_normalizer="softmax", gated=False)
    model(BATCH)
    assert stabilizer.loss().item() == pytest.approx(0, abs=1e-7), "more than the rounding of a sum"


@every_host
def test_a_step_is_stabilised_by_the_formula(name):
    """beta * mean over segments and rows of sum_i p'_i (log p'_i - log p_i), p' the NSF of the anchor's scores."""
    model = make_host(name)
    stabilizer = AttentionStabilizer(model, gated=False, beta=0.5)
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
    order = torch.arange(sum(LENGTHS)) if output.score_order is None else output.score_order
    offsets = output.segments(BATCH.layout)[1].offsets
    terms = []
    for start, end in itertools.pairwise(offsets):
        target, online = (scores[order[start:end]].double() for scores in (anchored, output.scores))
        sigmoid = 1 / (1 + torch.exp(-target))
        target = sigmoid / sigmoid.sum(0)
        online = torch.exp(online) / torch.exp(online).sum(0)
        terms.append((target * (target / online).log()).sum(0).mean())
    torch.testing.assert_close(loss.double(), 0.5 * torch.stack(terms).mean(), rtol=1e-3, atol=1e-6)
    assert loss > 1e-6
    loss.backward()
    optimizer.step()
    stabilizer.update()
    assert all(p.isfinite().all() for p in model.parameters())
