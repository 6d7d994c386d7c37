"""Standardisation: statistics of the training bags only, equal bags, part of the weights."""

import numpy as np
import torch
from torch import nn

from asmil.bags import Bag, BagBatch, StreamedBag, make_bags, open_features
from asmil.models import create_model
from asmil.training import Standardized


def test_statistics_weigh_bags_equally_and_ignore_constant_dimensions():
    few, many = torch.full((2, 3), 1.0), torch.full((200, 3), 3.0)
    few[0, 0], few[1, 0] = 0.0, 2.0
    bags = [Bag(few, slide="a"), Bag(many, slide="b")]
    bags = [Bag(torch.cat([b.features[:, :2], torch.full((len(b), 1), 7.0)], 1), slide=b.slide) for b in bags]
    model = Standardized(create_model("mean", in_dim=3, n_classes=2), 3).fit_statistics(bags)
    np.testing.assert_allclose(model.mean, [2, 2, 7])
    np.testing.assert_allclose(model.std[:2], [np.sqrt(1.5), 1.0], rtol=1e-6)
    assert torch.isinf(model.std[2])
    assert torch.isfinite(model(BagBatch.from_bags(bags)).logits).all()


def test_scores_for_the_anchor_are_those_of_the_forward():
    bags, _ = make_bags(3, dim=8)
    model = Standardized(create_model("asmil", in_dim=8, n_classes=2), 8).fit_statistics(bags).eval()
    batch = BagBatch.from_bags(bags)
    assert torch.equal(model.attention_scores(batch), model(batch).scores)


def test_one_broken_tile_cannot_dominate():
    bags, _ = make_bags(2, dim=8)
    model = Standardized(create_model("mean", in_dim=8, n_classes=2), 8, limit=5.0).fit_statistics(bags)
    seen = {}
    model.model.register_forward_pre_hook(lambda _, args: seen.update(x=args[0].features))
    features = bags[0].features.clone()
    features[0] = 1e4
    model(BagBatch.from_bags(Bag(features)))
    assert seen["x"].abs().max() == 5.0


def test_a_method_with_stages_sees_scaled_bags_and_those_in_files_stay_there(tmp_path):
    bags, _ = make_bags(3, dim=8)
    for bag in bags:
        np.save(tmp_path / f"{bag.slide}.npy", bag.features.numpy())
    store, seen = open_features(tmp_path), {}
    streamed = [store.stream(bag.slide, label=bag.label) for bag in bags]

    class Stages(nn.Module):
        def prepare(self, train, train_stage):
            seen[len(seen)] = train

    model = Standardized(Stages(), 8).fit_statistics(bags)
    for train in (bags, streamed):
        model.prepare(train, lambda module: module)
    for plain, lazy in zip(seen[0], seen[1], strict=True):
        assert isinstance(lazy, StreamedBag)
        assert (lazy.slide, lazy.label, len(lazy)) == (plain.slide, plain.label, len(plain))
        assert torch.equal(lazy.features, plain.features)
        assert torch.equal(lazy.rows(torch.tensor([1, 0])).features, plain.features[[1, 0]])
        assert plain.features.abs().max() <= model.limit
