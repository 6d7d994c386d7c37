"""Evidence of tiles adds up to the decision, and finds what was planted better than attention or chance does."""

import pytest
import torch
from torch import nn

from asmil.bags import Bag, BagBatch
from asmil.errors import AttentionError
from asmil.models import MILOutput, create_model, deletion, evidence

DIM, PLANTED = 16, 4


def planted_bag(label: int, *, tiles: int = 60) -> Bag:
    """Tiles of noise; in a positive bag the first ones are moved along the first feature."""
    features = torch.randn(tiles, DIM)
    features[:PLANTED, 0] += 5 * label
    return Bag(features, label=label)


def trained(name: str, **options: object) -> nn.Module:
    """A model that tells bags with planted tiles from others."""
    torch.manual_seed(0)
    model = create_model(name, in_dim=DIM, n_classes=2, dim=16, **options).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    bags = [planted_bag(i % 2) for i in range(40)]
    for _ in range(15):
        for start in range(0, 40, 8):
            batch = BagBatch.from_bags(bags[start : start + 8])
            output = model(batch)
            loss = nn.functional.cross_entropy(output.logits, batch.labels)
            optimizer.zero_grad()
            (loss + sum(extra.mean() for extra in output.losses.values())).backward()
            optimizer.step()
    return model.eval()


@pytest.mark.parametrize("name", ["abmil", "aem", "clam_sb", "clam_mb", "mean", "max", "dsmil", "acmil"])
def test_of_a_linear_classifier_it_is_the_logit_less_the_bias(name):
    model, bag = create_model(name, in_dim=DIM, n_classes=3), planted_bag(1)
    found = evidence(model, bag)
    logits = model.eval()(BagBatch.from_bags(bag)).logits[0]
    assert torch.allclose(found.rest, model.classifier.bias, atol=1e-5)
    assert torch.allclose(found.tiles.sum(0), (logits - model.classifier.bias).detach(), atol=1e-5)


def test_of_abmil_it_is_attention_times_weight_times_tile():
    model, bag = create_model("abmil", in_dim=DIM, n_classes=2).eval(), planted_bag(1)
    attention = model(BagBatch.from_bags(bag)).attention
    expected = attention[:, None] * (model.projection(bag.features) @ model.classifier.weight.T)
    assert torch.allclose(evidence(model, bag).tiles, expected, atol=1e-6)


@pytest.mark.parametrize("distill", ["afs", "maxs", "maxmins"])
def test_of_dtfd_it_is_what_the_second_tier_pools(distill):
    model, bag = create_model("dtfd", in_dim=DIM, n_classes=2, distill=distill), planted_bag(1)
    found = evidence(model, bag)
    assert found.kind == "own"
    assert torch.allclose(found.rest, model.tier2.classifier.bias, atol=1e-5)


@pytest.mark.parametrize("name", ["abmil", "clam_mb", "ilra"])
def test_what_was_planted_has_the_most_evidence_and_taking_it_away_tells(name):
    model, bag = trained(name), planted_bag(1)
    found = evidence(model, bag).centred[:, 1]
    assert set(found.topk(PLANTED).indices.tolist()) == set(range(PLANTED))
    orders = {"evidence": found.argsort(descending=True), "random": torch.randperm(len(bag))}
    falls = {kind: deletion(model, bag, order, shares=[0.02, 0.07])[:, 1] for kind, order in orders.items()}
    assert (falls["evidence"] > falls["random"]).all()
    assert falls["evidence"][1] > falls["evidence"][0]


def test_two_classes_have_opposite_evidence_once_it_is_centred():
    found = evidence(create_model("asmil", in_dim=DIM, n_classes=2), planted_bag(0)).centred
    assert torch.allclose(found[:, 0], -found[:, 1], atol=1e-6)


def test_a_model_that_reads_the_bag_by_another_way_is_not_taken_for_its_pooling():
    """A transformer's class token has read the tiles before they are pooled."""
    assert evidence(create_model("transformer", in_dim=DIM, n_classes=2), planted_bag(1)).kind == "features"
    assert evidence(create_model("transformer", in_dim=DIM, n_classes=2, depth=1), planted_bag(1)).kind == "pooled"


def test_half_precision_mode_and_random_state_are_left_alone():
    model, bag = create_model("asmil", in_dim=DIM, n_classes=2).train(), planted_bag(1)
    state = torch.get_rng_state()
    with torch.inference_mode():
        half = evidence(model, Bag(bag.features.half()))
    assert model.training
    assert torch.equal(state, torch.get_rng_state())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.allclose(half.tiles, evidence(model, Bag(bag.features.half().float())).tiles, atol=1e-5)


class Foreign(nn.Module):
    """A module that is none of ours."""

    def __init__(self, *, cut: bool = False):
        super().__init__()
        self.layer, self.cut = nn.Linear(DIM, 2), cut

    def forward(self, batch: BagBatch) -> MILOutput:
        features = batch.features.detach() if self.cut else batch.features
        logits = self.layer(torch.stack([bag.mean(0) for bag in batch.split(features)]))
        return MILOutput(logits, torch.full((len(features),), 1 / len(features)), logits)


def test_a_foreign_module_has_evidence_by_its_features():
    model, bag = Foreign(), planted_bag(1)
    found = evidence(model, bag)
    assert found.kind == "features"
    expected = (bag.features @ model.layer.weight.T / len(bag)).detach()
    assert torch.allclose(found.centred, expected - expected.mean(1, keepdim=True), atol=1e-5)


def test_logits_without_a_gradient_are_refused():
    with pytest.raises(AttentionError, match="no evidence of tiles in a Foreign"):
        evidence(Foreign(cut=True), planted_bag(1))


def test_one_tile_always_stays():
    model = create_model("abmil", in_dim=DIM, n_classes=2)
    assert deletion(model, planted_bag(1, tiles=2), torch.arange(2), shares=[0.01, 1.0]).isfinite().all()
