"""The thirteen claims that a correct anchor must satisfy, each by its number."""

import io
import math

import pytest
import torch

from asmil.attention import (
    Anchor,
    AttentionStabilizer,
    Dense,
    drop_tokens,
    kl_divergence,
    log_nsf,
    log_softmax,
    nsf,
    softmax,
)
from asmil.errors import AttentionError


def train(model, stabilizer, optimizer, batches):
    """Some ordinary steps; the labels are all 0."""
    for batch in batches:
        loss = torch.nn.functional.cross_entropy(model(batch).logits, batch.labels) + stabilizer.loss()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        stabilizer.update()


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first.values(), second.values(), strict=True))


def test_claim_1_the_anchor_starts_equal(toys):
    model = toys.Packed()
    stabilizer = AttentionStabilizer(model, gated=False)
    assert same(model.state_dict(), stabilizer.anchor.state_dict())
    with torch.no_grad():  # weights loaded after the stabilizer was made
        model.layer.weight.mul_(2)
    model.train()(toys.batch(4, 7))
    stabilizer.loss()
    assert same(model.state_dict(), stabilizer.anchor.state_dict())


def test_claim_2_after_k_steps_the_anchor_is_the_closed_form_average(toys):
    model, m, k = toys.Packed().double(), 0.9, 12
    anchor = Anchor(model, momentum=m)
    history = [{n: p.detach().clone() for n, p in model.named_parameters()}]
    for step in range(k):
        model.train()
        model.norm(torch.randn(9, 6, dtype=torch.float64))  # moves the buffers
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
        anchor.update(model)
        history.append({n: p.detach().clone() for n, p in model.named_parameters()})
        assert int(anchor.module.norm.num_batches_tracked) == step + 1
    for name, parameter in anchor.module.named_parameters():
        expected = m**k * history[0][name]
        for i in range(1, k + 1):
            expected = expected + (1 - m) * m ** (k - i) * history[i][name]
        torch.testing.assert_close(parameter, expected, rtol=1e-12, atol=1e-12)
    for mine, theirs in zip(anchor.module.buffers(), model.buffers(), strict=True):
        assert torch.equal(mine, theirs)
        assert mine.data_ptr() != theirs.data_ptr()


def test_claim_3_the_anchor_has_no_gradient_stays_in_eval_and_out_of_the_state(toys):
    model = toys.Packed()
    names, parameters = set(model.state_dict()), len(list(model.parameters()))
    stabilizer = AttentionStabilizer(model, gated=False)
    model.train()
    train(model, stabilizer, torch.optim.SGD(model.parameters(), 0.1), [toys.batch(5, 3)] * 2)
    assert not any(part.training for part in stabilizer.anchor.module.modules())
    assert not any(p.requires_grad or p.grad is not None for p in stabilizer.anchor.module.parameters())
    assert set(model.state_dict()) == names
    assert len(list(model.parameters())) == parameters


def test_claim_4_the_divergence_is_zero_only_for_equals_and_a_mean_over_rows():
    z = torch.randn(3, 2, 40, dtype=torch.float64)
    same_weights = log_softmax(z)
    assert float(kl_divergence(same_weights, same_weights)) == 0
    anchored = log_nsf(z)
    rows = [
        float((a.exp() * (a - b)).sum())
        for a, b in zip(anchored.reshape(6, 40), same_weights.reshape(6, 40), strict=True)
    ]
    assert all(row > 0 for row in rows)
    assert float(kl_divergence(anchored, same_weights)) == pytest.approx(sum(rows) / 6, rel=1e-12)
    mean = kl_divergence(anchored, same_weights, reduction="mean")
    assert float(mean) == pytest.approx(sum(rows) / 6 / 40, rel=1e-12)


def test_claim_4_zero_targets_contribute_nothing():
    target = torch.tensor([0.5, 0.5, 0.0, 0.0]).log()
    online = torch.tensor([0.25, 0.25, 0.5, 0.0]).log().requires_grad_()  # the last: 0 ln(0 / 0)
    loss = kl_divergence(target, online)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2))
    torch.testing.assert_close(online.grad, -target.exp())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("scale", [1e4, -1e4, 1.0])
def test_claim_5_finite_at_scores_of_ten_thousand(dtype, scale):
    online = (torch.linspace(-1, 1, 50) * scale).to(dtype).requires_grad_()
    anchored = (torch.linspace(1, -1, 50) * scale).to(dtype)
    loss = kl_divergence(log_nsf(anchored), log_softmax(online))
    loss.backward()
    assert loss.isfinite()
    assert online.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_claim_6_nsf(dtype):
    z = torch.tensor([-4.0, 0.0, 3.0, 9.0], dtype=dtype)
    mask = torch.tensor([True, False, True, True])
    weights = nsf(z, Dense(-1, mask))
    assert float(weights.sum()) == pytest.approx(1, abs=1e-6)
    ratio = torch.sigmoid(z[3].double()) / torch.sigmoid(z[0].double())
    assert float(weights[3] / weights[0]) == pytest.approx(float(ratio), rel=1e-5)
    torch.testing.assert_close(nsf(torch.full((7,), 2.5, dtype=dtype)), torch.full((7,), 1 / 7))
    # No mass: every sigmoid underflows, in these types, to 0. The limit of NSF is softmax.
    far = torch.tensor([-9000.0, -9000.0, -9008.0], dtype=dtype)
    assert float(torch.sigmoid(far).sum()) == 0
    torch.testing.assert_close(nsf(far), softmax(far))
    assert float(nsf(far).sum()) == pytest.approx(1, abs=1e-6)


def test_claim_7_evaluation_drops_nothing_and_draws_no_random_number():
    before = torch.get_rng_state()
    keep = drop_tokens(torch.zeros(4, 8, 2), 0.9, training=False)
    assert keep.all()
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("probability", [-0.1, 1.0, 1.5, float("nan")])
def test_claim_8_the_drop_probability_is_validated(probability):
    with pytest.raises(AttentionError, match="drop probability"):
        drop_tokens(torch.zeros(1, 8, 2), probability, training=True)


def test_claims_9_and_11_every_attention_parameter_gets_gradient_and_it_does_not_vanish_with_tiles(toys):
    norms = {}
    for tiles in (50, 5000):
        torch.manual_seed(3)
        model = toys.ClamLike()
        stabilizer = AttentionStabilizer(
            model, gated=False, scores="attention_net.3.attention_c", beta=1, init="independent"
        )
        output = model.train()(torch.randn(tiles, 5))
        (output[0].square().sum() * 0 + stabilizer.loss()).backward()
        norms[tiles] = {n: float(p.grad.norm()) for n, p in model.attention_net.named_parameters()}
        shift = "3.attention_c.bias"  # softmax does not see a shift of all scores
        assert norms[tiles].pop(shift) < 1e-5  # but for rounding
    for name, small in norms[50].items():
        assert small > 1e-4, name
        assert norms[5000][name] > small / 20, f"{name} shrinks as 1 / tiles"
    output = model(torch.randn(60, 5))
    (output[0].logsumexp(1).sum() + stabilizer.loss()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_claim_10_several_bags_are_the_mean_over_single_bags(toys):
    model = toys.Packed().train()
    model.drop.p = 0.0
    model.norm = torch.nn.Identity()  # batch statistics are the one thing that bags of a batch may share
    stabilizer = AttentionStabilizer(model, gated=False, beta=1, init="independent")
    together = toys.batch(3, 11, 6)
    model(together)
    loss = stabilizer.loss().item()
    alone = []
    for features in together.split(together.features):
        model(toys.alone(features))
        alone.append(stabilizer.loss().item())
    assert loss > 0
    assert loss == pytest.approx(sum(alone) / 3, rel=1e-5)
    for features in together.split(together.features):
        model(toys.alone(features))
    assert stabilizer.loss().item() == pytest.approx(loss, rel=1e-5)  # accumulated forwards count equally


def test_claim_12_the_anchor_moves_after_the_step_and_the_momentum_is_configurable(toys):
    seen = []

    def schedule(step):
        seen.append(step)
        return 0.0 if step >= 2 else 1.0

    model = toys.Packed().train()
    stabilizer = AttentionStabilizer(model, gated=False, momentum=schedule)
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    start = stabilizer.anchor.module.layer.weight.clone()
    train(model, stabilizer, optimizer, [toys.batch(5, 8)] * 2)
    assert torch.equal(stabilizer.anchor.module.layer.weight, start)  # momentum 1
    train(model, stabilizer, optimizer, [toys.batch(5, 8)])
    assert torch.equal(stabilizer.anchor.module.layer.weight, model.layer.weight)  # momentum 0, after the step
    assert {0, 1, 2} <= set(seen)


def test_claim_13_a_resumed_training_is_bit_equal(toys):
    batches = [toys.batch(5, 9, seed=i) for i in range(8)]

    def fresh():
        torch.manual_seed(1)
        model = toys.Packed().train()
        stabilizer = AttentionStabilizer(
            model, gated=False, momentum=0.9, beta=lambda step: 0.1 * step, warmup_epochs=2
        )
        return model, stabilizer, torch.optim.AdamW(model.parameters(), 1e-2)

    unbroken, parts = fresh(), fresh()
    for parts_of in (unbroken, parts):
        torch.manual_seed(2)
        parts_of[1].set_epoch(1)
        train(*parts_of, batches[:4])
    saved = torch.random.get_rng_state()
    file = io.BytesIO()
    torch.save([part.state_dict() for part in parts], file)
    file.seek(0)
    resumed = fresh()
    for part, state in zip(resumed, torch.load(file, weights_only=True), strict=True):
        part.load_state_dict(state)
    for parts_of in (unbroken, resumed):
        torch.random.set_rng_state(saved)
        train(*parts_of, batches[4:])
    assert same(unbroken[0].state_dict(), resumed[0].state_dict())
    assert same(unbroken[1].anchor.state_dict(), resumed[1].anchor.state_dict())
    assert unbroken[1].statistics() == resumed[1].statistics()
    assert not same(unbroken[0].state_dict(), unbroken[1].anchor.state_dict())
