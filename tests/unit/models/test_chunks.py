"""A CPU's projection, scores and pooling in chunks give what the plain formulas give, in values and gradients."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from asmil.attention import AttentionStabilizer
from asmil.bags import Bag, BagBatch
from asmil.draws import drop_
from asmil.models import create_model
from asmil.models.parts import chunks

LENGTHS = (17, 1, 40)
LEVEL = ("feat.key.bias", "score.bias")
"""A softmax does not see the level of all scores: these get no gradient but rounding."""


def batch_of(dtype=torch.float32, lengths=LENGTHS):
    generator = torch.Generator().manual_seed(1)
    bags = [torch.randn(n, 12, generator=generator).to(dtype) for n in lengths]
    return BagBatch.from_bags([Bag(features, label=i % 2) for i, features in enumerate(bags)])


def step(model, batch, *, ratio=None):
    """Everything a training step computes: outputs, loss, ratio of gradients, gradients."""
    model.zero_grad()
    stabilizer = AttentionStabilizer(model, beta=0.5, max_gradient_ratio=ratio)
    with torch.no_grad():
        for parameter in stabilizer.anchor.module.parameters():
            parameter.mul_(1.1)
    stabilizer._begun = True  # keep that anchor: equal ones have nothing to align
    output = model(batch)
    task = cross_entropy(output.logits, batch.labels) + output.attention.square().sum()
    loss = stabilizer.loss(task)
    measured = stabilizer.gradient_ratio(task)
    (task + loss).backward()
    stabilizer.detach()
    gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    values = {"logits": output.logits, "attention": output.attention, "scores": output.scores, "loss": loss}
    return values | gradients | {"ratio": torch.tensor(measured)}


def compare(model, batch, monkeypatch, **options):
    found = {}
    for chunked in (True, False):
        if not chunked:
            monkeypatch.setattr(chunks, "pays", lambda features, weight: False)
        torch.manual_seed(0)  # which tokens are dropped
        found[chunked] = step(model, batch, **options)
    for name, value in found[True].items():
        wanted = found[False][name].detach()
        scale = max(float(wanted.abs().max()), 1e-6)
        if name in LEVEL and float(wanted.abs().max()) < 1e-6:
            assert value.abs().max() < 1e-6, name
            continue
        torch.testing.assert_close(
            value.detach(), wanted, atol=1e-5 * scale, rtol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize(
    "options", [{"variant": "per_token"}, {"variant": "shared"}, {"attention_normalizer": "nsf"}], ids=str
)
def test_asmil_inchunks(options, dtype, monkeypatch):
    """Bags that begin and end within chunks, a bag of one tile, the anchor's scores, a capped ratio."""
    monkeypatch.setattr(chunks, "CHUNK", 7)
    torch.manual_seed(3)
    model = create_model(
        "asmil",
        in_dim=12,
        n_classes=2,
        dim=16,
        tokens=3,
        heads=2,
        token_std=5.0,
        score_scale=1,
        even_start=False,
        dropout=0,
        feature_dropout=0,
        **options,
    ).train()
    compare(model, batch_of(dtype), monkeypatch, ratio=0.3)


def test_abmil_inchunks(monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK", 7)
    torch.manual_seed(3)
    model = create_model("abmil", in_dim=12, n_classes=2, dim=16, hidden=5, dropout=0).train()
    compare(model, batch_of(), monkeypatch)


def test_the_scores_alone_are_the_scores(monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK", 7)
    model, batch = create_model("asmil", in_dim=12, n_classes=2, dim=16).eval(), batch_of()
    scores = model(batch).scores
    with torch.no_grad():
        torch.testing.assert_close(model.attention_scores(batch), scores)


def test_the_alignment_alone_learns_without_the_task(monkeypatch):
    """Then pooling sends nothing back."""
    monkeypatch.setattr(chunks, "CHUNK", 7)
    model = create_model(
        "asmil", in_dim=12, n_classes=2, dim=16, token_std=5.0, score_scale=1, even_start=False, feature_dropout=0
    ).train()
    gradients = []
    for plain in (False, True):
        if plain:
            monkeypatch.setattr(chunks, "pays", lambda features, weight: False)
        model.zero_grad()
        model(batch_of()).scores.square().mean().backward()
        gradients.append(model.projection.linear.weight.grad.clone())
    torch.testing.assert_close(*gradients)
    assert gradients[0].abs().max() > 0


def test_features_that_need_a_gradient_get_one():
    batch = batch_of()
    features = batch.features.clone().requires_grad_()
    create_model("asmil", in_dim=12, n_classes=2, dim=16).eval()(batch.with_features(features)).logits.sum().backward()
    assert features.grad.abs().max() > 0


@pytest.mark.parametrize("probability", [0.1, 0.25, 0.9999999])
def test_share_of_dropped_values(probability):
    torch.manual_seed(0)
    values = drop_(torch.ones(1000, 333), probability)
    assert values.unique().tolist() == [0, 1]
    assert float(values.mean()) == pytest.approx(1 - probability, abs=0.003)
    if probability < 0.9:  # neighbours share a random word, not its bits
        assert abs(float(torch.corrcoef(values[:, :2].T)[0, 1])) < 0.15


def test_dropout_of_projected_tiles_and_its_gradient(monkeypatch):
    """Kept values are scaled by 1 / (1 - p), and the gradient flows where values were kept."""
    monkeypatch.setattr(chunks, "CHUNK", 7)
    torch.manual_seed(0)
    features, weight = torch.randn(50, 12), torch.nn.Parameter(torch.randn(9, 12))
    bias, direction = torch.nn.Parameter(torch.randn(9)), torch.randn(50, 9)
    tiles = chunks.Project.apply(features, weight, bias, 0.3)
    plain = torch.relu(torch.nn.functional.linear(features, weight, bias)) / 0.7
    kept = tiles != 0
    assert 0.5 < float(kept.sum() / (plain > 0).sum()) < 0.9
    torch.testing.assert_close(tiles[kept], plain[kept])
    found = torch.autograd.grad(tiles, (weight, bias), direction)
    wanted = torch.autograd.grad(plain * kept, (weight, bias), direction)
    torch.testing.assert_close(found, wanted)
