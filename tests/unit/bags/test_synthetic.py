"""Synthetic bags have the truth they claim."""

import torch

from asmil.bags import BagBatch, make_bags


def test_shapes_labels_and_seed():
    bags, truth = make_bags(6, tiles=(5, 9), dim=4, n_classes=3, seed=1)
    assert [bag.label for bag in bags] == [0, 1, 2, 0, 1, 2]
    assert all(5 <= len(bag) <= 9 and len(t) == len(bag) for bag, t in zip(bags, truth, strict=True))
    assert [bool(t.any()) for t in truth] == [False, True, True] * 2
    assert all(len(bag.level0_xy.unique(dim=0)) == len(bag) for bag in bags)
    again, other = make_bags(6, tiles=(5, 9), dim=4, n_classes=3, seed=1)[0], make_bags(6, dim=4, seed=2)[0]
    assert torch.equal(bags[3].features, again[3].features)
    assert not torch.equal(bags[0].features[:5], other[0].features[:5])
    assert len(BagBatch.from_bags(bags)) == 6


def test_planted_tiles_stand_out_by_the_shift():
    bags, truth = make_bags(40, tiles=(200, 300), dim=8, positive_fraction=0.3, shift=5.0)
    positive = torch.cat([bag.features[t] for bag, t in zip(bags, truth, strict=True)])
    negative = torch.cat([bag.features[~t] for bag, t in zip(bags, truth, strict=True)])
    assert abs(float((positive.mean(0) - negative.mean(0)).norm()) - 5) < 0.3
    share = [float(t.float().mean()) for t in truth[1::2]]
    assert all(abs(s - 0.3) < 0.01 for s in share)
