"""Bags of similar size side by side: groups that waste little, the way back, and gradients as in a loop."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from asmil.bags import Bag, BagBatch
from asmil.models import create_model
from asmil.models.parts.layers import pool
from asmil.models.parts.neighbours import AT_ONCE, FREE, pack, similar, stack
from asmil.models.parts.nystrom import pseudo_inverse


@pytest.mark.parametrize("sizes", [[10_000, 3, 5, 4, 200, 210, 90], [7], [300] * 100, list(range(1, 500, 7))], ids=len)
def test_groups_hold_every_bag_once_and_waste_little(sizes):
    groups = similar(sizes)
    assert sorted(bag for group in groups for bag in group) == list(range(len(sizes)))
    for group in groups:
        longest = max(sizes[bag] for bag in group)
        assert sizes[group[0]] == longest
        assert all(longest <= 1.5 * sizes[bag] or longest - sizes[bag] <= FREE for bag in group)
        assert len(group) == 1 or longest * len(group) <= AT_ONCE


def test_few_groups_where_sizes_are_alike():
    assert len(similar([8, 3, 12, 5, 9, 30])) == 1
    assert len(similar([200, 240, 180, 210])) == 1


def test_padding_counts_in_every_copy():
    """64 regions of 16 places are not padded to 169, one region is."""
    assert similar([169, 16], copies=[64, 64]) == [[0], [1]]
    assert similar([169, 16], copies=[64, 1]) == [[0, 1]]


def test_packed_again_in_the_order_of_the_batch():
    lengths = [2, 500, 1, 490]
    batch = BagBatch.from_bags([Bag(torch.full((n, 1), float(i))) for i, n in enumerate(lengths)])
    groups = similar(lengths)
    assert len(groups) == 2
    bags = batch.split(batch.features)
    padded = [torch.nn.utils.rnn.pad_sequence([bags[bag] for bag in group], batch_first=True) for group in groups]
    assert torch.equal(pack(padded, batch, groups), batch.features)
    assert stack([part[:, 0, 0] for part in padded], groups).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["transmil", "camil", "rrt"])
def test_gradients_of_a_batch_are_those_of_a_loop(name):
    """Sizes that are padded together, and one that is not."""
    torch.manual_seed(0)
    model = create_model(name, in_dim=12, n_classes=2, dim=16, heads=2).double().eval()
    bags = [Bag(torch.randn(n, 12, dtype=torch.float64), label=0) for n in (7, 40, 1, 400, 23)]

    def gradients(batches):
        model.zero_grad()
        for batch in batches:
            output = model(batch)
            (output.logits.sin().sum() + output.scores.sin().sum() + output.attention.square().sum()).backward()
        return {key: p.grad.clone() for key, p in model.named_parameters() if p.grad is not None}

    together, alone = gradients([BagBatch.from_bags(bags)]), gradients(map(BagBatch.from_bags, bags))
    for key in alone:
        torch.testing.assert_close(together[key], alone[key])


def test_gradient_of_the_pseudo_inverse():
    matrix = torch.rand(2, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(pseudo_inverse, (matrix,))


def test_the_pseudo_inverse_of_several_models_at_once():
    matrices = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    together = torch.vmap(pseudo_inverse, in_dims=1)(matrices)  # the models along another dimension than the first
    alone = torch.stack([pseudo_inverse(matrix) for matrix in matrices.unbind(1)])
    torch.testing.assert_close(together, alone)
    gradients = [torch.autograd.grad(inverse.sin().sum(), matrices)[0] for inverse in (together, alone)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("lengths", [(5, 3, 4), (9, 5000)], ids=["padded", "bag by bag"])
def test_pooling_is_a_product_for_each_bag(lengths):
    batch, weights = BagBatch.from_bags([Bag(torch.randn(n, 6)) for n in lengths]), torch.rand(sum(lengths), 2)
    wanted = torch.stack([w.T @ x for w, x in zip(batch.split(weights), batch.split(batch.features), strict=True)])
    torch.testing.assert_close(pool(weights, batch.features, batch.layout), wanted)


def test_pooling_of_small_bags_is_one_product_that_waits_for_no_value():
    """Fake tensors raise where the host would have to wait for a value."""
    with FakeTensorMode(), FlopCounterMode(display=False) as counter:
        fake = BagBatch.from_bags([Bag(torch.randn(n, 6)) for n in (5, 3, 4)])
        assert pool(torch.rand(12, 2), fake.features, fake.layout).shape == (3, 2, 6)
    assert counter.get_total_flops() == 2 * 3 * 5 * 2 * 6  # all padded to 5 tiles
